"""Exceptions out of signal handlers, descriptors that the host closes, disks that fail: the client lives on."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from producttelemetry import _files as files
from producttelemetry._spool import Directory
from producttelemetry.collector import Fault, RunningCollector
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry

    Make = Callable[..., Telemetry]


@pytest.mark.parametrize("cap", [20, 10**6])
def test_a_handler_that_raises_breaks_nothing(cap: int, telemetry: Make) -> None:
    """The exception belongs to the host and reaches it; every event whose `track()` had returned is there."""
    arguments = {"max_queue_size": cap, "flush_at": 10**6}
    settings = json.dumps({"url": harness.NO_SERVER, "arguments": arguments})
    ended = harness.run("interrupted", settings, env=harness.unmeasured())
    assert (0, "") == (ended.returncode, ended.stderr)
    told = json.loads(ended.stdout)
    client = telemetry(max_queue_size=cap)
    stats = client.stats()
    assert (0, 0) == (told["volatile"], stats.dropped["purged"])
    found = harness.numbers(harness.events(harness.spool(client)))
    assert 0 == found[-1]
    if stats.dropped["overflow"] == 0:
        # An interrupted call may have stored its event, even twice under one id; it never takes another's away.
        assert set(told["returned"]) <= set(found)
    else:
        # An interrupt between a rename and its note wastes the slots of one step until the segment is sealed.
        assert 0 < len(found) <= cap
    harness.assert_sound(harness.spool(client), cap)
    with open(harness.spool(client) / "lock", "rb") as other:
        assert files.try_lock(other.fileno())


def test_a_host_that_closes_all_descriptors(telemetry: Make) -> None:
    """A daemon does that. Events since are kept, and nobody else's file is written to or closed."""
    client = telemetry(flush_at=10**6, max_queue_size=640)
    client.track("test.event", {"number": 0})
    for descriptor in (client._writer._segment._descriptor, client._writer._segment._directory.lock.descriptor):
        os.close(descriptor)
    reader, writer = os.pipe()  # takes the numbers that have become free
    for number in range(1, 40):
        client.track("test.event", {"number": number})
    client._writer._disk_failed_at = None  # as if a second had passed: the disk is tried again
    client._seal(last=True)
    os.set_blocking(reader, False)
    written_elsewhere = _drain(reader).count(b"\n")
    assert written_elsewhere <= 10, "one step is what may go wrong before the next look"
    found = harness.numbers(harness.events(harness.spool(client)))
    assert 40 - written_elsewhere == len(found)
    assert 39 == found[-1]
    os.close(reader)
    os.close(writer)


