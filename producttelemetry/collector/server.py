"""Running the collector: blocking for the command line, in a thread for tests.

Both bind the socket themselves. A taken port is then an exception of ours before anything else has happened, instead of
a log line and `sys.exit(3)` from the depth of the server; and port 0 has its number by the time anybody asks.

Three things differ from a stock uvicorn:

- Each connection's transport is in the scope's `state`, so that a fault can close the connection (see `misbehave`).
- A signal stops the server and that is all. uvicorn raises it again afterwards, which would turn a clean exit into a
  traceback (`SIGINT`) or a death by signal (`SIGTERM`).
- Stopping waits `GRACE` seconds for answers under way and then closes the connections. Requests that hang on purpose
  must not keep the process, and uvicorn's own time limit cancels them with an error in the log.

uvicorn's logging setup is not applied: a test's collector has no business with the logging of the process it runs in.
"""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Generator
from ipaddress import ip_address
from types import FrameType
from typing import Final, Self

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import create_app
from .errors import ListenError
from .faults import Faults
from .guard import is_loopback
from .journal import Journal
from .misbehave import TRANSPORT
from .store import Store

#: Seconds that requests under way get when the server stops.
GRACE: Final = 0.25

#: Seconds within which a server in a thread must have started, and later stopped.
PATIENCE: Final = 10.0

#: Seconds that an idle connection is kept: longer than a desktop program pauses between two flushes.
_KEEP_ALIVE: Final = 75

_BACKLOG: Final = 2048


def serve(
    host: str = "127.0.0.1",
    port: int = 8765,
    store: str | None = None,
    write_key: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Run the collector in this thread until `SIGINT` or `SIGTERM`.

    Args:
        host: name or address to listen on; unless it is loopback, other machines may send events.
        port: 0 takes a free one.
        store: the SQLite file; `None` for a store that is gone afterwards.
        write_key: the key that the SDK must send; `None` takes any.
        ready: called once with the URL, when the server answers under it. What it raises stops the server.

    Raises:
        ListenError: the address cannot be used.
        StoreError: the store cannot be opened.
    """
    with contextlib.closing(_listen(host, port)) as listener, Store(store) as opened:
        app = create_app(opened, write_key=write_key, any_host=not is_loopback(host))
        server = _Server(app, lambda: ready and ready(_url(listener)))
        server.run(sockets=[listener])
    if server.failure is not None:
        raise server.failure


class RunningCollector:
    """A collector on a thread of this process, for tests: a context manager.

    ```python
    with RunningCollector() as collector:
        collector.faults.set(Fault(status=503, remaining=2))
        Telemetry("key", api_url=collector.url)
        ...
        assert 1 == collector.store.counts().accepted
    ```

    The store is closed on leaving; to look at it later, give it a file. It may be entered again after it was left: with
    the same `port` that is a server which comes back.

    Args:
        host: name or address to listen on.
        port: 0 takes a free one.
        store: the SQLite file; `None` for a store that is gone afterwards.
        write_key: the key that the SDK must send; `None` takes any.

    Attributes:
        url: where it listens, without a trailing slash; while it runs.
        store: what arrived; while it runs.
        faults: what it does wrong.
        journal: which requests came.
    """

    url: str
    store: Store

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, store: str | None = None, write_key: str | None = None
    ) -> None:
        self.faults = Faults()
        self.journal = Journal()
        self._host = host
        self._port = port
        self._path = store
        self._write_key = write_key
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(contextlib.closing(_listen(self._host, self._port)))
            self.url = _url(listener)
            self.store = stack.enter_context(Store(self._path))
            app = create_app(
                self.store,
                self.faults,
                self._write_key,
                journal=self.journal,
                any_host=not is_loopback(self._host),
            )
            stack.enter_context(_running(app, listener))
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the server and close the store; a second call does nothing. What made the server end early is raised.

        Raises:
            RuntimeError: the server did not stop within `PATIENCE` seconds.
        """
        self._cleanup.close()


@contextlib.contextmanager
def _running(app: Starlette, listener: socket.socket) -> Generator[None]:
    settled = threading.Event()
    server = _Server(app, settled.set)

    def run() -> None:
        try:
            server.run(sockets=[listener])
        except BaseException as error:  # noqa: BLE001  # it belongs to the thread that waits for us
            server.failure = error
        finally:
            settled.set()

    thread = threading.Thread(target=run, name="producttelemetry-collector", daemon=True)
    thread.start()
    try:
        settled.wait(PATIENCE)
        if server.failure is not None:
            raise server.failure
        if not server.started:
            raise RuntimeError(f"the collector did not start within {PATIENCE:g} s")
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
    if thread.is_alive():
        raise RuntimeError(f"the collector did not stop within {PATIENCE:g} s")
    if server.failure is not None:
        raise server.failure


class _Connection(H11Protocol):
    """One TCP connection, whose requests can close it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        # Every request's scope gets a shallow copy of this.
        self.app_state = {**self.app_state, TRANSPORT: transport}
        # asyncio does this only for sockets that were made with a protocol number, and `create_server` makes them
        # without: an answer's body then waits 40 ms for the client to acknowledge its head.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Server(uvicorn.Server):
    """uvicorn with the differences that the module names.

    Args:
        app: the ASGI application.
        ready: called on the event loop when the server listens.
    """

    def __init__(self, app: Starlette, ready: Callable[[], object]) -> None:
        config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            backlog=_BACKLOG,
        )
        super().__init__(config)
        self._ready = ready
        #: What `ready` raised.
        self.failure: BaseException | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        try:
            self._ready()
        except BaseException as error:  # noqa: BLE001  # raised again by `serve`, when the server is down
            self.failure = error
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        timer = asyncio.get_running_loop().call_later(GRACE, self._close_connections)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        del sig, frame
        self.should_exit = True

    def _close_connections(self) -> None:
        for connection in list(self.server_state.connections):
            assert isinstance(connection, _Connection)
            connection.transport.abort()


def _listen(host: str, port: int) -> socket.socket:
    failure: Exception = ValueError("the port must be from 0 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM) if 0 <= port <= 65535 else []  # noqa: PLR2004
    except (OSError, ValueError) as error:
        failure, found = error, []
    # A name may have an address that this machine does not serve: `localhost` without IPv6.
    for family, _, _, _, address in found:
        try:
            return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        except OSError as error:
            failure = error
    raise ListenError(f"cannot listen on {host} port {port}: {_reason(failure)}") from failure


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error)


def _url(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    ip = ip_address(address)
    if ip.is_unspecified:
        # "every address" is for listening only; this machine is among them.
        ip = ip_address("127.0.0.1" if ip.version == 4 else "::1")  # noqa: PLR2004
    return f"http://{ip}:{port}" if ip.version == 4 else f"http://[{ip}]:{port}"  # noqa: PLR2004
