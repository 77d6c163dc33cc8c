"""The collector's page in a real browser: what a developer sees while an SDK sends, fails, holds and catches up."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry.collector import Fault, RunningCollector
from tests import page_support
from tests.collector_support import make_event
from tests.harness import stored, wait_until
from tests.page_support import Open, Page, expect, names, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from producttelemetry import Telemetry

running, collector = page_support.running, page_support.collector
browser, open_page = page_support.browser, page_support.open_page

HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"


def test_events_appear_as_they_arrive(
    collector: RunningCollector, open_page: Open, telemetry: Callable[..., Telemetry]
) -> None:
    """What the SDK sends is in the list, the totals, the counts and the chart, on a page that was open before."""
    page = open_page()
    expect(page.locator("#empty")).to_contain_text(f"OPS_API_URL={collector.url}")
    client = telemetry(collector.url)
    client.track("app.started", event_type="lifecycle")
    client.track("command.executed", {"command": "build"})
    client.track("command.executed")
    client.flush()

    expect(names(page)).to_have_text(["command.executed", "command.executed", "app.started"])
    expect(page.locator("#totals [data-total=accepted]")).to_have_text("3")
    expect(page.locator("#names tbody tr")).to_have_text(
        [re.compile("command.executed.*2"), re.compile("app.started.*1")]
    )
    expect(page.locator("#chart")).to_have_attribute(
        "aria-label", re.compile(r": 3 accepted, 0 rejected; most at .*3 ")
    )
    expect(page.locator("#chart rect.accepted")).not_to_have_count(0)
    expect(page.locator("#last-request")).to_contain_text("POST /api/ingest with 3 events, answered 202")
    expect(page.locator("#empty")).to_be_hidden()


def test_rejected_events_stand_apart_with_the_reason(collector: RunningCollector, open_page: Open) -> None:
    """Accepted and rejected events are two lists; a rejected one shows the server's reason and what came."""
    page = open_page()
    collector.store.add_events([make_event(), {"event_name": "no type"}])

    expect(names(page)).to_have_text(["opened"])
    expect(page.locator("#tab-rejected")).to_have_text("Rejected 1")
    page.click("#tab-rejected")
    expect(names(page)).to_have_text(["event_type is missing"])
    expect(page.locator("#events td.excerpt")).to_have_text(['{"event_name":"no type"}'])
    collector.store.add_events([make_event(), 7])
    expect(names(page)).to_have_text(["an event must be an object", "event_type is missing"])
    names(page).last.click()
    expect(page.locator("#detail-facts")).to_contain_text("event_type is missing")
    expect(page.locator("#detail-json")).to_have_text('{\n  "event_name": "no type"\n}')


def test_the_list_can_be_filtered(collector: RunningCollector, open_page: Open) -> None:
    """By name, type and client, alone and together; what arrives while a filter is on is filtered, too."""
    other = str(uuid.uuid4())
    page = open_page()
    collector.store.add_events(
        [make_event(), make_event(event_type="error"), make_event(event_name="closed", client_id=other)]
    )
    expect(rows(page)).to_have_count(3)

    page.fill("#filter-name", "opened")
    page.press("#filter-name", "Enter")
    expect(names(page)).to_have_text(["opened", "opened"])
    page.select_option("#filter-type", "error")
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#list-status")).to_have_text("1 matching event.")
    collector.store.add_events([make_event(), make_event(event_type="error"), make_event(event_name="closed")])
    expect(rows(page)).to_have_count(2)
    expect(page.locator("#events td.type")).to_have_text(["error", "error"])

    page.click("#filter-clear")
    expect(rows(page)).to_have_count(6)
    page.fill("#filter-client", other.upper())
    page.press("#filter-client", "Enter")
    expect(names(page)).to_have_text(["closed"])
    page.click("#filter-clear")
    page.click("#names tbody tr:first-child button")
    expect(names(page)).to_have_text(["opened"] * 4)