def _drain(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return b""


def test_a_full_disk_does_not_keep_events_from_being_sent(
    telemetry: Make, collector: RunningCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking a lock needs no room: what is on the disk is sent, and that is what makes room again."""
    client = telemetry(collector.url, flush_at=10**6)
    client.track("test.event", {"number": 0})

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("write_at", "write_new"):
        monkeypatch.setattr(files, name, no_room)
    client.flush()
    monkeypatch.undo()
    assert [0] == harness.numbers(harness.stored(collector))


def test_a_directory_that_cannot_be_synced_loses_nothing(telemetry: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fsync=True`, and syncing a name fails: every event is in the queue, in order, none is taken for purged."""
    client = telemetry(fsync=True, flush_at=10**6)
    sync = files.sync_directory
    failing = iter([True, False, True])

    def sometimes(path: str) -> None:
        if next(failing, False):
            raise OSError(errno.EIO, "Input/output error")
        sync(path)

    monkeypatch.setattr(files, "sync_directory", sometimes)
    for number in range(5):
        client.track("test.event", {"number": number})
        client._writer._disk_failed_at = None
    assert client._seal(last=True)
    assert list(range(5)) == harness.numbers(harness.events(harness.spool(client)))
    assert 0 == client.stats().dropped["purged"]


def test_a_ledger_that_cannot_be_read_is_not_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors for a moment: the counts of years are not replaced by those of a minute."""
    directory = Directory(str(tmp_path))
    directory.count({"delivered": 1000})

    def no_descriptor(*_: object, **__: object) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(files, "read", no_descriptor)
        with pytest.raises(OSError, match="Too many"):
            directory.count({"delivered": 1})
    assert 1000 == directory.ledger().delivered


def test_a_process_without_a_segment_hears_of_an_erasure(telemetry: Make, collector: RunningCollector) -> None:
    """Its queue is sealed and sent, its client id is in use: after another's erasure its next event has the new id."""
    client, other = telemetry(collector.url), telemetry(collector.url)
    client.track("test.event", {"number": 0})
    client.flush()
    assert other.request_deletion()
    client.track("test.event", {"number": 1})
    client.flush()
    (event,) = harness.stored(collector)
    assert 1 == event["properties"]["number"]
    assert 0 == client.stats().dropped["purged"]


def test_an_erasure_stops_a_batch_that_is_being_halved(telemetry: Make, collector: RunningCollector) -> None:
    """Between two requests of one batch the client is erased: no further request carries its id."""
    other = telemetry(collector.url)
    sent: list[bytes] = []

    class Erasing(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(request.read())
            response = super().handle_request(request)
            if len(sent) == 1:
                collector.faults.clear()
                assert other.request_deletion()
            return response

    with Erasing() as transport:
        client = telemetry(collector.url, transport=transport, flush_at=10**6)
        for number in range(8):
            client.track("test.event", {"number": number})
        collector.faults.set(Fault(status=422))
        client.flush()
    assert 1 == len(sent)
    assert [] == harness.stored(collector)


def test_an_opt_out_stops_a_batch_that_is_being_halved(telemetry: Make, collector: RunningCollector) -> None:
    """Consent is read before every request, not only before every batch."""
    sent: list[bytes] = []

    class OptingOut(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(request.read())
            (harness.spool(client).parents[2] / "config.json").write_text('{"telemetry": false}')
            return super().handle_request(request)

    collector.faults.set(Fault(status=422))
    with OptingOut() as transport:
        client = telemetry(collector.url, transport=transport, flush_at=10**6)
        for number in range(8):
            client.track("test.event", {"number": number})
        client.flush()
    assert 1 == len(sent)
    assert not client.enabled


def test_a_client_gives_its_descriptors_back(telemetry: Make) -> None:
    """A program that makes a client for each of its jobs does not run out of descriptors."""
    counts: list[int] = []
    for number in range(4):
        client = telemetry()
        client.track("test.event", {"number": number})
        client.shutdown()
        worker = client._flusher.worker
        harness.wait_until(lambda worker=worker: not worker._started)  # type: ignore[misc]  # bound early
        counts.append(len(os.listdir("/proc/self/fd")))
    assert 1 == len(set(counts)), counts


def test_a_transport_that_answers_from_memory(telemetry: Make) -> None:
    """`httpx.MockTransport`, as hosts use it in their own tests, is a server like any other."""

    def answer(request: httpx.Request) -> httpx.Response:
        del request
        return httpx.Response(202, json={"accepted": 1, "rejected": 0})

    client = telemetry(transport=httpx.MockTransport(answer))
    client.track("test.event", {"number": 0})
    client.flush()
    assert (0, 1) == (client.stats().pending, client.stats().delivered)


def test_a_transport_that_raises_anything_does_not_end_the_flush_thread(telemetry: Make) -> None:
    """Not even a BaseException: the flush ends at once, and the next one is tried."""
    calls: list[str] = []

    class Hostile(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            calls.append(request.url.path)
            raise asyncio.CancelledError

    client = telemetry(transport=Hostile(), flush_timeout=20)
    client.track("test.event", {"number": 0})
    client.flush()
    client.flush()
    assert 2 == len(calls)
    assert 1 == client.stats().pending


def test_without_a_home_nothing_is_written_anywhere(
    telemetry: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No HOME and no entry for the user: events wait in memory, and the working directory stays empty."""

    def unknown(path: Any) -> Any:
        return path

    monkeypatch.setattr(os.path, "expanduser", unknown)
    monkeypatch.delenv("HOME")
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    client = telemetry()
    client.track("test.event", {"number": 0})
    stats = client.stats()
    assert (1, 1, None) == (stats.pending, stats.volatile, stats.spool_dir)
    assert [] == list(empty.iterdir())


def test_a_pipe_in_place_of_a_file_does_not_hang(telemetry: Make) -> None:
    """Opening a FIFO waits for its other end, which never comes: here it is an unreadable file, at once."""
    client = telemetry()
    client.track("test.event", {"number": 0})
    for name in ("ledger.json", "retry.json"):
        place = harness.spool(client) / name
        place.unlink(missing_ok=True)
        os.mkfifo(place)
    client.track("test.event", {"number": 1})
    client.stats()
    client.flush()
    config = harness.spool(client).parents[2] / "config.json"
    os.mkfifo(config)
    assert not telemetry().enabled


def test_a_queue_without_its_client_id_is_erased_too(telemetry: Make, collector: RunningCollector) -> None:
    """The file with the id was lost, the queue was not: True means that nothing of it is sent any more."""
    client = telemetry(collector.url)
    client.track("test.event", {"number": 0})
    client._seal()
    (harness.spool(client).parents[2] / "client_id").unlink()
    other = telemetry(collector.url)
    assert other.request_deletion()
    assert 1 == collector.store.counts().deletions
    client.flush()
    assert [] == harness.stored(collector)


def test_a_refused_event_is_not_written_down_after_an_erasure(telemetry: Make, collector: RunningCollector) -> None:
    """The batch is on its way, the client is erased, the server refuses the events: no copy of them stays."""
    other = telemetry(collector.url)

    class Erasing(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            del request
            assert other.request_deletion()
            return httpx.Response(207, json={"errors": [{"index": 0, "message": "no\ud800\nforged log line\x1b[31m"}]})

    with Erasing() as transport:
        client = telemetry(collector.url, transport=transport)
        client.track("test.event", {"number": 0})
        client.flush()
    assert not (harness.spool(client) / "rejected.jsonl").exists()


def test_what_a_server_says_is_one_harmless_line(telemetry: Make) -> None:
    """Half a surrogate pair, line breaks and escapes in a message neither block the queue nor reach a log."""

    def answer(request: httpx.Request) -> httpx.Response:
        del request
        body = b'{"errors": [{"index": 0, "message": "no\\ud800\\nforged\\u001b[31m"}]}'
        return httpx.Response(207, content=body, headers={"Content-Type": "application/json"})

    client = telemetry(transport=httpx.MockTransport(answer))
    client.track("test.event", {"number": 0})
    client.flush()
    assert (0, 1) == (client.stats().pending, client.stats().dropped["rejected"])
    (entry,) = [json.loads(text) for text in (harness.spool(client) / "rejected.jsonl").read_text().splitlines()]
    assert "no  forged [31m" == entry["message"]


def test_a_back_off_that_cannot_be_stored_still_holds(
    telemetry: Make, collector: RunningCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older file says that there is none; what this process knows is newer."""
    collector.faults.set(Fault(status=503, retry_after=3600))
    client = telemetry(collector.url)
    client.track("test.event", {"number": 0})
    client._seal()
    (harness.spool(client) / "retry.json").write_text("{}")

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "replace", no_room)
    client.flush()
    client.flush()
    assert 1 == collector.journal.total
