"""`_transport`: servers that no framework would let you write. Nothing raises, hangs, or is taken for a yes."""

from __future__ import annotations

import gzip
import socket
import struct
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producttelemetry._retry import Outcome
from producttelemetry._transport import REPLY_BYTES, Transport
from tests import answers, harness
from tests.answers import GOOD, JSON, OK, Answer, head, json_object
from tests.wire import LINE, RawServer, soon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Send = Callable[..., tuple[Outcome, float]]


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    """A server whose answer each test sets."""
    with RawServer(lambda _: None) as running:
        yield running


@pytest.fixture(scope="module")
def transport(server: RawServer) -> Iterator[Transport]:
    """What is under test, over real sockets; it opens one for each request, so that no test sees the one before."""
    once = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
    with once, Transport(server.base, "secret", once) as made:
        yield made


@pytest.fixture(scope="module")
def send(transport: Transport) -> Send:
    """Send one event before a deadline; return the outcome and how many seconds it took."""

    def one(seconds: float = 5.0) -> tuple[Outcome, float]:
        started = time.monotonic()
        return transport.ingest([LINE], soon(seconds)), time.monotonic() - started

    return one


def answering(*parts: bytes) -> Callable[[socket.socket], None]:
    """Return an answer of these bytes, each in a packet of its own."""

    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)

    return answer


def test_the_request(server: RawServer) -> None:
    """What is on the wire: the key in its one header, JSON, no compression asked for, and the lines of the spool."""
    server.answer = answering(head() + GOOD)
    server.requests.clear()
    with Transport(server.base, "secret") as transport:
        assert "accepted" == transport.ingest([LINE], soon()).kind
    first, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = first.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert "POST /api/ingest HTTP/1.1" == lines[0]
    assert ("secret", "application/json", "identity") == tuple(
        headers[name] for name in ("x-write-key", "content-type", "accept-encoding")
    )
    assert 1 == server.requests[0].count(b"secret")
    assert b'{"events":[' + LINE[:-1] + b"]}" == body


def test_each_request_has_a_connection_of_its_own(server: RawServer) -> None:
    """A server may end an idle connection while we send, or say more than it was asked: neither meets a later request.

    The second answer of each connection would be taken for that to the next request, which the server never got.
    """
    left: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        connection.sendall((head().replace(b"Connection: close\r\n", b"") + GOOD) * 2)
        left.append(connection.recv(65536))

    server.answer = answer
    server.requests.clear()
    with Transport(server.base, "secret") as transport:
        assert ["accepted"] * 3 == [transport.ingest([LINE], soon()).kind for _ in range(3)]
    harness.wait_until(lambda: len(left) == 3)  # the server sees the end of a connection after us
    assert ([b""] * 3, 3) == (left, len(server.requests))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:{port}/api/ingest", "//localhost:{port}/", "http://u:p@[::1]:{port}"]
)
def test_a_redirect_is_not_followed(status: int, place: str, server: RawServer, send: Send) -> None:
    """No other server gets the key or an event, however the redirect is written; the events are kept."""
    with RawServer(answering(head() + GOOD)) as other:
        location = f"Location: {place.format(port=other.port)}\r\n".encode()
        server.answer = answering(head(f"HTTP/1.1 {status} Moved\r\n".encode(), JSON + location) + GOOD)
        assert "unavailable" == send()[0].kind
        assert [] == other.requests


CHUNKED = OK + JSON + b"Transfer-Encoding: chunked\r\n\r\n"

