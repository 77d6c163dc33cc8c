"""Starting and stopping the collector, in a thread and as a process."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from producttelemetry.collector import Counts, Fault, ListenError, RunningCollector, Store, StoreError, serve
from tests import collector_support
from tests.collector_support import DEADLINE, connect, ingest, make_event, new_client, raw_ingest
from tests.harness import wait_until

if TYPE_CHECKING:
    from pathlib import Path

running = collector_support.running
collector = collector_support.collector
client = collector_support.client


def test_it_stops_although_requests_hang() -> None:
    """Leaving the block takes a moment, not the minute that an answer is held back for."""
    with RunningCollector() as collector, connect(collector) as hanging:
        collector.faults.set(Fault(latency_seconds=60, remaining=1))
        hanging.sendall(raw_ingest())
        wait_until(lambda: collector.faults.current is None)
        started = time.monotonic()
        collector.stop()

        assert time.monotonic() - started < 5
        with contextlib.suppress(ConnectionResetError):
            assert b"" == hanging.recv(1)
    assert not _is_listening(collector.url)


def _is_listening(url: str) -> bool:
    address = httpx.URL(url)
    assert address.port is not None
    with contextlib.suppress(OSError), socket.create_connection((address.host, address.port), timeout=1):
        return True
    return False


def test_answers_do_not_wait_for_acknowledgements(client: httpx.Client) -> None:
    """On a kept connection answers take a millisecond, not the 40 that TCP waits for when it may delay small writes."""
    started = time.monotonic()
    for _ in range(50):
        assert 200 == client.get("/health").status_code

    assert time.monotonic() - started < 1


def test_a_server_can_come_back_under_its_address() -> None:
    """A collector on the port of one that was stopped serves the same URL; while none runs, nobody listens."""
    with RunningCollector() as collector, new_client(collector) as client:
        assert 202 == ingest(client, make_event()).status_code
    url = collector.url
    assert not _is_listening(url)

    again = RunningCollector(port=httpx.URL(url).port or 0)
    for _ in range(2):
        with again, new_client(again) as client:
            assert url == again.url
            assert 202 == ingest(client, make_event()).status_code


def test_a_taken_port_is_one_clear_line(collector: RunningCollector) -> None:
    """Both ways to start say which address is taken, as an `OSError`, and leave nothing open."""
    port = httpx.URL(collector.url).port or 0
    expected = f"cannot listen on 127.0.0.1 port {port}: Address already in use"

    with pytest.raises(ListenError) as raised:
        serve(port=port)
    assert expected == str(raised.value)
    with pytest.raises(OSError, match=expected), RunningCollector(port=port):
        pass


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 65536), ("127.0.0.1", -1), ("192.0.2.1", 0), ("a..b", 0), ("a\0b", 0)]
)
def test_an_impossible_address_is_one_clear_line(host: str, port: int) -> None:
    """A port out of range, an address of another machine, a name that is none: each says what is wrong with it."""
    with pytest.raises(ListenError, match=rf"^cannot listen on {re.escape(host)} port {port}: .+$"):
        serve(host, port)


def test_a_bad_store_stops_it_before_it_listens(tmp_path: Path) -> None:
    """The error of the store comes out of both ways to start."""
    path = str(tmp_path / "no" / "events.db")
    with pytest.raises(StoreError):
        serve(port=0, store=path)
    with pytest.raises(StoreError), RunningCollector(store=path):
        pass


def test_ipv6(collector: RunningCollector) -> None:
    """An IPv6 address gets its brackets in the URL, and works."""
    assert collector.url.startswith("http://127.0.0.1:")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with RunningCollector(host="::1") as other, new_client(other) as client:
        assert other.url.startswith("http://[::1]:")
        assert 200 == client.get("/health").status_code


def test_what_ready_raises_stops_the_server() -> None:
    """A caller that cannot use the URL gets its own error back, and nobody listens any more."""
    urls: list[str] = []

    def ready(url: str) -> None:
        urls.append(url)
        raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError, match="nobody reads"):
        serve(port=0, ready=ready)

    assert not _is_listening(urls[0])


SERVE = """
import sys
from producttelemetry.collector import serve
serve(port=0, store=sys.argv[1], write_key="key", ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there a signal for one process is TerminateProcess")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_clean_exit(tmp_path: Path, stop: signal.Signals) -> None:
    """The process says where it listens, serves, and on a signal ends with status 0 and not a word on stderr."""
    path = str(tmp_path / "events.db")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with httpx.Client(base_url=url, headers={"X-Write-Key": "key"}, trust_env=False) as client:
                assert 202 == ingest(client, make_event()).status_code
                process.send_signal(stop)
                output = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()

    assert (0, ("stopped\n", "")) == (process.returncode, output)
    with Store(path) as store:
        assert Counts(accepted=1) == store.counts()


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_missing_extra_is_named(missing: str) -> None:
    """Without the extra the import fails with one line that says what to install."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
try:
    import producttelemetry.collector
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert f'the collector needs {missing}: pip install "producttelemetry[collector]"\n' == done.stdout
