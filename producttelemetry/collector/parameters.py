"""Query strings: parsed strictly, since a misspelt filter that is ignored looks like one that matches everything."""

from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

from .records import Query

#: Rows of one answer, unless asked for otherwise, and at most.
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 10_000

#: The largest integer SQLite compares a rowid with.
MAX_ROWID: Final = 2**63 - 1

_ORDERS: Final = ("oldest", "newest")
_PAGING: Final = ("after", "before", "order", "limit")


def known(request: Request, *names: str) -> Mapping[str, str]:
    """Return a request's parameters.

    Raises:
        HTTPException: 422, one of them is not among `names`.
    """
    for name in request.query_params:
        if name not in names:
            raise HTTPException(422, f"unknown parameter {name!r}; known are {', '.join(names) or 'none'}")
    return request.query_params


def number(asked: Mapping[str, str], name: str, default: int, most: int, least: int = 0) -> int:
    """Return a parameter as a number.

    Raises:
        HTTPException: 422, it is no decimal number from `least` to `most`.
    """
    text = asked.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise HTTPException(422, f"{name} must be a number from {least} to {most}")
    return int(text)


def query(request: Request, *filters: str) -> tuple[Query, bool]:
    """Return what a request for a list asks for, and whether it wants the rows brief.

    Args:
        request: its query string has `after`, `before`, `order`, `limit`, `brief` and the filters.
        filters: of `name`, `type` and `client_id`, those that the list knows.

    Raises:
        HTTPException: 422 naming the parameter that is wrong.
    """
    asked = known(request, *filters, *_PAGING, "brief")
    order = asked.get("order", "oldest")
    if order not in _ORDERS:
        raise HTTPException(422, f"order must be one of {', '.join(_ORDERS)}")
    found = Query(
        name=asked.get("name"),
        event_type=asked.get("type"),
        client_id=asked.get("client_id"),
        after=number(asked, "after", 0, MAX_ROWID),
        before=number(asked, "before", 0, MAX_ROWID) if "before" in asked else None,
        limit=number(asked, "limit", DEFAULT_LIMIT, MAX_LIMIT),
        newest_first=order == "newest",
    )
    return found, bool(number(asked, "brief", 0, 1))
