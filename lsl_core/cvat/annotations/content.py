"""What makes an annotation the same one: everything that a person can see or change, not its id.

An annotation is a tag, a shape or a track, as CVAT sends it: a track has keyframes in "shapes", a
shape a "type", a tag neither. CVAT counts the ids of the three apart, so a `Key` names one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["tags", "shapes", "tracks"]
#: A kind and an id: what names an annotation of a task.
Key = tuple[Kind, int]

#: The lists that annotations come in, in the order of CVAT's answers.
KINDS: tuple[Kind, ...] = ("tags", "shapes", "tracks")


class _Written(dict[float, str]):
    """JSON of numbers as floats; whole ones are looked up, which takes a fourth of the time."""

    def __missing__(self, number: float) -> str:
        return json.dumps(float(number))


_WRITTEN = _Written({number: f"{number}.0" for number in range(1 << 12)})


def kind_of(entry: Json) -> Kind:
    """Return which of CVAT's lists an annotation belongs in."""
    if "shapes" in entry:
        return "tracks"
    return "shapes" if "type" in entry else "tags"


def key_of(entry: Json) -> Key:
    """Return what names an annotation that was read."""
    return kind_of(entry), int(entry["id"])


def content_key(entry: Json, *, group: bool = True) -> str:
    """Return a hash of an annotation's content, the same before it is sent and after it is read.

    Leaves out the id, and the score, which older servers do not keep and nobody can edit.

    Args:
        entry: a tag, shape or track, or a part of a skeleton, as it is sent or as it was read.
        group: False leaves out the number of its group, which is arbitrary.
    """
    if "type" in entry:
        text = _shape_text(entry, group=group)
    else:
        where = [entry["frame"], entry["label_id"]]
        text = json.dumps([*where, *_common(entry, group=group)])
    keys = sorted(entry.get("shapes") or (), key=lambda shape: int(shape["frame"]))
    text += "".join(_shape_text(shape, group=group) for shape in keys)
    text += "".join(sorted(content_key(p, group=group) for p in entry.get("elements") or ()))
    return hashlib.sha256(text.encode()).hexdigest()


def _shape_text(shape: Json, *, group: bool) -> str:
    """Return what is drawn in a shape, or in a keyframe of a track, which has no label."""
    points = shape.get("points") or ()
    if shape["type"] == "mask":  # as journals of all versions hold it
        values = f"[{', '.join(map(_WRITTEN.__getitem__, points))}]"
    else:
        values = json.dumps([round(float(value), 2) for value in points])
    first = _dumped(shape["type"], shape["frame"], shape.get("label_id"))
    rest = [
        round(float(shape.get("rotation") or 0.0), 2),
        bool(shape.get("occluded")),
        int(shape.get("z_order") or 0),
        *_common(shape, group=group),
    ]
    if shape.get("outside"):  # where a track is not to be seen; older keys know nothing of it
        rest.append("outside")
    return f"{first[:-1]}, {values}, {_dumped(*rest)[1:]}"


@lru_cache(maxsize=1024, typed=True)
def _dumped(*values: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return JSON of a list; the shapes of a frame have most of it in common."""
    return json.dumps(values)


def _common(entry: Json, *, group: bool) -> list[Any]:
    return [
        int(entry.get("group") or 0) if group else 0,
        entry.get("source") or "manual",
        tuple(sorted((a["spec_id"], str(a["value"])) for a in entry.get("attributes") or ())),
    ]


def mark(entry: Json) -> int:
    """Return 64 bits that stand for an annotation's key and content, which take more memory.

    Equal within a process only: it is never written down.
    """
    return hash((key_of(entry), content_key(entry)))


class StateKey:
    """A hash of all annotations of a task, whatever order they come in; none is held.

    It is the sum of their hashes (Bellare and Micciancio, "A new paradigm for collision-free
    hashing", 1997): it finds what changed by itself, and is no seal against who wants it to fit.
    """

    def __init__(self) -> None:
        self._sum = 0

    def add(self, entry: Json) -> None:
        """Take in an annotation that was read, each once."""
        kind, number = key_of(entry)
        digest = hashlib.sha256(f"{kind} {number} {content_key(entry)}".encode()).digest()
        self._sum += int.from_bytes(digest)

    def hexdigest(self) -> str:
        """Return the hash of what was taken in so far, 64 hexadecimal digits."""
        return f"{self._sum % (1 << 256):064x}"


def state_key(entries: Iterable[Json]) -> str:
    """Return the `StateKey` of these annotations, all those of a task."""
    state = StateKey()
    for entry in entries:
        state.add(entry)
    return state.hexdigest()


def each(annotations: Json) -> Iterator[Json]:
    """Yield all tags, shapes and tracks of a task or job."""
    for kind in KINDS:
        yield from annotations[kind]
