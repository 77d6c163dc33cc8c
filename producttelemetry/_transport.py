"""The only user of `httpx`: one request → one `Outcome`. Never raises for anything a network or a server can do.

Guarantees: the write key goes to the configured host only, because redirects are not followed; a reply is read up to a
bound in size and time; a broken proxy or CA variable is treated as being offline; httpx's own loggers stay silent for
our requests and stay as they are for the host's.

Importing httpx takes longer than everything else in this package, so the sender imports this module when it has
something to send.
"""

from __future__ import annotations

import contextlib
import email.utils
import encodings.idna  # noqa: F401  # pyright: ignore[reportUnusedImport]  # the first look-up of a name would import it, perhaps in the middle of a fork
import functools
import hashlib
import importlib
import json
import logging
import os
import socket
import ssl
import threading
import time
from datetime import UTC
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import httpx

from . import _config
from ._record import decode_json
from ._retry import Outcome
from ._version import __version__

# What httpx imports with its first client: here, and not perhaps amid a fork. It may do without them one day.
for _module in ("certifi", "httpcore"):
    with contextlib.suppress(ImportError):
        importlib.import_module(_module)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import Self

#: Seconds for connecting (name, TCP, TLS) and for each read.
CONNECT_TIMEOUT: Final = 3.0
READ_TIMEOUT: Final = 10.0
#: Bytes of a reply that are looked at.
REPLY_BYTES: Final = 1 << 20
#: Characters of a server's message that are kept.
MESSAGE_CHARACTERS: Final = 500
#: Shorter write keys are no secrets, and stand in ordinary words.
_KEY_CHARACTERS: Final = 8

_VERSIONS: Final = frozenset(("HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"))
_ACCEPTED: Final = frozenset((200, 201, 202, 207))
_REFUSED: Final = frozenset((400, 422))
_TOO_LARGE: Final = 413
_TEMPORARY: Final = frozenset((408, 425, 429))
_LOGGERS: Final = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)


class _OurThreads(logging.Filter):
    """Drops the records of threads that are inside one of our requests, that is inside a `with` of this object."""

    def __init__(self) -> None:
        super().__init__()
        self._inside: set[int] = set()

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  # it need not know its thread
        return threading.get_ident() not in self._inside

    def __enter__(self) -> None:
        self._inside.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        self._inside.discard(threading.get_ident())


_silence: Final = _OurThreads()


class _WithdrawnError(Exception):
    """The request must not be sent any more."""


def _always() -> bool:
    return True


@functools.lru_cache(maxsize=4)
def _authorities(trust_env: bool, *_: str | None) -> ssl.SSLContext:
    """Return what httpx trusts: loading it takes 20 ms of CPU, most of what a flush costs, and it seldom changes."""
    return httpx.create_ssl_context(trust_env=trust_env)


def _is_of_tls(error: BaseException | None) -> bool:
    """Whether an error came from TLS, which httpx and httpcore wrap in their own."""
    return error is not None and (isinstance(error, ssl.SSLError) or _is_of_tls(error.__cause__ or error.__context__))


