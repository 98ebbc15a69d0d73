"""Numbers, sizes and times as people read them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from lsl_core.words import plural as plural


def size(num_bytes: int) -> str:
    """Return "43 GB", "1.2 GB", "310 MB", "4 kB"."""
    gigabytes = num_bytes / 1e9
    if gigabytes >= 10:
        return f"{gigabytes:,.0f} GB"
    if gigabytes >= 1:
        return f"{gigabytes:.1f} GB"
    return f"{num_bytes / 1e6:.0f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.0f} kB"


def duration(seconds: float) -> str:
    """Return "8 s", "4 min", "1 h 20 min"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def local(moment: float | str) -> datetime:
    """Return seconds since the epoch, or ISO 8601 text, as a time in the viewer's zone."""
    if isinstance(moment, str):
        at = datetime.fromisoformat(moment)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
    else:
        at = datetime.fromtimestamp(moment, UTC)
    return at.astimezone(_zone())


def when(moment: float | str) -> str:
    """Return "14:05" for today, "12 May 14:05" for other days, in the viewer's zone."""
    at, now = local(moment), datetime.now(_zone())
    if at.date() == now.date():
        return f"{at:%H:%M}"
    year = f" {at.year}" if at.year != now.year else ""
    return f"{at.day} {at:%b}{year} {at:%H:%M}"


def ago(moment: float | str) -> str:
    """Return "just now", "5 min ago", "2 d ago"."""
    seconds = time.time() - local(moment).timestamp()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min ago"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h ago"
    return f"{seconds / 86400:.0f} d ago"


def _zone() -> tzinfo:
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
