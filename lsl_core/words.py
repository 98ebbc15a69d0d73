"""Counts as people read them."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Return "1 mask", "1,280 masks"."""
    ending = "" if count == 1 else "es" if noun.endswith(("s", "x", "sh")) else "s"
    return f"{count:,} {noun}{ending}"
