"""Sources: images in the workspace, and what people drew on them."""

from lsl_core.sources.importing import Imported, import_coco, import_unlabelled
from lsl_core.sources.source import (
    LabelledImage,
    Source,
    SourceInfo,
    check_new_name,
    list_sources,
    load_source,
    read_info,
    remove_source,
    rename_source,
    save_source,
)
from lsl_core.sources.splitting import Part, split_coco

__all__ = [
    "Imported",
    "LabelledImage",
    "Part",
    "Source",
    "SourceInfo",
    "check_new_name",
    "import_coco",
    "import_unlabelled",
    "list_sources",
    "load_source",
    "read_info",
    "remove_source",
    "rename_source",
    "save_source",
    "split_coco",
]
