"""`_retry`: when to send again. Clock and randomness are arguments, so every case is exact."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producttelemetry._retry import Kind, Outcome, State, decide, from_json, to_json, waits
from tests import harness

NOW = 1_700_000_000.0
HOUR = 3600.0
DAY = 24 * HOUR

kinds = st.sampled_from(["accepted", "refused", "too_large", "misconfigured", "unavailable"])
moments = st.floats(0, 1e11)
states = st.builds(State, st.integers(0, 10**6), moments, st.booleans(), st.none() | st.text())


def wait(failures: int, luck: float, *, kind: Kind = "unavailable", retry_after: float | None = None) -> float:
    """Return the seconds to wait after one more failure."""
    return decide(State(failures), Outcome(kind, retry_after=retry_after), NOW, lambda: luck).not_before - NOW


@pytest.mark.parametrize(
    ("failures", "longest"), [(0, 2), (1, 4), (2, 8), (8, 512), (9, 900), (10, 900), (10**6, 900), (10**30, 900)]
)
def test_the_back_off_is_exponential_with_full_jitter(failures: int, longest: float) -> None:
    """The bound doubles from failure to failure up to 15 min, and the wait is anything from 1 s to the bound."""
    assert [1.0, longest / 2, longest * 0.75] == [wait(failures, luck) for luck in (0.0, 0.5, 0.75)]
    assert wait(failures, 1.0 - 2**-53) <= longest


def test_failures_that_came_together_do_not_come_back_together() -> None:
    """The wait follows the random number, over the whole range."""
    waited = [wait(9, number / 100) for number in range(100)]
    assert 100 == len(set(waited))
    assert (1.0, 891.0) == (min(waited), max(waited))


@pytest.mark.parametrize("kind", ["misconfigured", "unavailable"])
@pytest.mark.parametrize(
    ("seconds", "expected"), [(1.0, 1.0), (120.0, 120.0), (DAY, DAY), (DAY + 1, DAY), (1e300, DAY)]
)
def test_retry_after_is_honoured(kind: Kind, seconds: float, expected: float) -> None:
    """The server's wish counts instead of our own back-off, up to a day, and the state says whose it is."""
    state = decide(State(5), Outcome(kind, "busy", retry_after=seconds), NOW, lambda: 0.5)
    assert State(6, NOW + expected, by_server=True, last_error="busy") == state


@pytest.mark.parametrize("seconds", [0.0, -5.0, 0.5, float("-inf")])
def test_a_retry_after_in_the_past_is_no_invitation_to_hammer(seconds: float) -> None:
    """A server that fails and says `Retry-After: 0`, or a date gone by, still gets our own back-off of at least 1 s."""
    state = decide(State(5), Outcome("unavailable", retry_after=seconds), NOW, lambda: 0.5)
    assert state.not_before >= NOW + 1.0
    assert waits(state, NOW)


def test_a_misconfiguration_waits_an_hour() -> None:
    """What only a person can mend is tried once an hour, whatever was before."""
    assert {HOUR} == {wait(failures, luck, kind="misconfigured") for failures in (0, 7) for luck in (0.0, 0.9)}


@pytest.mark.parametrize("kind", ["accepted", "refused", "too_large"])
def test_an_answer_about_the_events_ends_the_back_off(kind: Kind) -> None:
    """A server that talks about events is there: nothing is left of earlier failures."""
    before = State(7, NOW + 100, by_server=True, last_error="no")
    assert State() == decide(before, Outcome(kind, "yes"), NOW, lambda: 0.5)


@pytest.mark.parametrize(
    ("state", "explicit", "expected"),
    [
        (State(), False, False),
        (State(1, NOW), False, False),
        (State(1, NOW - 1), False, False),
        (State(1, NOW + 1), False, True),
        (State(1, NOW + 1), True, False),
        (State(1, NOW + HOUR), False, True),
        (State(1, NOW + HOUR), True, False),
        (State(1, NOW + HOUR + 1), False, False),
        (State(1, NOW + 1, by_server=True), False, True),
        (State(1, NOW + 1, by_server=True), True, True),
        (State(1, NOW + DAY, by_server=True), True, True),
        (State(1, NOW + DAY + 1, by_server=True), True, False),
        (State(1, float("nan")), False, False),
        (State(1, float("inf"), by_server=True), False, False),
    ],
)
def test_waiting(state: State, explicit: bool, expected: bool) -> None:
    """An explicit flush overrides our back-off and not the server's; a clock that has jumped stops nobody."""
    assert expected is waits(state, NOW, explicit=explicit)


@settings(deadline=None)
@given(states, kinds, st.none() | st.floats(1, 1e12), moments, st.floats(0, 1, exclude_max=True))
def test_every_failure_waits_and_every_wait_ends(
    state: State, kind: Kind, retry_after: float | None, now: float, luck: float
) -> None:
    """From any state, a failure makes everybody wait from 1 s to a day, and the wait it sets is one that counts."""
    after = decide(state, Outcome(kind, "text", retry_after=retry_after), now, lambda: luck)
    if kind in {"misconfigured", "unavailable"}:
        assert state.failures + 1 == after.failures
        assert waits(after, now)
        assert not waits(after, now + DAY)
        assert after.by_server is (retry_after is not None)
    else:
        assert not waits(after, now)


@settings(deadline=None)
@given(states)
def test_a_state_survives_its_file(state: State) -> None:
    """What is stored is what is read."""
    assert state == from_json(json.loads(json.dumps(to_json(state))))


WRONG: dict[str, list[Any]] = {
    "failures": ["many", None, [], float("inf"), float("nan"), -1],
    "not_before": ["soon", None, [], 10**400, float("nan"), float("inf")],
    "last_error": [5, [], {}],
}
GOOD = {"failures": 1, "not_before": 2.0, "by_server": False, "last_error": None}


@pytest.mark.parametrize(
    "stored",
    [
        *(None, 5, "text", [], {}, [1, 2.0, False, None]),
        *({name: value for name, value in GOOD.items() if name != missing} for missing in GOOD),
        *({**GOOD, name: wrong} for name, values in WRONG.items() for wrong in values),
    ],
    ids=harness.case_id,
)
def test_a_damaged_state_is_no_back_off(stored: object) -> None:
    """A file that says nothing one can understand does not stop the sender."""
    assert State() == from_json(stored)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(GOOD)), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(json_values | st.fixed_dictionaries(dict.fromkeys(GOOD, json_values)))
def test_any_stored_value_can_be_used(stored: Any) -> None:
    """Whatever the file holds, the next decision is possible and its wait ends."""
    state = from_json(stored)
    waits(state, NOW)
    after = decide(state, Outcome("unavailable"), NOW, lambda: 0.5)
    assert NOW + 1 <= after.not_before <= NOW + DAY
