"""Long work in a worker process: submit, state, log, metrics, cancel.

A run names "module:function"; this room imports nothing upward until the worker calls it. The
function gets the workspace, its JSON arguments and a `progress`, and returns a JSON object.
"""

from lsl_core.runs.progress import RunProgress
from lsl_core.runs.queue import Lane, Queue, lane_of, mark_lost
from lsl_core.runs.store import Order, RunStore

__all__ = ["Lane", "Order", "Queue", "RunProgress", "RunStore", "lane_of", "mark_lost"]