class Transport:
    """The way to one server.

    Args:
        base: URL of the API without trailing slash, ending in `/api`.
        write_key: goes into the header `X-Write-Key`, and nowhere else.
        custom: the host's own httpx transport; it is not closed, since it may be used again. A test's requests do not
            go through it, nor through a proxy: they would not reach the test's server alone.
        test_dir: of the test that this belongs to, or None.

    Attributes:
        connected: a connection has been opened, TLS included, that a request can travel on.
    """

    def __init__(
        self, base: str, write_key: str, custom: httpx.BaseTransport | None = None, *, test_dir: str | None = None
    ) -> None:
        self._base = base
        self._test_dir = test_dir
        self._headers = {
            "X-Write-Key": write_key,
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",  # a reply of a few bytes; no decompressing of what a stranger sends
            # One request per connection: a server may close an idle one while we send on it, and what comes beyond the
            # end of an answer would be read as the answer to the next request.
            "Connection": "close",
            "User-Agent": f"producttelemetry/{__version__}",
        }
        self._write_key = write_key
        self._custom = custom if test_dir is None else None
        self._client: httpx.Client | None = None
        self._socket: socket.socket | None = None
        self._expired = False
        self.connected = False
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_silence)  # adding it again changes nothing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, but not a transport that the host brought along."""
        if self._client is not None and self._custom is None:
            with _silence:
                self._client.close()

    def ingest(self, lines: Sequence[bytes], deadline: float, may_go: Callable[[], bool] = _always) -> Outcome:
        """Send events.

        Args:
            lines: one JSON object each; joined, never encoded again, so that a resend has the same bytes.
            deadline: `time.monotonic()` at which to give up.
            may_go: asked when the connection stands, which may take seconds, and nothing is on the wire yet; if it says
                no the outcome is `withdrawn`. A host's own transport that does not use httpcore may not ask.
        """
        body = b'{"events":[' + b",".join(line.rstrip(b"\n") for line in lines) + b"]}"
        key = hashlib.sha256(body).hexdigest()
        return self._request("POST", "/ingest", body, deadline, may_go, {"Idempotency-Key": key})

    def identify(self, line: bytes, deadline: float, may_go: Callable[[], bool] = _always) -> Outcome:
        """Send the link between a client and a user."""
        return self._request("POST", "/identify", line.rstrip(b"\n"), deadline, may_go)

    def erase(self, client_id: str, deadline: float) -> Outcome:
        """Ask the server to delete what it has of a client."""
        body = json.dumps({"client_id": client_id}).encode()
        return self._request("DELETE", "/gdpr/delete-self", body, deadline)

    def _request(  # noqa: PLR0913, PLR0917  # what a request consists of
        self,
        method: str,
        path: str,
        body: bytes,
        deadline: float,
        may_go: Callable[[], bool] = _always,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Outcome:
        if not _config.environment().admits(self._base, self._test_dir):
            return Outcome("withdrawn", "a test runs, and this is not its server")
        left = deadline - time.monotonic()
        if left <= 0:
            return Outcome("unavailable", "no time left")
        timeout = httpx.Timeout(min(READ_TIMEOUT, left), connect=min(CONNECT_TIMEOUT, left))
        with _silence, self._cut_off(left):
            try:
                if self._client is None:
                    self._client = self._open()
                request = self._client.build_request(
                    method,
                    self._base + path,
                    content=body,
                    headers=headers,
                    timeout=timeout,
                    extensions={"trace": functools.partial(self._watch, may_go)},
                )
                with contextlib.closing(self._client.send(request, stream=True)) as response:
                    return _outcome(response, _read(response, deadline), self._write_key)
            except _WithdrawnError:
                return Outcome("withdrawn")
            except Exception as error:  # noqa: BLE001  # not only httpx.HTTPError: bad proxy or CA variables, a custom transport
                if _is_of_tls(error):  # somebody may exchange the files that were loaded
                    _authorities.cache_clear()
                # The text of others may quote what they failed on, a proxy's password for example.
                said = f": {error}" if isinstance(error, httpx.TransportError) else ""
                return Outcome("unavailable", _clean(f"{type(error).__name__}{said}", self._write_key))

    def _open(self) -> httpx.Client:
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))  # a server must not mark us
        trust_env = self._test_dir is None
        return httpx.Client(
            transport=self._custom,
            verify=_authorities(trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")),
            headers=self._headers,
            cookies=no_cookies,
            follow_redirects=False,
            trust_env=trust_env,
        )

    def _watch(self, may_go: Callable[[], bool], event: str, info: Mapping[str, Any]) -> None:
        """Note the socket (httpcore's `trace` extension), to be able to cut it off; ask once more before it is used."""
        # Not when it is being closed: then httpcore's generator may be in the hands of the garbage collector.
        if self._expired and event.endswith(".started") and "close" not in event:
            raise httpx.ReadTimeout("the request took longer than it may")
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):  # of a connection, or a proxy's
            self._socket = info["return_value"].get_extra_info("socket")
        if event.endswith("send_request_headers.started"):
            self.connected = True
            if not may_go():
                raise _WithdrawnError

    @contextlib.contextmanager
    def _cut_off(self, seconds: float) -> Generator[None]:
        """End the connection if the block takes longer. Each read has a timeout, but a server may go on and on."""

        def cut() -> None:
            self._expired = True  # for what has no socket yet
            with contextlib.suppress(OSError):
                if self._socket is not None:
                    # Not the method of an SSLSocket, which would go on without encryption.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

        self._expired = False
        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        with contextlib.suppress(RuntimeError):  # no thread to be had at interpreter shutdown; the process ends anyway
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if timer.is_alive():
                timer.join(1.0)  # it ends at once, and a fork of the host does not meet it


