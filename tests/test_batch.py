"""`_batch`: what is sent next after a refusal, played against servers that dislike some of the events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producttelemetry._batch import Fate, Part, Trial
from producttelemetry._retry import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

DELIVERED = Fate(delivered=True)
REFUSED = Fate(delivered=False, message="refused")


def play(size: int, server: Callable[[Part], Outcome]) -> tuple[Trial, list[Fate], list[Part]]:
    """Send one batch; return the trial, the fates in the order they were settled, and the requests."""
    trial, fates, requests = Trial(size), list[Fate](), list[Part]()
    accepted: set[int] = set()
    while (part := trial.next()) is not None:
        requests.append(part)
        assert len(requests) <= 2 * size, "the trial does not end"
        assert not accepted & set(range(*part)), "what the server has taken is sent again"
        outcome = server(part)
        accepted |= set(range(*part)) if outcome.kind == "accepted" else set()
        assert trial.learn(part, outcome)
        fates += trial.settle()
    return trial, fates, requests


def poisoned(poison: Collection[int], most: int = 1000, kind: Kind = "refused") -> Callable[[Part], Outcome]:
    """Return a server that refuses every batch with one of some events in it, or more events than it takes."""

    def server(part: Part) -> Outcome:
        if part.stop - part.start > most:
            return Outcome("too_large", "too many")
        return Outcome(kind, "refused") if set(range(*part)) & set(poison) else Outcome("accepted", "yes")

    return server


def test_a_batch_that_is_accepted_takes_one_request() -> None:
    """No refusal, no halving."""
    trial, fates, requests = play(500, poisoned(()))
    assert [DELIVERED] * 500 == fates
    assert [Part(0, 500)] == requests
    assert not trial.wrong_endpoint


@pytest.mark.parametrize("kind", ["refused", "too_large"])
@pytest.mark.parametrize("position", [0, 1, 249, 250, 498, 499])
def test_one_bad_event_is_found_in_few_requests(position: int, kind: Kind) -> None:
    """One bad event among 500 stands alone after O(log n) requests; the other 499 are delivered."""
    _, fates, requests = play(500, poisoned({position}, kind=kind))
    assert [REFUSED if number == position else DELIVERED for number in range(500)] == fates
    assert len(requests) <= 2 * 9 + 1


@pytest.mark.parametrize("size", [1, 2])
def test_a_small_batch_that_is_refused_is_poison(size: int) -> None:
    """One or two events that are refused do not put the endpoint in question."""
    trial, fates, _ = play(size, poisoned(range(size)))
    assert [REFUSED] * size == fates
    assert not trial.wrong_endpoint


@pytest.mark.parametrize("size", [3, 4, 5, 7, 8, 500])
@pytest.mark.parametrize("kind", ["refused", "too_large"])
def test_a_server_that_refuses_everything_is_a_wrong_endpoint(size: int, kind: Kind) -> None:
    """After three single events and the batch's last one it is over: nothing is given up, at little cost."""
    trial, fates, requests = play(size, poisoned(range(size), kind=kind))
    assert trial.wrong_endpoint
    assert not fates
    assert "refused" == trial.message
    alone = [part for part in requests if part.stop - part.start == 1]
    assert [Part(0, 1), Part(1, 2), Part(2, 3)] == alone[:3]
    assert Part(size - 1, size) == alone[-1]
    assert len(alone) <= 4
    assert len(requests) <= 9 + 4 + 2


def test_a_queue_of_poison_before_a_good_event_is_no_wrong_endpoint() -> None:
    """When the last event is accepted after three refusals, the rest is tried, and only what is refused is given up."""
    trial, fates, requests = play(8, poisoned(range(6)))
    assert [REFUSED] * 6 + [DELIVERED] * 2 == fates
    assert not trial.wrong_endpoint
    assert 1 == requests.count(Part(7, 8)), "the last event must not be sent twice"


def test_refusals_are_not_certain_before_something_is_accepted() -> None:
    """Nothing is settled while the endpoint may be the wrong one; then everything that leads the batch is."""
    trial = Trial(4)
    told: list[list[Fate]] = []
    while (part := trial.next()) is not None:
        trial.learn(part, poisoned({0, 1})(part))
        told.append(trial.settle())
    assert [[], [], [], [], [REFUSED, REFUSED, DELIVERED, DELIVERED]] == told


@pytest.mark.parametrize("kind", ["misconfigured", "unavailable"])
def test_an_answer_about_the_server_ends_the_trial(kind: Kind) -> None:
    """What says nothing about the events decides nothing about them; what was settled before stays so."""
    trial = Trial(4)
    answers = [Outcome("refused"), Outcome("accepted"), Outcome(kind)]
    told: list[tuple[Part, bool, list[Fate]]] = []
    while answers and (part := trial.next()) is not None:
        told.append((part, trial.learn(part, answers.pop(0)), trial.settle()))
    expected = [(Part(0, 4), True, []), (Part(0, 2), True, [DELIVERED, DELIVERED]), (Part(2, 4), False, [])]
    assert expected == told


def test_events_named_in_the_answer_are_refused() -> None:
    """In an accepted part, `errors` counts from the part's first event; an index from nowhere is ignored."""
    answers = [Outcome("refused"), *[Outcome("accepted", errors={1: "bad", 2: "beyond", -1: "before"})] * 2]
    _, fates, _ = play(4, lambda _: answers.pop(0))
    assert [DELIVERED, Fate(delivered=False, message="bad")] * 2 == fates


@settings(deadline=None)
@given(st.integers(1, 60), st.sets(st.integers(0, 59)), st.integers(1, 70), st.sampled_from(["refused", "too_large"]))
def test_any_server_that_dislikes_some_events(size: int, poison: set[int], most: int, kind: Kind) -> None:
    """Every event meets its own fate, in order and once; unless the first three and the last were refused."""
    poison &= set(range(size))
    trial, fates, requests = play(size, poisoned(poison, most, kind))
    assert trial.wrong_endpoint is (size > 2 and {0, 1, 2, size - 1} <= poison)
    expected = [] if trial.wrong_endpoint else [number in poison for number in range(size)]
    assert expected == [not fate.delivered for fate in fates]
    assert len(requests) == len(set(requests)), "the same events were sent twice"
