"""The collector's store: each event once, kept as long as its file, and nobody else's file touched."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from typing import TYPE_CHECKING

import pytest

from producttelemetry.collector import Counts, Query, Receipt, Refusal, RunningCollector, Store, StoreError
from tests import collector_support
from tests.collector_support import EPOCH, ingest, make_event, new_client, run_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

running = collector_support.running
collector = collector_support.collector


def test_many_senders_at_once(collector: RunningCollector) -> None:
    """Eight senders, each sending every batch that the others send: every event is stored exactly once."""
    batches = [[make_event() for _ in range(60)] for _ in range(8)]

    def sender(number: int) -> Callable[[], None]:
        def send() -> None:
            with new_client(collector) as client:
                for batch in [*batches[number:], *batches[:number]]:
                    assert 60 == ingest(client, *batch).json()["accepted"]

        return send

    run_all([sender(number) for number in range(8)])

    expected = {event["event_id"] for batch in batches for event in batch}
    assert sorted(expected) == sorted(stored.value["event_id"] for stored in collector.store.events())
    assert Counts(accepted=480, duplicates=7 * 480) == collector.store.counts()
    assert 64 == collector.journal.total


def test_received_at_is_the_time_of_arrival() -> None:
    """The server's clock, not the event's timestamp, dates what came, the rejected included."""
    with Store(clock=lambda: EPOCH) as store:
        assert Receipt(1, (Refusal(1, "an event must be an object"),)) == store.add_events([make_event(), None])

        assert [EPOCH] == [stored.received_at for stored in store.events()]
        assert [(EPOCH, "null")] == [(refused.received_at, refused.text) for refused in store.rejected()]


def test_a_store_on_disk_survives_a_restart(tmp_path: Path) -> None:
    """Events, counters and order go on where the last run stopped, and its events are still known as duplicates."""
    path = str(tmp_path / "events.db")
    first, second = make_event(), make_event()
    with RunningCollector(store=path) as collector, new_client(collector) as client:
        ingest(client, first)

    with RunningCollector(store=path) as collector, new_client(collector) as client:
        ingest(client, first, second)

        assert [first, second] == [stored.value for stored in collector.store.events()]
        assert [second] == [stored.value for stored in collector.store.events(Query(after=1))]
        assert Counts(accepted=2, duplicates=1) == collector.store.counts()


def test_a_store_without_a_file_starts_empty() -> None:
    """Without a file nothing is left for the next run."""
    for _ in range(2):
        with RunningCollector() as collector, new_client(collector) as client:
            ingest(client, make_event())
            assert Counts(accepted=1) == collector.store.counts()


def test_a_failed_batch_leaves_no_trace(tmp_path: Path) -> None:
    """When the disk fails in the middle of a batch, its first events are not there either, and the next batch is."""
    path = str(tmp_path / "events.db")
    with Store(path) as store:
        with contextlib.closing(sqlite3.connect(path)) as other, other:
            other.execute(
                "CREATE TRIGGER fail BEFORE INSERT ON events WHEN NEW.name = 'last' BEGIN SELECT RAISE(FAIL, 'no'); END"
            )
        with pytest.raises(sqlite3.Error, match="no"):
            store.add_events([*[make_event() for _ in range(60)], make_event(event_name="last")])
        assert ([], Counts()) == (store.events(), store.counts())

        store.add_events([make_event()])
        assert 1 == len(store.events())


def test_the_store_lists_what_a_query_asks_for() -> None:
    """From Python the same filters apply, and without a limit everything is listed."""
    with Store() as store:
        events = [make_event(event_type=kind) for kind in ("usage", "error")] * 100
        for number, event in enumerate(events):
            store.add_events([{**event, "event_id": str(uuid.UUID(int=number))}])

        assert 200 == len(store.events())
        assert 100 == len(store.events(Query(event_type="error")))
        assert [200] == [stored.rowid for stored in store.events(Query(event_type="error", after=198))]


@pytest.mark.parametrize("content", ["text", "other program", "other mark", "other layout"])
def test_a_foreign_file_is_left_alone(tmp_path: Path, content: str) -> None:
    """A file that is not a collector's is refused in one line, and not one byte of it changes."""
    path = tmp_path / "data.db"
    if content == "text":
        path.write_text("a diary, " * 1000)
    elif content == "other layout":
        Store(str(path)).close()
        run_sql(path, "PRAGMA user_version = 2")
    else:
        run_sql(path, "CREATE TABLE t (a)" if content == "other program" else "PRAGMA application_id = 77")
    before = path.read_bytes()

    with pytest.raises(StoreError) as raised:
        Store(str(path))

    assert str(raised.value).startswith(f"cannot open the store {path}: ")
    assert "\n" not in str(raised.value)
    assert before == path.read_bytes()


def run_sql(path: Path, statement: str) -> None:
    """Do something to a database file behind the store's back."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


def test_a_store_needs_its_directory(tmp_path: Path) -> None:
    """A missing directory is named, and not made."""
    missing = tmp_path / "no" / "such"

    with pytest.raises(StoreError, match=f"there is no directory {missing}$"):
        Store(str(missing / "events.db"))

    assert not missing.exists()
