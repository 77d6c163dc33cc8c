"""`_transport`: each row of the table of answers, against the real collector over a real socket.

What no decent server does is in `test_transport_raw`, what depends on the host in `test_transport_host`.
"""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry._retry import Kind, Outcome
from producttelemetry._transport import Transport
from producttelemetry.collector import Fault, RunningCollector
from tests import harness
from tests.wire import CLIENT, ENCODER, LINE, soon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BODY = '{"accepted": 1, "rejected": 0}'
KEPT: Kind = "unavailable"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningCollector]:
    """A collector for all tests of this file; each begins with an empty one."""
    with RunningCollector(write_key="secret") as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: RunningCollector) -> None:
    """Forget what the test before has sent and broken."""
    server.faults.clear()
    server.store.reset()
    server.journal.clear()


@pytest.fixture(scope="module")
def transport(server: RunningCollector) -> Iterator[Transport]:
    """A connection for all tests of this file: it must survive each kind of answer."""
    with Transport(f"{server.url}/api", "secret") as made:
        yield made


@pytest.fixture
def ask(server: RunningCollector, transport: Transport) -> Callable[..., Outcome]:
    """Send one event to a server that fails in some way."""

    def send(fault: Fault, seconds: float = 5.0) -> Outcome:
        server.faults.set(fault)
        return transport.ingest([LINE], soon(seconds))

    return send


# --- what is sent -------------------------------------------------------------------------------------------------


def test_events_arrive_as_they_were_stored(server: RunningCollector, transport: Transport) -> None:
    """A batch is the lines as they are; its key is the hash of the body, so that the same batch is the same request."""
    lines = [ENCODER.event("test.event", {"number": number, "text": "ä\u2028"}, "usage", None) for number in range(3)]
    outcomes = [transport.ingest(batch, soon()) for batch in (lines, lines, lines[:1])]
    assert [("accepted", {}, None)] * 3 == [(each.kind, each.errors, each.retry_after) for each in outcomes]
    assert [json.loads(line) for line in lines] == harness.stored(server)
    assert 4 == server.store.counts().duplicates
    bodies = [b'{"events":[' + b",".join(line[:-1] for line in batch) + b"]}" for batch in (lines, lines, lines[:1])]
    requests = server.journal.to_json()
    assert [hashlib.sha256(body).hexdigest() for body in bodies] == [each["idempotency_key"] for each in requests]
    assert {("POST", "/api/ingest")} == {(each["method"], each["path"]) for each in requests}


def test_identify_and_erasure(server: RunningCollector, transport: Transport) -> None:
    """The other two calls reach their routes with what these want."""
    assert "accepted" == transport.identify(ENCODER.identify("me"), soon()).kind
    assert [(CLIENT, "me")] == server.store.identities()
    assert "accepted" == transport.erase(CLIENT, soon()).kind
    assert [CLIENT] == server.store.deletions()
    assert ["POST /api/identify", "DELETE /api/gdpr/delete-self"] == [
        f"{each['method']} {each['path']}" for each in server.journal.to_json()
    ]


def test_no_request_after_the_deadline(server: RunningCollector, transport: Transport) -> None:
    """Whose time is over does not begin."""
    assert Outcome(KEPT, "no time left") == transport.ingest([LINE], soon(0.0))
    assert 0 == server.journal.total


# --- what is answered ---------------------------------------------------------------------------------------------

JSON_TYPES = ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/problem+json"]
OTHER_TYPES = ["text/html", "text/plain", "application/javascript", "text/json", "application/jsonp", "json"]
BROKEN = ["", "[]", "null", "1", '"ok"', "<html>", BODY[:-1], BODY + "x", "{'accepted': 1}", "[" * 100_000]
ODD_4XX = [402, 405, 406, 407, 409, 410, 411, 412, 414, 415, 416, 417, 418, 421, 423, 424, 426, 428, 431, 451, 499]
TEMPORARY = [408, 425, 429, 500, 501, 502, 503, 504, 505, 507, 511, 520, 599]

