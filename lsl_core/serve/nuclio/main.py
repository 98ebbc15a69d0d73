"""What Nuclio calls: `init_context` once a worker, `handler` for every request."""

from pathlib import Path
from typing import Any

from lsl_core.serve.nuclio import Function


def init_context(context: Any) -> None:  # noqa: ANN401 - nuclio_sdk.Context, only there in Nuclio
    """Load the model that lies beside this file."""
    context.user_data.function = Function.open(Path(__file__).parent)


def handler(context: Any, event: Any) -> Any:  # noqa: ANN401 - types of nuclio_sdk
    """Answer one request of CVAT."""
    return context.user_data.function.answer(context, event)