#: Answers of a server whose program, proxy or cable is broken.
BROKEN: dict[str, tuple[bytes, ...]] = {
    "nothing": (),
    "line break": (b"\r\n",),
    "garbage": (b"\0\xff\x80" * 100,),
    "text": (b"hello\n",),
    "tls alert": (b"\x15\x03\x01\x00\x02\x02\x28",),
    "status line only": (OK,),
    "half a header": (OK, b"Content-Ty"),
    "no status": (b"HTTP/1.1\r\n\r\n",),
    "odd status": (head(b"HTTP/1.1 2000 OK\r\n"), GOOD),
    "status of letters": (head(b"HTTP/1.1 abc OK\r\n"), GOOD),
    "status 0": (head(b"HTTP/1.1 000 OK\r\n"), GOOD),
    "other protocol": (head(b"ICY 200 OK\r\n"), GOOD),
    "http 0": (head(b"HTTP/0.0 200 OK\r\n"), GOOD),
    "http 9": (head(b"HTTP/9.9 200 OK\r\n"), GOOD),
    "http 2": (head(b"HTTP/2 200 OK\r\n"), GOOD),
    "short body": (head(length=100), GOOD),
    "no body": (head(),),
    "negative length": (head(length=-1), GOOD),
    "length of letters": (head(length="many"), GOOD),
    "two lengths": (OK + JSON + b"Content-Length: 5\r\nContent-Length: 30\r\n\r\n", GOOD),
    "length that cuts": (head(length=10), GOOD),
    "header without name": (OK + b": x\r\n" + JSON + b"\r\n", GOOD),
    "NUL in a header": (OK + JSON + b"X: \0\r\n\r\n", GOOD),
    "endless chunk": (CHUNKED, b"ffffffffff\r\n", GOOD),
    "no chunk": (CHUNKED, b"xyz\r\n", GOOD),
    "chunks without end": (CHUNKED, b"1e\r\n" + GOOD + b"\r\n"),
    "huge header": (OK + JSON, b"X: " + b"a" * 1_000_000 + b"\r\n", b"\r\n", GOOD),
    "many headers": (OK + JSON, b"X: a\r\n" * 100_000, b"\r\n", GOOD),
    "switching": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n" + JSON + b"\r\n", GOOD),
    "early hints only": (b"HTTP/1.1 103 Early Hints\r\n\r\n",) * 3,
    "compressed": (
        head(kind=JSON + b"Content-Encoding: gzip\r\n", length=len(gzip.compress(GOOD))),
        gzip.compress(GOOD),
    ),
    "UTF-8 that is none": (head(length=13), b'{"error":"\xff"}'),
    "two types": (head(kind=b"Content-Type: text/html\r\n" + JSON), GOOD),
    "two other types": (head(kind=b"Content-Type: text/html\r\nContent-Type: a/b+json\r\n"), GOOD),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_answers(kind: str, server: RawServer, send: Send) -> None:
    """Nothing that is no answer is taken for one; the events are kept."""
    server.answer = answering(*BROKEN[kind])
    outcome, seconds = send()
    assert "unavailable" == outcome.kind
    assert outcome.message
    assert seconds < 3.0


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.0 200 OK\r\n" + JSON + b"\r\n", GOOD),
        (b"HTTP/1.1 200\r\n" + JSON + b"\r\n", GOOD),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", head(), GOOD),
        (CHUNKED, b"f\r\n" + GOOD[:15] + b"\r\n", b"f\r\n" + GOOD[15:] + b"\r\n0\r\nTrailer: x\r\n\r\n"),
        tuple(bytes((byte,)) for byte in head() + GOOD),
    ],
    ids=["HTTP/1.0", "no reason", "early hints", "chunked", "byte by byte"],
)
def test_unusual_answers_that_are_right(parts: tuple[bytes, ...], server: RawServer, send: Send) -> None:
    """What HTTP allows is understood, however it is cut."""
    server.answer = answering(*parts)
    assert Outcome("accepted", send()[0].message) == send()[0]


def test_a_connection_that_is_reset(server: RawServer, send: Send) -> None:
    """A reset instead of an answer, or in the middle of one, is being offline."""
    for sent in (b"", head() + GOOD[:5]):

        def reset(connection: socket.socket, sent: bytes = sent) -> None:
            connection.sendall(sent)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        server.answer = reset
        assert "unavailable" == send()[0].kind


