"""The collector's stream of news: what it tells, how much at most, how a reader resumes, and that it ends."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from producttelemetry.collector import Fault, RunningCollector, Store, stream
from producttelemetry.collector.stream import PORTION
from tests import collector_support
from tests.collector_support import ingest, make_event, new_client
from tests.harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from producttelemetry.collector.records import Cursor, News

running = collector_support.running
collector = collector_support.collector
client = collector_support.client


@contextlib.contextmanager
def following(client: httpx.Client, last_id: str | None = None) -> Generator[Iterator[tuple[str, str, Any]]]:
    """Read the stream as a browser does: a sequence of event, id and data."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    with client.stream("GET", "/stream", headers=headers) as answer:
        assert 200 == answer.status_code
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _parse(answer.iter_lines())


def _parse(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        else:
            if "event" in fields:
                yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


def test_it_tells_what_happens(collector: RunningCollector, client: httpx.Client) -> None:
    """First comes how things stand; then events as they arrive, apart from the rejected, and what else changes."""
    ingest(client, make_event(event_name="before"))
    with following(client) as messages:
        event, _, state = next(messages)
        assert ("state", 1, None) == (event, state["counts"]["accepted"], state["fault"])
        assert (202, 1) == (state["last_request"]["status"], state["last_request"]["events"])

        ingest(client, make_event(event_name="one\ndata: two"), "no event")
        event, _, state = next(messages)
        assert ("state", 2, 1) == (event, state["counts"]["accepted"], state["counts"]["rejected"])
        event, _, news = next(messages)
        assert ("news", False) == (event, news["missed"])
        assert ["one\ndata: two"] == [row["name"] for row in news["accepted"]]
        assert ["an event must be an object"] == [row["message"] for row in news["rejected"]]

        collector.faults.set(Fault(status=503))
        assert 503 == next(messages)[2]["fault"]["status"]


def test_a_reader_resumes_where_it_stopped(client: httpx.Client) -> None:
    """With the id of the last message comes what arrived since, and nothing twice; without one nothing old."""
    with following(client) as messages:
        next(messages)
        ingest(client, make_event(event_name="seen"))
        next(messages)
        _, last_id, _ = next(messages)
    ingest(client, make_event(event_name="missed"), "missed")

    with following(client, last_id) as messages:
        assert "state" == next(messages)[0]
        _, _, news = next(messages)
        assert ["missed"] == [row["name"] for row in news["accepted"]]
        assert 1 == len(news["rejected"])
    with following(client) as messages:
        assert "state" == next(messages)[0]
        ingest(client, make_event(event_name="fresh"))
        assert ["fresh"] == [row["name"] for row in _first_news(messages)["accepted"]]


def _first_news(messages: Iterator[tuple[str, str, Any]]) -> Any:
    return next(data for event, _, data in messages if event == "news")


def test_vanished_rows_change_the_epoch(collector: RunningCollector, client: httpx.Client) -> None:
    """After a reset a reader learns that what it holds is gone, and an id from before brings nothing back."""
    ingest(client, make_event())
    with following(client) as messages:
        _, last_id, before = next(messages)
        client.post("/reset")
        _, _, after = next(messages)
    assert before["epoch"] != after["epoch"]

    collector.store.add_events([make_event(event_name="after")])
    for wrong in (last_id, "", "nonsense", f"{after['epoch']}.x.1", f"{after['epoch']}.{2**64}.0"):
        with following(client, wrong) as messages:
            assert "state" == next(messages)[0]
            collector.store.add_events([make_event(event_name="new")])
            assert ["new"] == [row["name"] for row in _first_news(messages)["accepted"]]


def test_a_message_is_bounded(collector: RunningCollector, client: httpx.Client) -> None:
    """Of many events a message has the newest and says that there were more."""
    with following(client) as messages:
        _, last_id, _ = next(messages)
    collector.store.add_events([make_event(event_name=str(number)) for number in range(PORTION + 1)])

    with following(client, last_id) as messages:
        news = _first_news(messages)
    assert [str(number) for number in range(1, PORTION + 1)] == [row["name"] for row in news["accepted"]]
    assert news["missed"]


def test_a_restart_is_another_epoch() -> None:
    """The same numbers mean other events after a restart without a file."""
    with Store() as one, Store() as other:
        assert one.epoch != other.epoch


def test_an_open_stream_does_not_keep_the_server() -> None:
    """The server ends at once, however many pages are left open, and logs no error."""
    with RunningCollector() as collector, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(following(stack.enter_context(new_client(collector)))) for _ in range(3)]
        for messages in streams:
            next(messages)
        started = time.monotonic()
        collector.stop()
        assert time.monotonic() - started < 5
        for messages in streams:
            with pytest.raises(httpx.TransportError):
                next(messages)


def test_a_stream_that_nobody_reads_ends(collector: RunningCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the reader leaves, the server stops looking for news on its behalf."""
    looks: list[Cursor] = []
    look = collector.store.news

    def count(cursor: Cursor, limit: int) -> News:
        looks.append(cursor)
        return look(cursor, limit)

    monkeypatch.setattr(collector.store, "news", count)
    monkeypatch.setattr(stream, "INTERVAL", 0.01)
    with new_client(collector) as client, following(client) as messages:
        next(messages)
        wait_until(lambda: len(looks) > 3)

    def no_more() -> bool:
        before = len(looks)
        time.sleep(0.2)
        return before == len(looks)

    wait_until(no_more, seconds=10)