ANSWERS: list[tuple[Fault, str]] = [
    *((Fault(status=status, body=BODY, content_type=JSON_TYPES[0]), "accepted") for status in (200, 201, 202, 207)),
    *((Fault(status=200, body=BODY, content_type=kind), "accepted") for kind in JSON_TYPES),
    *((Fault(status=200, body="{}", content_type=JSON_TYPES[0]), "accepted") for _ in "x"),
    *((Fault(status=200, body=BODY, content_type=kind), KEPT) for kind in OTHER_TYPES),
    *((Fault(status=202, body=body, content_type=JSON_TYPES[0]), KEPT) for body in BROKEN),
    *((Fault(status=status, body=BODY, content_type=JSON_TYPES[0]), KEPT) for status in (203, 206, 208, 226, 299)),
    *((Fault(status=status), KEPT) for status in (200, 202, 204)),
    *((Fault(status=status, body=BODY, content_type=JSON_TYPES[0]), KEPT) for status in (300, 301, 302, 307, 308, 399)),
    *((Fault(portal=True, status=status), KEPT) for status in (None, 302, 511)),
    *((Fault(status=status, body=body), "refused") for status in (400, 422) for body in (None, "no", "{")),
    (Fault(status=413), "too_large"),
    *((Fault(status=status), "misconfigured") for status in (401, 403, 404, *ODD_4XX)),
    *((Fault(status=status), KEPT) for status in TEMPORARY),
    *((Fault(drop=drop), KEPT) for drop in ("before", "after")),
]


def _name(value: Fault | str) -> str:
    if isinstance(value, str):
        return value
    return "-".join(str(getattr(value, name))[:20] for name in ("status", "body", "content_type", "drop"))


@pytest.mark.parametrize(("fault", "kind"), ANSWERS, ids=_name)
def test_answers(fault: Fault, kind: str, ask: Callable[..., Outcome]) -> None:
    """Each answer means what the README's table says, and its status is in the message for people."""
    outcome = ask(fault)
    assert kind == outcome.kind
    assert fault.status is None or outcome.message.startswith(f"{fault.status} ")
    assert fault.drop or outcome.retry_after is None


def test_a_key_that_the_server_repeats_is_not_kept(server: RunningCollector) -> None:
    """Servers say which key they do not know, and messages go to logs and files, which have no key in them."""
    key = "pk_live_0123456789"
    with Transport(f"{server.url}/api", key) as transport:
        server.faults.set(
            Fault(status=401, body=json.dumps({"message": f"unknown key {key}"}), content_type="application/json")
        )
        outcome = transport.ingest([LINE], soon())
    assert ("misconfigured", "401 unknown key <write_key>") == (outcome.kind, outcome.message)


def test_a_body_that_only_python_can_read_is_not_accepted(ask: Callable[..., Outcome]) -> None:
    """`NaN` is no JSON, so this is not our server."""
    assert KEPT == ask(Fault(status=200, body='{"accepted": NaN}', content_type="application/json")).kind


def test_events_that_are_named_are_refused(server: RunningCollector, transport: Transport) -> None:
    """The real server's 207 names the bad events of a batch; the others are stored."""
    lines = [
        LINE,
        LINE.replace(b'"usage"', b'"other"'),
        ENCODER.event("fine", None, "usage", None),
        b'{"event_id":1}\n',
    ]
    outcome = transport.ingest(lines, soon())
    assert ("accepted", {1, 3}) == (outcome.kind, set(outcome.errors))
    assert "event_type" in outcome.errors[1]
    assert ["test.event", "fine"] == [event["event_name"] for event in harness.stored(server)]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (None, {}),
        ("no", {}),
        ({"index": 0}, {}),
        ([None, 5, "x", [], {}, {"message": "x"}], {}),
        ([{"index": "0"}, {"index": True}, {"index": 1.0}, {"index": None}, {"index": [0]}], {}),
        ([{"index": 0}, {"index": 7, "message": "a"}, {"index": -1, "message": "b"}], {0: "", 7: "a", -1: "b"}),
        ([{"index": 0, "message": {"a": 1}}], {0: "{'a': 1}"}),
        ([{"index": 0, "message": "x" * 10_000}], {0: "x" * 500}),
        ([{"index": 0, "message": "first"}, {"index": 0, "message": "second"}], {0: "second"}),
    ],
)
def test_errors_of_any_shape(errors: Any, expected: dict[int, str], ask: Callable[..., Outcome]) -> None:
    """A whole number under `index` names an event; whatever else stands in the list is ignored."""
    body = json.dumps({"accepted": 0, "errors": errors})
    outcome = ask(Fault(status=207, body=body, content_type="application/json"))
    assert Outcome("accepted", outcome.message, expected) == outcome


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"error": "a"}', "400 a"),
        ('{"message": "a", "error": "b"}', "400 a"),
        ('{"detail": "a"}', "400 a"),
        ('{"error": {"a": 1}}', "400 Bad Request"),
        ('["a"]', "400 Bad Request"),
        (json.dumps({"error": "x" * 10_000}), "400 " + "x" * 496),
    ],
)
def test_the_message_is_the_servers(body: str, expected: str, ask: Callable[..., Outcome]) -> None:
    """What the server says about it is kept for people, up to a bound."""
    assert expected == ask(Fault(status=400, body=body, content_type="application/json")).message