def test_what_arrives_stays_text(collector: RunningCollector, open_page: Open) -> None:
    """An event's name, properties and text, a fault's fields: wherever they are shown, none becomes markup or code."""
    page = open_page()
    event = make_event(event_name=HOSTILE, properties={HOSTILE: HOSTILE})
    collector.store.add_events([event, {"event_name": HOSTILE}, HOSTILE])
    collector.faults.set(Fault(body=HOSTILE))

    expect(names(page)).to_have_text([HOSTILE])
    expect(page.locator("#names tbody button")).to_have_text([HOSTILE])
    expect(page.locator("#fault-status")).to_contain_text("<script>window.hacked")
    page.click("#names tbody button")
    expect(page.locator("#filter-name")).to_have_value(HOSTILE)
    names(page).first.click()
    expect(page.locator("#detail-title")).to_have_text(HOSTILE)
    expect(page.locator("#detail-json")).to_contain_text("<script>window.hacked")
    page.keyboard.press("Escape")
    page.click("#tab-rejected")
    expect(page.locator("#events td.excerpt")).to_contain_text(["<script>", "<script>"])

    assert "undefined" == page.evaluate("typeof window.hacked")
    assert 0 == page.locator("body script, body img").count()


@pytest.mark.parametrize("switch", ["offline", "unavailable", "portal"])
def test_the_sdk_holds_and_catches_up(
    collector: RunningCollector, open_page: Open, telemetry: Callable[..., Telemetry], switch: str
) -> None:
    """With a fault switched on the SDK keeps its events; switched off again, they arrive, and the page shows both."""
    page = open_page()
    client = telemetry(collector.url)
    page.click(f"#fault-{switch}")
    expect(page.locator("#connection")).to_have_text(re.compile("^Failing on purpose"))
    client.track("held")
    client.flush()

    assert (1, 0) == (client.stats().pending, client.stats().delivered)
    expect(page.locator("#last-request")).to_contain_text("POST /api/ingest")
    assert [] == stored(collector)

    page.click(f"#fault-{switch}")
    expect(page.locator("#connection")).to_have_text("Live")
    client.flush()
    expect(names(page)).to_have_text(["held"])
    assert (0, 1) == (client.stats().pending, client.stats().delivered)


SWITCHES: list[tuple[str, str, Fault]] = [
    ("offline", "", Fault(drop="before")),
    ("unavailable", "", Fault(status=503)),
    ("busy", "7", Fault(status=429, retry_after=7)),
    ("large", "3", Fault(max_events=3)),
    ("poison", "bad apple", Fault(poison="bad apple")),
    ("portal", "", Fault(portal=True)),
]


def test_each_switch_is_its_fault(collector: RunningCollector, open_page: Open) -> None:
    """A switch puts its fault in force in place of another, latency goes with each, and reset turns all off."""
    page = open_page()
    for name, value, fault in SWITCHES:
        if value:
            page.fill(f"#value-{name}", value)
        page.click(f"#fault-{name}")
        wait_until(lambda fault=fault: fault == collector.faults.current)  # type: ignore[misc]
        expect(page.locator("[role=switch][aria-checked=true]")).to_have_attribute("id", f"fault-{name}")
    page.fill("#value-latency", "0.5")
    page.click("#fault-latency")
    expect(page.locator("#fault-status")).to_have_text("In force: Portal, latency 0.5 s.")
    assert Fault(portal=True, latency_seconds=0.5) == collector.faults.current
    collector.faults.set(Fault(trickle=True, remaining=2))
    expect(page.locator("#fault-status")).to_contain_text('over REST: {"trickle":true}, for 2 more requests')
    page.click("#fault-clear")
    expect(page.locator("#fault-status")).to_have_text("None in force.")
    assert collector.faults.current is None


def test_reset_asks_first(collector: RunningCollector, open_page: Open) -> None:
    """Nothing is forgotten until the question is answered; then the page is empty, and shows what comes after."""
    page = open_page()
    collector.store.add_events([make_event(), make_event(), "no event"])
    expect(rows(page)).to_have_count(2)
    page.click("#reset")
    expect(page.locator("#confirm-text")).to_contain_text("2 stored events, 1 rejected one")
    expect(page.locator("#confirm-cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#reset")).to_be_focused()
    assert 2 == len(collector.store.events())

    page.click("#reset")
    page.click("#confirm-reset")
    expect(rows(page)).to_have_count(0)
    expect(page.locator("#totals [data-total=rejected]")).to_have_text("0")
    assert [] == collector.store.events()
    collector.store.add_events([make_event(event_name="after")])
    expect(names(page)).to_have_text(["after"])


