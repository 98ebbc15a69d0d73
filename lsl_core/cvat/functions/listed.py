"""Serverless functions as CVAT lists them: its AI tools."""

from __future__ import annotations

from typing import Any

from lsl_core.cvat.connection.errors import is_refused_content
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.errors import CvatDenied, CvatRequestFailed

Json = dict[str, Any]

#: Tasks at most that a function is tried with, until one is the user's own.
_TASKS_TRIED = 20


def has_functions(session: CvatSession) -> bool:
    """Return whether the server's AI tools are switched on."""
    plugins = session.transport.json(
        "GET", "/api/server/plugins", doing="asking for the server's plugins"
    )
    return bool(plugins.get("MODELS"))


def list_functions(session: CvatSession) -> list[Json]:
    """Return the functions that the server offers; CVAT asks its Nuclio for them.

    Raises:
        CvatError: also when the server does not reach what it believes is Nuclio.
    """
    listed: list[Json] = session.transport.json(
        "GET", "/api/lambda/functions", doing="asking for its AI tools"
    )
    return listed


def try_function(session: CvatSession, name: str) -> int | None:
    """Let the server call a function for the first frame of a task, which stores nothing.

    Returns:
        The task, one of those changed last; None when there is none that the user may do this
        with. A function that refuses the picture was reached all the same.

    Raises:
        CvatError: when the server does not reach the function, or that cannot answer.
    """
    query = {"sort": "-updated_date", "page_size": _TASKS_TRIED}
    tasks = session.transport.json("GET", "/api/tasks", doing="listing tasks", query=query)
    for task in tasks["results"]:
        if not task.get("size"):
            continue
        try:
            session.transport.json(
                "POST",
                f"/api/lambda/functions/{name}",
                doing=f"calling {name} for a frame of task {task['id']}",
                body={"task": task["id"], "frame": 0},
            )
        except CvatDenied:
            continue
        except CvatRequestFailed as error:
            if not is_refused_content(error):
                raise
        return int(task["id"])
    return None
