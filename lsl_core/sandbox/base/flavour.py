"""What differs between the CVAT versions that the sandbox can pose as.

Read from real servers of 2.30.0, 2.39.0 and 2.42.0; what 2.80 adds is what cvat-sdk 2.80 reads
and sends.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

#: Between 2.30 and 2.39 request ids, download addresses and upload names changed.
_NEW_REQUESTS = (2, 39)
#: With 2.40 CVAT began to count the points and the parts of a shape.
_COUNTED_POINTS = (2, 40)
#: With 2.41 it began to refuse ids of what is made, and to ask for those of what is deleted.
_CHECKED_IDS = (2, 41)
#: Personal access tokens came with 2.48.
_ACCESS_TOKENS = (2, 48)
#: The sandbox keeps a shape's score and honours import_mode only when it poses as this or newer.
_SCORES = (2, 80)


@dataclass(frozen=True, slots=True)
class Flavour:
    """A CVAT version and what it can do.

    Args:
        version: `major.minor.patch`, as `/api/server/about` reports it.
    """

    version: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+\.\d+\.\d+", self.version):
            raise ValueError(f"A CVAT version looks like 2.80.0, not {self.version!r}")

    @property
    def _pair(self) -> tuple[int, int]:
        major, minor, _ = self.version.split(".")
        return int(major), int(minor)

    @property
    def has_new_requests(self) -> bool:
        """Whether request ids read `action=…&target=…` and results come from `/download`."""
        return self._pair >= _NEW_REQUESTS

    @property
    def counts_points(self) -> bool:
        """Whether a shape with too few or too many points for its type is refused."""
        return self._pair >= _COUNTED_POINTS

    @property
    def checks_ids(self) -> bool:
        """Whether what is made may bring no id, and what is deleted must."""
        return self._pair >= _CHECKED_IDS

    @property
    def has_access_tokens(self) -> bool:
        """Whether a personal access token opens the door."""
        return self._pair >= _ACCESS_TOKENS

    @property
    def has_scores(self) -> bool:
        """Whether shapes keep a score, and the 2.80 names of some fields are used."""
        return self._pair >= _SCORES

    @property
    def import_source(self) -> str:
        """What `source` a COCO file import gives its shapes."""
        return "file" if self.has_new_requests else "manual"

    def filter_error(self, reason: str) -> str:
        """Say that a list's filter is no JSON."""
        if self.has_new_requests:
            return f"filter: can't parse filter expression: {reason}"
        return "filter: Json syntax should be used"

    def create_id(self, task_id: int) -> str:
        """Name the request that turns uploaded files into a task's frames."""
        if self.has_new_requests:
            return f"action=create&target=task&target_id={task_id}"
        return f"create:task-{task_id}"

    def import_id(self, target: str, target_id: int, what: str) -> str:
        """Name the request that reads a file (`what`: annotations or dataset) into a target."""
        if self.has_new_requests:
            return f"action=import&target={target}&target_id={target_id}&subresource={what}"
        return f"import:{target}-{target_id}-{what}"

    def lambda_id(self, task_id: int) -> str:
        """Name the run of an AI tool over a task."""
        if self.has_new_requests:
            return f"action=autoannotate&target=task&target_id={task_id}"
        return f"autoannotate:task-{task_id}"

    def restore_id(self, target: str) -> str:
        """Name the request that restores a backup; each one has its own name."""
        if self.has_new_requests:
            return f"action=import&target={target}&id={uuid.uuid4()}&subresource=backup"
        return f"import:{target}-{uuid.uuid4()}-backup"

    def export_id(
        self, target: str, target_id: int, *, user_id: int, what: str, fmt: str | None
    ) -> str:
        """Name an export (`what`: annotations, dataset or backup), per user and format."""
        if self.has_new_requests:
            parts = f"action=export&target={target}&target_id={target_id}&user_id={user_id}"
            if fmt is not None:
                parts += f"&format={fmt.replace(' ', '_').replace('.', '~')}"
            return f"{parts}&subresource={what}"
        if fmt is None:
            return f"export:{target}-{target_id}-{what}-by-{user_id}"
        named = fmt.replace(" ", "_").replace(".", "@")
        return f"export:{target}-{target_id}-{what}-in-{named}-format-by-{user_id}"

    def result_path(
        self, target: str, target_id: int, *, rq_id: str, what: str, query: dict[str, str]
    ) -> str:
        """Say where the result of an export lies, from the server's root.

        Args:
            target: task, job or project.
            target_id: its id.
            rq_id: the request that made the file.
            what: annotations, dataset or backup.
            query: the query of the call that asked for the export.
        """
        base = f"/api/{target}s/{target_id}"
        if self.has_new_requests:
            room = "backup" if what == "backup" else "dataset"
            return f"{base}/{room}/download?rq_id={quote(rq_id, safe='')}"
        return f"{base}/{what}?{urlencode({**query, 'action': 'download'})}"

    def task_extras(self, replicas: int, project_name: str | None) -> dict[str, Any]:
        """Give the task fields whose names depend on the version."""
        if not self.has_scores:
            return {"consensus_enabled": replicas > 0}
        return {"initial_replicas": replicas, "project_name": project_name, "media_type": "image"}

    def job_extras(
        self, replicas: int, *, task_name: str, project_name: str | None
    ) -> dict[str, Any]:
        """Give the job fields whose names depend on the version."""
        if not self.has_scores:
            return {"consensus_replicas": replicas}
        return {
            "replicas_count": replicas,
            "task_name": task_name,
            "project_name": project_name,
            "media_type": "image",
        }

    def meta_extras(self) -> dict[str, Any]:
        """Give the data-meta fields that only newer servers send."""
        if not self.has_scores:
            return {}
        return {"chapters": None, "storage": "local", "cloud_storage_id": None}

    def operation_extras(self) -> dict[str, Any]:
        """Give the fields of a request's operation that only older servers send."""
        return {} if self.has_new_requests else {"function_id": None}
