"""Rounds in which the sides take turns, and what is said of them: percentiles, spread, and the ratio in each round.

A machine is never equally fast twice, so no side is measured at one time and another later. In each round every side
runs one small batch, A, B, C and then B, C, A; a ratio is formed within a round, where both sides met the same
machine, and its median and quartiles over all rounds are reported.
"""

from __future__ import annotations

import statistics
from array import array
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final, TypeAlias

from ._tables import Row, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Times of calls in microseconds.
Times: TypeAlias = list[float]
#: One batch of a side: makes so many calls, returns the time of each.
Batch: TypeAlias = "Callable[[int], Times]"
#: A side's batches, one for each round.
Rounds: TypeAlias = list[Times]
#: Calls in a batch that has a 99th percentile.
_ENOUGH: Final = 200


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        rounds: how often each side has its turn.
        batch: calls in a turn.
        warm_up: calls before the first round, not counted.
    """

    rounds: int
    batch: int
    warm_up: int


@dataclass(frozen=True)
class Settings:
    """What every question is told.

    Attributes:
        quick: a rough answer within seconds, to see that all works.
        workspace: an empty directory on the file system that is to be measured.
    """

    quick: bool
    workspace: str

    def choose(self, full: int, quick: int) -> int:
        """Return one number for a complete run, another for a quick one."""
        return quick if self.quick else full


def timed(operation: Callable[[], object], calls: int) -> array[int]:
    """Call something so many times; return the time of each call in nanoseconds."""
    times = array("q", bytes(8 * calls))
    for number in range(calls):
        started = perf_counter_ns()
        operation()
        times[number] = perf_counter_ns() - started
    return times


def interleave(sides: Mapping[str, Batch], plan: Plan) -> dict[str, Rounds]:
    """Let the sides take turns; return the times of each by round."""
    if plan.warm_up:
        for batch in sides.values():
            batch(plan.warm_up)
    rounds: dict[str, Rounds] = {name: [] for name in sides}
    for number in range(plan.rounds):
        for name in in_turn(list(sides), number):
            rounds[name].append(sides[name](plan.batch))
    return rounds


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round: each side is the first in one, for what runs before may leave its traces."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def summary(rounds: Mapping[str, Rounds], reference: str) -> dict[str, Row]:
    """Return the figures of each side; ratios are to the reference, see the module.

    Columns: `p50`, `p99` and `max` of all calls; `quartiles` of the medians of the rounds; `ratio` of the medians and
    `ratio p99` of the 99th percentiles, both the median over the rounds; `ratio quartiles`. There is no `ratio p99` of
    batches so small that it would be that of their longest calls.
    """
    base = rounds[reference]
    return {name: _figures(ours, base) for name, ours in rounds.items()}


def _figures(ours: Rounds, base: Rounds) -> Row:
    calls = [time for times in ours for time in times]
    ratios = [statistics.median(one) / statistics.median(other) for one, other in zip(ours, base, strict=True)]
    row: Row = {
        "p50": at(calls, 0.5),
        "p99": at(calls, 0.99),
        "max": max(calls),
        "quartiles": between([statistics.median(times) for times in ours]),
        "ratio": statistics.median(ratios),
        "ratio quartiles": between(ratios),
    }
    if min(map(len, ours)) >= _ENOUGH:
        tails = [at(one, 0.99) / at(other, 0.99) for one, other in zip(ours, base, strict=True)]
        row["ratio p99"] = statistics.median(tails)
    return row


def at(times: Sequence[float], quantile: float) -> float:
    """Return the value below which that part of all lies."""
    ordered = sorted(times)
    return ordered[min(int(len(ordered) * quantile), len(ordered) - 1)]


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def between(values: Sequence[float]) -> str:
    """Return the quartiles as a text."""
    first, third = quartiles(values)
    return f"{shown(first)} … {shown(third)}"