@pytest.mark.parametrize(
    ("prefix", "piece"),
    [(head(length=10**6), b" "), (OK, b"X: a\r\n"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (OK + b"X: ", b"a")],
    ids=["body", "headers", "informational", "one header"],
)
def test_an_answer_that_does_not_end_ends_with_the_deadline(
    prefix: bytes, piece: bytes, server: RawServer, send: Send
) -> None:
    """A server that goes on saying a little, in the body or before it, does not keep us beyond the deadline."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(prefix)
        server.drip(piece, connection)

    server.answer = drip
    outcome, seconds = send(seconds=0.4)
    assert "unavailable" == outcome.kind
    assert seconds < 1.5


def test_a_handshake_that_does_not_end_ends_with_the_deadline() -> None:
    """The server promises a long TLS record and sends it byte by byte: each read is in time, and the whole is not."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"\x16\x03\x03\x3f\xff")
        slow.drip(b"\x02", connection)

    with RawServer(drip, reads=False) as slow:
        started = time.monotonic()
        with Transport(slow.base.replace("http:", "https:"), "secret") as transport:
            assert "unavailable" == transport.ingest([LINE], soon(0.6)).kind
        assert time.monotonic() - started < 2.0


@pytest.mark.parametrize("length", [len(GOOD) + 50_000_000, ""], ids=["told", "not told"])
def test_a_huge_reply_is_not_read(length: object, server: RawServer, send: Send) -> None:
    """A reply is read up to a bound and then left, although it would be an acknowledgement at its end."""
    sent: list[int] = []

    def flood(connection: socket.socket) -> None:
        connection.sendall(head(length=length) if length else OK + JSON + b"\r\n")
        sent.extend(connection.send(b" " * 65536) for _ in range(800))
        connection.sendall(GOOD)

    server.answer = flood
    outcome, seconds = send(seconds=10.0)
    assert "unavailable" == outcome.kind
    assert seconds < 3.0
    assert REPLY_BYTES <= sum(sent) < 40_000_000


def test_a_compressed_reply_is_not_unpacked(server: RawServer, send: Send) -> None:
    """A few kilobytes that would become gigabytes stay a few kilobytes."""
    bomb = gzip.compress(b" " * 50_000_000 + GOOD)
    server.answer = answering(head(kind=JSON + b"Content-Encoding: gzip\r\n", length=len(bomb)), bomb)
    outcome, seconds = send()
    assert "unavailable" == outcome.kind
    assert seconds < 1.0


@pytest.mark.parametrize("cookie", ["a=b; Path=/", "a=\u00e4\u00f6; Path=/"], ids=["plain", "not ASCII"])
def test_cookies_are_not_kept(cookie: str, server: RawServer, send: Send) -> None:
    """A server cannot mark us, and one that tries, a captive portal for example, does not spoil later requests."""
    server.answer = answering(head(kind=JSON + f"Set-Cookie: {cookie}\r\n".encode("latin-1")) + GOOD)
    server.requests.clear()
    assert ["accepted", "accepted"] == [send()[0].kind for _ in range(2)]
    assert not [request for request in server.requests if b"cookie:" in request.lower()]


def test_a_server_that_answers_before_it_has_read(transport: Transport) -> None:
    """A refusal that comes while we are still sending is understood, or we were offline; nothing raises."""
    refusal = head(b"HTTP/1.1 413 Too Large\r\n") + GOOD
    with (
        RawServer(answering(refusal), reads=False) as early,
        Transport(early.base, "secret", transport._custom) as ours,
    ):
        assert ours.ingest([LINE] * 3000, soon()).kind in {"too_large", "unavailable"}


# --- anything at all ----------------------------------------------------------------------------------------------


def _allowed(extra: list[tuple[str, str]]) -> bool:
    """Whether HTTP allows these headers, and they do not say that the body is another."""
    return all(value == value.strip() and value.isprintable() and name != "Content-Encoding" for name, value in extra)


@settings(max_examples=200, deadline=None)
@given(answers.answers)
def test_any_answer(server: RawServer, send: Send, answer: Answer) -> None:
    """An answer is a yes exactly if status, type and body say so and it is whole; nothing raises."""
    server.answer = answering(bytes(answer))
    yes = answer.status in {200, 201, 202, 207} and ("application/json" in answer.kind or "+json" in answer.kind)
    whole = answer.told is None or answer.told <= len(answer.body)
    yes = yes and whole and json_object(answer.body[: answer.told]) is not None
    outcome, _ = send()
    assert yes or outcome.kind != "accepted"
    assert not (yes and _allowed(answer.extra)) or outcome.kind == "accepted", outcome


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(server: RawServer, send: Send, data: bytes) -> None:
    """Bytes that are no answer at all are being offline."""
    server.answer = answering(data)
    assert "unavailable" == send()[0].kind
