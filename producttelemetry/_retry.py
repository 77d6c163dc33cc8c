"""When to send again. Pure: (state, outcome, now, random) → state; clock and randomness are arguments.

The state is stored beside the spool and shared by all processes, so that a thousand runs offline make no more requests
than one. Times are seconds since 1970, because they must mean the same in every process; a clock that jumps cannot stop
the sender, since a `not_before` beyond the longest wait we would ever ask for is ignored.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What an answer, or its absence, means for the events of a request:
#: `accepted`       the server has them, but for those named in `errors`
#: `refused`        400, 422: something in the batch is wrong
#: `too_large`      413
#: `misconfigured`  401, 403, 404 and other 4xx: keep everything and tell somebody
#: `unavailable`    try again later
#: `withdrawn`      it was not sent, for it must not be any more
Kind: TypeAlias = Literal["accepted", "refused", "too_large", "misconfigured", "unavailable", "withdrawn"]

#: Shortest and longest wait after a failure, in seconds.
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 15 * 60.0
#: Wait after an answer that only a person can mend, in seconds.
MISCONFIGURED_WAIT: Final = 60 * 60.0
#: Longest `Retry-After` that is honoured, in seconds.
LONGEST_RETRY_AFTER: Final = 24 * 60 * 60.0


class Outcome(NamedTuple):
    """What became of one request.

    Attributes:
        kind: see `Kind`.
        message: what the server or the network said, for people.
        errors: for `accepted`: index of an event in the batch → why the server refused it.
        retry_after: seconds that the server asked us to wait, or None.
    """

    kind: Kind
    message: str = ""
    errors: Mapping[int, str] = {}
    retry_after: float | None = None


class State(NamedTuple):
    """The back-off of one destination.

    Attributes:
        failures: failed attempts in a row.
        not_before: seconds since 1970 before which nothing is sent; 0 if there is no back-off.
        by_server: the server asked for this wait, so an explicit flush respects it too.
        last_error: the last failure, for people.
    """

    failures: int = 0
    not_before: float = 0.0
    by_server: bool = False
    last_error: str | None = None


def decide(state: State, outcome: Outcome, now: float, random: Callable[[], float]) -> State:
    """Return the state after one more request.

    Args:
        state: before the request.
        outcome: of the request.
        now: seconds since 1970.
        random: a number in [0, 1).
    """
    if outcome.kind not in {"misconfigured", "unavailable"}:
        return State()
    failures = state.failures + 1
    if outcome.retry_after is not None:
        wait = min(max(outcome.retry_after, FIRST_WAIT), LONGEST_RETRY_AFTER)
        return State(failures, now + wait, by_server=True, last_error=outcome.message)
    if outcome.kind == "misconfigured":
        return State(failures, now + MISCONFIGURED_WAIT, last_error=outcome.message)
    # Full jitter: clients that failed together must not come back together.
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures, 20))
    return State(failures, now + max(FIRST_WAIT, longest * random()), last_error=outcome.message)


def waits(state: State, now: float, *, explicit: bool = False) -> bool:
    """Whether nothing may be sent now.

    Args:
        state: the shared back-off.
        now: seconds since 1970.
        explicit: the host called `flush()`, which overrides our own back-off but not the server's.
    """
    if explicit and not state.by_server:
        return False
    longest = LONGEST_RETRY_AFTER if state.by_server else MISCONFIGURED_WAIT
    return now < state.not_before <= now + longest


def to_json(state: State) -> dict[str, Any]:
    """Return what is stored."""
    return state._asdict()


def from_json(value: Any) -> State:
    """Return the state that was stored; no back-off if it cannot be understood."""
    try:
        state = State(int(value["failures"]), float(value["not_before"]), bool(value["by_server"]), value["last_error"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return State()
    sound = isfinite(state.not_before) and state.failures >= 0 and isinstance(state.last_error, str | None)
    return state if sound else State()