def test_refusals_that_are_real(server: RunningCollector, transport: Transport) -> None:
    """The real server's own refusals: another key, another path, too many events, a spoilt batch."""
    with Transport(f"{server.url}/api", "other") as other:
        assert Outcome("misconfigured", "401 the X-Write-Key header holds another key") == other.ingest([LINE], soon())
    with Transport(f"{server.url}/other/api", "secret") as other:
        assert "misconfigured" == other.ingest([LINE], soon()).kind
    assert "too_large" == transport.ingest([LINE] * 501, soon()).kind
    assert "refused" == transport.ingest([b"[", b"\n"], soon()).kind
    server.faults.set(Fault(poison="test.event"))
    assert "refused" == transport.ingest([LINE], soon()).kind
    assert [] == harness.stored(server)


def test_an_answer_that_is_lost(server: RunningCollector, transport: Transport) -> None:
    """The work was done and nobody said so: sent again, it is the same request, and the server has it once."""
    server.faults.set(Fault(drop="after", remaining=1))
    assert [KEPT, "accepted"] == [transport.ingest([LINE], soon()).kind for _ in range(2)]
    assert (1, 1) == (server.store.counts().accepted, server.store.counts().duplicates)


@pytest.mark.parametrize("fault", [Fault(latency_seconds=60), Fault(trickle=True)], ids=["silent", "trickle"])
def test_a_slow_answer_ends_with_the_deadline(fault: Fault, ask: Callable[..., Outcome]) -> None:
    """A server that is silent, or says a byte a second, does not keep us beyond the deadline and one read."""
    started = time.monotonic()
    assert KEPT == ask(fault, seconds=0.3).kind
    assert time.monotonic() - started < 2.0


# --- Retry-After --------------------------------------------------------------------------------------------------


def _date(seconds: float, form: str | None = None) -> str:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return moment.strftime(form) if form else format_datetime(moment, usegmt=True)


RETRY_AFTER: list[tuple[int | str | Callable[[], str], float | None]] = [
    *((0, 0.0), (1, 1.0), ("120", 120.0), ("0007", 7.0), (10**15, 1e9), ("9" * 300, 1e9)),
    *((lambda: _date(60), 60.0), (lambda: _date(-60), 0.0), (lambda: _date(10**8), 10**8)),
    (lambda: _date(3600, "%A, %d-%b-%y %H:%M:%S GMT"), 3600.0),
    (lambda: _date(3600, "%a %b %d %H:%M:%S %Y"), 3600.0),
    *(
        ("soon", None),
        ("", None),
        (" ", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("0x10", None),
        ("+5", None),
    ),
    *(("Mon, 99 Foo 2030 99:99:99 GMT", None), ("Mon, 01 Jan 99999 00:00:00 GMT", None), ("5, 6", None)),
]


@pytest.mark.parametrize(("value", "expected"), RETRY_AFTER, ids=range(len(RETRY_AFTER)))
@pytest.mark.parametrize(("status", "zone"), [(429, "UTC"), (503, "America/New_York")])
def test_retry_after(  # noqa: PLR0913, PLR0917  # header, status and zone
    value: int | str | Callable[[], str],
    expected: float | None,
    status: int,
    zone: str,
    ask: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seconds and all three forms of a date count, wherever the machine is; nonsense does not."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        outcome = ask(Fault(status=status, retry_after=value() if callable(value) else value))
    time.tzset()
    assert KEPT == outcome.kind
    if expected is None or outcome.retry_after is None:
        assert expected is outcome.retry_after
    else:
        least, most = (expected - 30, expected + 1) if expected < 1e9 else (1e9, float("inf"))
        assert least <= outcome.retry_after <= most
