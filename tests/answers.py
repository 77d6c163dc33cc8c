"""What servers may say: strategies for answers of any kind, and a second opinion on which of them acknowledge."""

from __future__ import annotations

import http.client
import io
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Mapping

GOOD: Final = b'{"accepted": 1, "rejected": 0}'
JSON: Final = b"Content-Type: application/json\r\n"
OK: Final = b"HTTP/1.1 200 OK\r\n"


def head(status: bytes = OK, kind: bytes = JSON, length: object = len(GOOD)) -> bytes:
    """Return the head of an answer."""
    return status + kind + f"Content-Length: {length}\r\nConnection: close\r\n\r\n".encode()


def reply(status: int, value: object, *headers: str) -> bytes:
    """Return a whole answer of JSON."""
    body = json.dumps(value).encode()
    return (
        head(f"HTTP/1.1 {status} x\r\n".encode(), b"".join(f"{h}\r\n".encode() for h in headers) + JSON, len(body))
        + body
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a body is, or None."""
    try:
        value = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


# --- answers of any kind --------------------------------------------------------------------------------------------

statuses = st.sampled_from([200, 201, 202, 207, 204, 302, 400, 401, 413, 422, 429, 503]) | st.integers(100, 999)
kinds = st.sampled_from(["application/json", "application/json;charset=utf-8", "a/b+json", "text/html", "json", ""])
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["accepted", "errors", "index"]), inner)
    ),
    max_leaves=8,
)
bodies = json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=100) | st.just(GOOD)
names = st.sampled_from(
    ["Retry-After", "Location", "Set-Cookie", "Content-Encoding", "X-Y", "Date", "Server", "Trailer"]
)
headers = st.lists(
    st.tuples(names, st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20)), max_size=4
)
#: Whether the answer says how long its body is: as it is, a byte less, a byte more, or not at all.
lengths = st.sampled_from(["right", "short", "long", "none"])


class Answer(NamedTuple):
    """An answer in its parts; `told` is the length that it states, if any."""

    status: int
    kind: str
    extra: list[tuple[str, str]]
    body: bytes
    told: int | None

    def __bytes__(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} x", *(f"{name}: {value}" for name, value in self.extra), "Connection: close"]
        lines += [f"Content-Type: {self.kind}"] if self.kind else []
        lines += [f"Content-Length: {self.told}"] if self.told is not None else []
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


def _answer(status: int, kind: str, extra: list[tuple[str, str]], body: bytes, length: str) -> Answer:
    told = {"right": len(body), "short": max(0, len(body) - 1), "long": len(body) + 1, "none": None}[length]
    return Answer(status, kind, extra, body, told)


answers = st.builds(_answer, statuses, kinds, headers, bodies, lengths)

#: Answers that decide about events, so that what follows them is another part of a batch.
decisions = st.one_of(
    st.sampled_from([400, 413, 422]).map(lambda status: reply(status, {"error": "no"})),
    st.just(reply(202, {"accepted": 1})),
    st.lists(st.integers(-1, 9), max_size=4).map(
        lambda indices: reply(207, {"errors": [{"index": index, "message": f"bad {index}"} for index in indices]})
    ),
)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """An acknowledgement or refusal that was cut or changed on its way, or had something put before or behind it."""
    whole = draw(decisions)
    place = draw(st.integers(0, len(whole)))
    noise = draw(st.binary(max_size=8))
    return draw(
        st.sampled_from(
            [
                whole[:place],
                whole[:place] + noise + whole[place + len(noise) :],
                noise + whole,
                whole + noise,
                whole * 2,
            ]
        )
    )


#: The bytes of one answer; None is a connection that is reset.
anything: st.SearchStrategy[bytes | None] = st.one_of(
    decisions, decisions, answers.map(bytes), spoilt(), st.binary(max_size=200), st.none()
)


# --- a second opinion -----------------------------------------------------------------------------------------------


class _Lasting(io.BytesIO):
    """Stays open when one of several responses that read from it is collected."""

    def close(self) -> None:
        """Do nothing."""


class _Read(NamedTuple):
    """What `http.client` wants of a socket."""

    file: io.BytesIO

    def makefile(self, *_: object) -> io.BytesIO:
        return self.file


def _response(data: bytes) -> http.client.HTTPResponse:
    """Parse the head of an answer; those that come before it, such as early hints, are skipped."""
    file = _Lasting(data)
    while True:
        response = http.client.HTTPResponse(_Read(file), method="POST")  # type: ignore[arg-type]  # see there
        response.begin()
        if response.status == 101 or not 100 <= response.status < 200:  # switching is no hint
            return response


class Verdict(NamedTuple):
    """What an answer says of the events in its request; `refused` holds the places of those that it names."""

    acknowledges: bool
    refuses: bool
    refused: Mapping[int, str] = {}


def judge(data: bytes | None) -> Verdict:
    """Read an answer with the standard library's client, which is more lenient than ours."""
    try:
        response = _response(data or b"")
        content = response.read()
    except (http.client.HTTPException, OSError, ValueError):
        return Verdict(acknowledges=False, refuses=False)
    value = json_object(content) if "json" in str(response.headers.get_all("Content-Type")).lower() else None
    if response.status not in {200, 201, 202, 207} or value is None:
        return Verdict(acknowledges=False, refuses=response.status in {400, 413, 422})
    errors = value.get("errors")
    found = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    refused = {error["index"]: str(error.get("message")) for error in found if type(error.get("index")) is int}
    return Verdict(acknowledges=True, refuses=False, refused=refused)
