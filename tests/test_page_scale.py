"""The collector's page beside a busy server, one with 100,000 events, and one that goes away."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from typing import TYPE_CHECKING, Final, NoReturn

import httpx

from producttelemetry.collector import RunningCollector
from tests import page_support
from tests.collector_support import CLIENT, make_event
from tests.page_support import Open, Page, expect, names, rows

if TYPE_CHECKING:
    import pytest

running, collector = page_support.running, page_support.collector
browser, open_page = page_support.browser, page_support.open_page

MANY: Final = 100_000
PAGE: Final = 100

#: Seconds in which what takes a fraction of one must be done.
SOON: Final = 5.0


def fill(collector: RunningCollector, count: int) -> None:
    """Store that many events of twenty names in one transaction, and one of a rare name first."""
    shape = make_event(event_name="name 0", properties={"text": "x" * 100})
    common = [
        {**shape, "event_id": str(uuid.UUID(int=number)), "event_name": f"name {number % 20}"}
        for number in range(count)
    ]
    events = [make_event(event_name="rare", event_type="error"), *common[1:]]
    collector.store.add_events(events, [json.dumps(event) for event in events])


def test_a_hundred_thousand_events(collector: RunningCollector, open_page: Open) -> None:
    """The page shows the newest at once, finds the one rare event at once, and goes through the rest page by page."""
    fill(collector, MANY)
    started = time.monotonic()
    page = open_page()
    expect(rows(page)).to_have_count(PAGE)
    assert time.monotonic() - started < SOON
    expect(page.locator("#names tbody tr")).to_have_count(21)
    expect(page.locator("#totals [data-total=accepted]")).to_have_text("100,000")

    for field, value in (("name", "rare"), ("name", "no such"), ("client", "nobody")):
        started = time.monotonic()
        page.fill(f"#filter-{field}", value)
        page.press(f"#filter-{field}", "Enter")
        expect(rows(page)).to_have_count(1 if value == "rare" else 0)
        assert time.monotonic() - started < SOON
    page.click("#filter-clear")
    expect(names(page).first).to_have_text("name 19")
    page.click("#older")
    expect(rows(page).first).to_have_attribute("data-rowid", _older(page, 1))
    page.click("#older")
    expect(rows(page).first).to_have_attribute("data-rowid", _older(page, 2))
    collector.store.add_events([make_event(event_name="new")])
    page.click("#newest")
    expect(names(page).first).to_have_text("new")


def _older(page: Page, pages: int) -> str:
    newest = page.evaluate("fetch('/events?brief=1&order=newest&limit=1').then((answer) => answer.json())")
    return str(newest["events"][0]["rowid"] - PAGE * pages)


def test_the_page_does_not_grow(collector: RunningCollector, open_page: Open) -> None:
    """However much arrives, slowly or all at once, the page keeps as many rows as it shows."""
    page = open_page()
    for portion in (1, PAGE - 1, PAGE + 50, 5 * PAGE, 3):
        collector.store.add_events(
            [make_event() for _ in range(portion - 1)] + [make_event(event_name=f"last of {portion}")]
        )
        expect(names(page).first).to_have_text(f"last of {portion}")

    expect(rows(page)).to_have_count(PAGE)
    numbers = [int(row.get_attribute("data-rowid") or 0) for row in rows(page).all()]
    assert list(range(numbers[0], numbers[0] - PAGE, -1)) == numbers


def test_a_flood_hides_nothing_from_a_filter(collector: RunningCollector, open_page: Open) -> None:
    """An event that the filter is for is shown, also when so many others came after it that the stream left it out."""
    page = open_page()
    page.fill("#filter-name", "sought")
    page.press("#filter-name", "Enter")
    expect(page.locator("#list-status")).to_contain_text("No stored event matches")
    collector.store.add_events([make_event(event_name="sought"), *[make_event() for _ in range(3 * PAGE)]])

    expect(names(page)).to_have_text(["sought"])


def test_erased_events_leave_the_page(collector: RunningCollector, open_page: Open) -> None:
    """What a client had erased is not shown any longer."""
    page = open_page()
    collector.store.add_events([make_event(), make_event(event_name="theirs", client_id=str(uuid.uuid4()))])
    expect(rows(page)).to_have_count(2)
    collector.store.erase(CLIENT)

    expect(names(page)).to_have_text(["theirs"])


def test_the_page_comes_back_with_its_server(open_page: Open) -> None:
    """An open page does not keep the server from ending, says that it is away, and shows what the next one has."""
    with RunningCollector() as first:
        page = open_page(url=first.url)
        first.store.add_events([make_event(event_name="of the first"), make_event()])
        expect(rows(page)).to_have_count(2)
        started = time.monotonic()
        first.stop()
        assert time.monotonic() - started < SOON
    expect(page.locator("#connection")).to_have_text("Not connected, trying again…")

    # Its events have the numbers that the first one's had.
    with RunningCollector(port=httpx.URL(first.url).port or 0) as second:
        second.store.add_events([make_event(event_name="of the second")])
        expect(page.locator("#connection")).to_have_text("Live")
        expect(names(page)).to_have_text(["of the second"])
        second.store.add_events([make_event(event_name="live again")])
        expect(names(page)).to_have_text(["live again", "of the second"])


def test_the_page_catches_up_after_a_cut(
    collector: RunningCollector, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When only the connection breaks, what arrived meanwhile is there afterwards, once and in order."""
    page = open_page()
    collector.store.add_events([make_event(event_name="before")])
    expect(names(page)).to_have_text(["before"])

    def fail(*_: object) -> NoReturn:
        monkeypatch.undo()
        collector.store.add_events([make_event(event_name="meanwhile"), "no event"])
        raise sqlite3.OperationalError("the stream ends here")

    monkeypatch.setattr(collector.store, "news", fail)
    expect(page.locator("#tab-rejected")).to_have_text("Rejected 1")
    expect(names(page)).to_have_text(["meanwhile", "before"])
