"""Request bodies: read with a bound, parsed strictly.

The bound holds while reading. A declared length over it is refused unread; an undeclared one when the byte too many
arrives. What the client still sends after that, the HTTP server below discards.

Strictly means RFC 8259: no `NaN`, no `Infinity`, UTF-8 and nothing else. Python's parser takes all of these unless told
not to, and a sender that relies on it would fail with other servers.

A batch is cut rather than parsed whole: each event's value comes with the very text it was sent as, which is what the
store keeps. Serialising it again would cost more than parsing it did, and would hide how the sender spelt it.
"""

import contextlib
import json
from typing import Any, Final, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from .validate import is_array, is_object

#: Largest body taken, in bytes: twice the largest batch that the SDK sends.
MAX_BODY: Final = 1024 * 1024

_BATCH_HEAD: Final = '{"events":['
_BATCH_TAIL: Final = "]}"


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Read a request's body.

    Args:
        scope: the ASGI scope of the request.
        receive: its ASGI channel, not read from yet.

    Returns:
        The body, at most `MAX_BODY` bytes.

    Raises:
        HTTPException: 413, the body is larger than that.
        ClientDisconnect: the client left before the end of it.
    """
    if _declared_length(scope) > MAX_BODY:
        raise _too_large()
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise _too_large()
        more = message.get("more_body", False)
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object.

    Raises:
        HTTPException: 400, it is not JSON; 422, it is JSON but no object.
    """
    try:
        value: object = _DECODER.decode(body.decode())
    except RecursionError:
        raise HTTPException(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    if not is_object(value):
        raise HTTPException(422, "the body must be an object")
    return value


def parse_batch(body: bytes) -> tuple[list[Any], list[str] | None]:
    """Parse the body of an ingest request.

    Args:
        body: UTF-8 JSON, `{"events": […]}`.

    Returns:
        The elements of the list as parsed, and the text of each; `None` for the texts if the body is laid out in
        another way than the SDK does it, compact and with no other member.

    Raises:
        HTTPException: 400, it is not JSON; 422, it is not an object with a list of events.
    """
    with contextlib.suppress(ValueError, IndexError, RecursionError):
        batch = _cut(body.decode())
        if batch is not None:
            return batch
    events: object = parse_object(body).get("events")
    if not is_array(events):
        raise HTTPException(422, "events must be a list")
    return events, None


def _cut(text: str) -> tuple[list[Any], list[str]] | None:
    """Cut a batch in the SDK's layout; `None` or `ValueError` if it has another, valid or not."""
    if not text.startswith(_BATCH_HEAD):
        return None
    events: list[Any] = []
    texts: list[str] = []
    start = len(_BATCH_HEAD)
    while True:
        event, end = _DECODER.raw_decode(text, start)
        events.append(event)
        texts.append(text[start:end])
        if text[end] != ",":
            return (events, texts) if text[end:] == _BATCH_TAIL else None
        start = end + 1


def _declared_length(scope: Scope) -> int:
    # The HTTP server has refused lengths that are no numbers. Without one the body comes in chunks.
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


def _too_large() -> HTTPException:
    return HTTPException(413, f"the body is larger than {MAX_BODY} bytes")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