def test_everything_is_in_reach_of_the_keyboard(collector: RunningCollector, open_page: Open) -> None:
    """With keys alone: skip to the list, walk through it, open an event, close it and be back, switch a fault."""
    page = open_page()
    collector.store.add_events([make_event(event_name=name) for name in ("one", "two", "three")])
    expect(rows(page)).to_have_count(3)
    focused = page.locator(":focus")

    page.keyboard.press("Tab")
    expect(focused).to_have_text("Skip to the events")
    page.keyboard.press("Enter")
    _tab_to(page, "#events tbody button")
    expect(focused).to_have_text("three")
    page.keyboard.press("ArrowDown")
    expect(focused).to_have_text("two")
    collector.store.add_events([make_event(event_name="four")])
    expect(rows(page)).to_have_count(4)
    expect(focused).to_have_text("two")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    expect(focused).to_have_id("detail-title")
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(focused).to_have_text("two")

    _tab_to(page, "#fault-unavailable")
    page.keyboard.press("Space")
    expect(focused).to_have_attribute("aria-checked", "true")
    page.focus("#tab-events")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Rejected")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Rejected")).to_be_visible()


def _tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus; fail if that takes longer than the page is."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.locator(":focus").evaluate("(element, selector) => element.matches(selector)", selector):
            return
    pytest.fail(f"Tab does not lead to {selector}")


def test_a_screen_reader_finds_its_way(collector: RunningCollector, open_page: Open) -> None:
    """Landmarks, headings, table and controls have the roles and names that assistive technology goes by."""
    collector.store.add_events([make_event()])
    page = open_page()
    expected: list[tuple[Any, str]] = [
        ("banner", ""), ("main", ""), ("complementary", "Tools"), ("search", "Filter the accepted events"),
        ("heading", "Make it fail"), ("columnheader", "Client"), ("img", "Arrivals since"), ("switch", "429"),
        ("spinbutton", "Retry-After in seconds"), ("combobox", "Name"), ("button", "opened"),
    ]  # fmt: skip
    for role, name in expected:
        expect(page.get_by_role(role, name=name).first).to_be_visible()
    expect(page.get_by_role("switch", name="429")).to_have_accessible_description(re.compile("Retry-After"))
    names(page).first.click()
    expect(page.get_by_role("dialog", name="opened")).to_be_visible()


def test_a_pause_holds_the_list(collector: RunningCollector, open_page: Open) -> None:
    """While paused nothing moves, what waits is counted, and going on shows it."""
    page = open_page()
    collector.store.add_events([make_event(event_name="before")])
    expect(names(page)).to_have_text(["before"])
    page.click("#pause")
    collector.store.add_events([make_event(event_name="meanwhile"), make_event()])
    expect(page.locator("#pause")).to_have_text("Resume (2 new events)")
    expect(names(page)).to_have_text(["before"])
    page.click("#pause")
    expect(names(page)).to_have_text(["opened", "meanwhile", "before"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_is_wide_enough(collector: RunningCollector, open_page: Open, scheme: Any) -> None:
    """At 360 pixels nothing lies beyond the edge, whatever the names, and text and ground follow the colour scheme."""
    collector.store.add_events([make_event(event_name="n" * 500), {"event_name": "x" * 500}])
    page = open_page((360, 740))
    page.emulate_media(color_scheme=scheme)
    for summary in page.locator("aside summary").all():
        summary.click()
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#names tbody tr")).to_have_count(1)

    assert 360 == page.evaluate("document.documentElement.scrollWidth")
    names(page).first.click()
    assert 360 >= page.locator("#detail").evaluate("dialog => dialog.scrollWidth")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor").startswith("rgb(24")
    assert light is (scheme == "light")
