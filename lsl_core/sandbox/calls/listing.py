"""Lists: pages, search, sorting and CVAT's json-logic filter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from lsl_core.sandbox.base.answers import ApiError
from lsl_core.sandbox.calls.web import Call

#: CVAT's page size when none is asked for.
PAGE_SIZE = 10

Item = dict[str, Any]
Field = Callable[[Item], Any]


def _nested(item: Item, *keys: str) -> Any:  # noqa: ANN401 - any field
    for key in keys:
        if not isinstance(item, dict):
            return None
        item = item.get(key, {})
    return None if item == {} else item


#: Fields of a filter or a sort whose names are not those of the answer.
_RENAMED: dict[str, Field] = {
    "owner": lambda item: _nested(item, "owner", "username"),
    "assignee": lambda item: _nested(item, "assignee", "username"),
    "user": lambda item: _nested(item, "user", "username"),
    "project_id": lambda item: item.get("project_id"),
    "task_id": lambda item: item.get("task_id"),
    "target": lambda item: _nested(item, "operation", "target"),
    "action": lambda item: str(_nested(item, "operation", "type")).partition(":")[0],
    "subresource": lambda item: str(_nested(item, "operation", "type")).partition(":")[2],
}


def _field(item: Item, name: str) -> Any:  # noqa: ANN401 - any field
    getter = _RENAMED.get(name)
    return item.get(name) if getter is None else getter(item)


def page(
    call: Call,
    items: Sequence[Item],
    *,
    search: Sequence[str] = ("name",),
    sort: str = "-id",
    equal: Iterable[str] = (),
) -> Item:
    """Answer one page of a list.

    Args:
        call: the call with its `page`, `page_size`, `search`, `filter` and `sort`.
        items: everything that the caller may see.
        search: fields that `search` looks into.
        sort: the order without `sort`; a minus is downwards.
        equal: fields that may be asked for by a query parameter of that name.

    Raises:
        ApiError: 404 for a page beyond the end, 400 for a filter that is none.
    """
    kept = _searched(call, list(items), search)
    kept = _filtered(call, kept)
    for name in equal:
        wanted = call.query(name)
        if wanted is not None:
            kept = [item for item in kept if str(_field(item, name)) == wanted]
    kept = _sorted(kept, call.query("sort") or sort)
    return _paged(call, kept)


def _searched(call: Call, items: list[Item], fields: Sequence[str]) -> list[Item]:
    term = (call.query("search") or "").lower()
    if not term:
        return items
    return [
        item for item in items if any(term in str(_field(item, name)).lower() for name in fields)
    ]


def _sorted(items: list[Item], order: str) -> list[Item]:
    for name in reversed([part for part in order.split(",") if part]):
        key = name.lstrip("-")

        def rank(item: Item, key: str = key) -> tuple[bool, Any]:
            value = _field(item, key)
            return (value is not None, value if isinstance(value, (int, float)) else str(value))

        items = sorted(items, key=rank, reverse=name.startswith("-"))
    return items


def _number(call: Call, name: str, default: int) -> int:
    text = call.query(name)
    if text is None:
        return default
    if not text.isdigit() or int(text) < 1:
        if name == "page":
            raise ApiError(404, {"detail": "Invalid page."})
        return default
    return int(text)


def _paged(call: Call, items: list[Item]) -> Item:
    size = _number(call, "page_size", PAGE_SIZE)
    number = _number(call, "page", 1)
    first = (number - 1) * size
    if number > 1 and first >= len(items):
        raise ApiError(404, {"detail": "Invalid page."})
    return {
        "count": len(items),
        "next": _address(call, number + 1) if first + size < len(items) else None,
        "previous": _address(call, number - 1) if number > 1 else None,
        "results": items[first : first + size],
    }


def _address(call: Call, number: int) -> str:
    query = dict(call.request.query_params)
    query.pop("page", None)
    if number > 1:
        query["page"] = str(number)
    text = urlencode(sorted(query.items()))
    return f"{call.base_url}{call.request.url.path}" + (f"?{text}" if text else "")


def _filtered(call: Call, items: list[Item]) -> list[Item]:
    text = call.query("filter")
    if not text:
        return items
    try:
        rule = json.loads(text)
    except ValueError as exc:
        raise ApiError(400, [call.context.flavour.filter_error(str(exc))]) from exc
    try:
        return [item for item in items if _holds(rule, item)]
    except (TypeError, KeyError, IndexError, ValueError) as exc:
        raise ApiError(400, [f"filter: can't apply filter expression: {exc}"]) from exc


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: None not in (a, b) and bool(a < b),
    "<=": lambda a, b: None not in (a, b) and bool(a <= b),
    ">": lambda a, b: None not in (a, b) and bool(a > b),
    ">=": lambda a, b: None not in (a, b) and bool(a >= b),
}


def _holds(rule: Any, item: Item) -> bool:  # noqa: ANN401 - any JSON
    if not isinstance(rule, dict) or len(rule) != 1:
        raise ValueError(f"unexpected expression {rule!r}")
    ((operator, given),) = rule.items()
    arguments = given if isinstance(given, list) else [given]
    if operator == "and":
        return all(_holds(part, item) for part in arguments)
    if operator == "or":
        return any(_holds(part, item) for part in arguments)
    if operator == "!":
        return not _holds(arguments[0], item)
    if operator == "var":
        return _value(rule, item) is not None
    values = [_value(argument, item) for argument in arguments]
    if operator == "in":
        return values[0] is not None and _contains(values[0], values[1])
    if operator in ("<", "<=") and len(values) == 3:
        compare = _COMPARE[operator]
        return compare(values[0], values[1]) and compare(values[1], values[2])
    if operator not in _COMPARE:
        raise ValueError(f"unknown operator {operator!r}")
    return _COMPARE[operator](values[0], values[1])


def _contains(needle: Any, hay: Any) -> bool:  # noqa: ANN401 - any JSON
    if isinstance(hay, str):
        return str(needle).lower() in hay.lower()
    return hay is not None and needle in hay


def _value(argument: Any, item: Item) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(argument, dict):
        return _field(item, argument["var"])
    return argument
