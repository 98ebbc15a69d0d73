"""Annotations of a job, made and deleted as plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from lsl_core.cvat.annotations.content import KINDS, kind_of
from lsl_core.cvat.annotations.packing import unpacked
from lsl_core.cvat.connection.errors import refusal
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.errors import CvatError, CvatRequestFailed

Json = dict[str, Any]


class _Numbered(BaseModel):
    id: int


class _Made(BaseModel):
    """CVAT's answer to new annotations, which repeats them; only their ids are read."""

    tags: list[_Numbered]
    shapes: list[_Numbered]
    tracks: list[_Numbered]


class Action(StrEnum):
    """What a PATCH does with the annotations that it carries."""

    CREATE = "create"
    DELETE = "delete"


def change_job(
    session: CvatSession, job_id: int, action: Action, entries: Sequence[Json]
) -> list[int]:
    """Create or delete annotations of a job in one step that CVAT does whole or not at all.

    Never repeated here: an answer that got lost may mean that it is done.

    Args:
        session: who does it.
        job_id: the job that covers the frames of all of them.
        action: create adds them, delete takes those with these ids away.
        entries: tags, shapes and tracks as they were read, or as `from_instances` makes them.

    Returns:
        The ids that CVAT gave to what was created, in the order sent; none for a delete.

    Raises:
        CvatRequestFailed: the answer does not tell as many ids as were sent.
    """
    kinds = [kind_of(entry) for entry in entries]
    body: Json = {"version": 0, **{kind: [] for kind in KINDS}}
    for kind, entry in zip(kinds, unpacked(entries), strict=True):
        body[kind].append(entry)
    path, query = f"/api/jobs/{job_id}/annotations/", {"action": action.value}
    if action is Action.DELETE:
        doing = f"deleting in job {job_id}"
        session.transport.send("PATCH", path, doing=doing, query=query, body=body)
        return []
    doing = f"writing to job {job_id}"
    answer = session.transport.send("PATCH", path, doing=doing, query=query, body=body)
    fault = CvatRequestFailed(
        f"CVAT's answer to {len(entries)} new annotations does not tell the ids of all.",
        hint="Try again.",
    )
    try:
        made = dict(_Made.model_validate_json(answer.data))
    except ValueError as error:
        raise fault from error
    if any(len(made[kind]) != len(body[kind]) for kind in KINDS):
        raise fault from ValueError("as many as were sent are needed")
    ids = {kind: iter(made[kind]) for kind in KINDS}
    return [next(ids[kind]).id for kind in kinds]


def named_in(error: CvatError, entries: Iterable[Json]) -> frozenset[int]:
    """Return the places of the entries that a refusal of CVAT names; none when it names nobody.

    Args:
        error: what `change_job` raised.
        entries: what it was given.
    """
    said = refusal(error)  # per kind a list with an empty object for each that is right
    verdicts = {
        kind: iter(told if isinstance(told := said.get(kind), list) else ()) for kind in KINDS
    }
    return frozenset(i for i, one in enumerate(entries) if next(verdicts[kind_of(one)], None))
