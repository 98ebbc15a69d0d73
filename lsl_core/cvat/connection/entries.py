"""The annotations of a large task, read while they come: one entry in memory at a time."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol

Json = dict[str, Any]

#: Characters read at once; one entry that is longer doubles what is read.
_PIECE = 1 << 16
_BLANK = " \t\r\n"


class Body(Protocol):
    """What is read once, from front to end."""

    def read(self, amt: int, /) -> bytes:
        """Return that many bytes, fewer at the end only."""


def entries_of(body: Body, hook: Callable[[Json], Any] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield key and entry of every list in a JSON object; its other values are passed over.

    Args:
        body: the document in UTF-8, read once from front to end.
        hook: each object is what it makes of it, the inner ones first.

    Raises:
        ValueError: for anything that is not such a document, also for one that was cut.
    """
    text = _Text(body, hook)
    text.take("{")
    while text.next() != "}":
        key = text.value()
        text.take(":")
        if text.next() != "[":
            text.value()
        else:
            text.take("[")
            while text.next() != "]":
                yield key, text.value()
                if text.next() != "]":
                    text.take(",")
            text.take("]")
        if text.next() != "}":
            text.take(",")
    text.take("}")
    if text.next():
        raise ValueError("something follows the document")


class _Text:
    """JSON whose end is not here yet."""

    def __init__(self, body: Body, hook: Callable[[Json], Any] | None) -> None:
        self._body = body
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._json = json.JSONDecoder(object_hook=hook)
        self._text, self._at = "", 0

    def next(self) -> str:
        """Return the next character that is no blank, "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, sign: str) -> None:
        """Pass over a character that must come next."""
        if self.next() != sign:
            raise ValueError(f"{sign} is missing")
        self._at += 1

    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        """Return the next value."""
        self.next()
        while True:
            try:
                found, end = self._json.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
            else:
                if end < len(self._text) or not self._more():  # a number may go on
                    self._at = end
                    return found

    def _more(self) -> bool:
        rest = self._text[self._at :]
        data = self._body.read(max(_PIECE, len(rest)))
        self._text, self._at = rest + self._decode(data, not data), 0
        return bool(data)