def _read(response: httpx.Response, deadline: float) -> bytes:
    """Read a reply. The deadline is looked at here for a host's own transport, which cannot be cut off."""
    if response.is_stream_consumed:  # a transport of the host's that answers from memory
        return response.content
    content = bytearray()
    for part in response.iter_raw():
        content += part
        if len(content) > REPLY_BYTES:
            raise httpx.DecodingError("the reply is longer than any that this protocol has")
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the reply took longer than it may")
    return bytes(content)


def _clean(text: str, write_key: str) -> str:
    """Return a stranger's text as it may be logged and stored: short, on one line, nothing that steers a terminal.

    Without the write key, for servers do say which key they do not know.
    """
    if len(write_key) >= _KEY_CHARACTERS:
        text = text.replace(write_key, "<write_key>")
    return "".join(letter if letter.isprintable() else " " for letter in text[:MESSAGE_CHARACTERS])


def _outcome(response: httpx.Response, content: bytes, write_key: str) -> Outcome:
    """Translate an answer; the table in the README is this function."""
    status = response.status_code
    reply = _json(response, content)
    message = _clean(f"{status} {_message(reply) or response.reason_phrase}", write_key)
    retry_after = _retry_after(response.headers.get("Retry-After"), time.time())
    if status in _ACCEPTED and isinstance(reply, dict) and response.http_version in _VERSIONS:
        return Outcome("accepted", message, _errors(reply, write_key))
    if status in _REFUSED:
        return Outcome("refused", message)
    if status == _TOO_LARGE:
        return Outcome("too_large", message)
    if 400 <= status < 500 and status not in _TEMPORARY:  # noqa: PLR2004  # the class of client errors, RFC 9110
        return Outcome("misconfigured", message)
    if status < 400:  # noqa: PLR2004  # a success or redirect that this protocol does not have
        return Outcome("unavailable", f"{message}: not an answer of this API (a captive portal?)")
    return Outcome("unavailable", message, retry_after=retry_after)


def _json(response: httpx.Response, content: bytes) -> Any:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if "," in kind or not (kind == "application/json" or kind.endswith("+json")):  # a comma: several such headers
        return None
    try:
        return decode_json(content.decode())
    except (ValueError, RecursionError):
        return None


def _message(reply: Any) -> str:
    """Find what a server says in the places where servers say it."""
    said = [reply.get(name) for name in ("message", "detail", "error")] if isinstance(reply, dict) else []
    return next((text for text in said if isinstance(text, str)), "")


def _errors(reply: dict[str, Any], write_key: str) -> dict[int, str]:
    errors = reply.get("errors")
    found: dict[int, str] = {}
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, dict) and type(error.get("index")) is int:
            found[error["index"]] = _clean(str(error.get("message", "")), write_key)
    return found


def _retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds of a `Retry-After` header (RFC 9110, section 10.2.3), a number or a date; None without one."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        date = email.utils.parsedate_to_datetime(text)
        # The oldest of the three forms has no zone; all of them mean GMT.
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError, TypeError):
        return None
