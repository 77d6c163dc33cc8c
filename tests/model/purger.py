"""The steps of a purge (an opt-out or an erasure): `Directory.purge`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .world import NO_SEGMENT, NOBODY, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from .world import World


def start(world: World, me: int, _: Scenario) -> list[World]:
    """Take the lock; a purge does not depend on getting it."""
    found = world.take_lock(me, "mark")
    if world.lock != NOBODY and world.unlocked:
        found.append(world._replace(unlocked=world.unlocked - 1).go(me, "mark"))
    return found


def mark(world: World, me: int, _: Scenario) -> list[World]:
    """First the mark: who reads the client id from now on reads the new one."""
    return [world._replace(mark=world.mark + 1).go(me, "count", mark=world.mark + 1)]


def count(world: World, me: int, _: Scenario) -> list[World]:
    """Read the first segment that is left and tell the ledger."""
    queue = world.queue()
    if not queue:
        after = world.drop_lock(me)
        forbidden = max(world.forbidden, world.processes[me].mark)
        return [after._replace(forbidden=forbidden).go(me, "end", own=NO_SEGMENT, batch=())]
    segment = queue[0]
    counted = world._replace(counted=world.counted | set(segment.events))
    seen = (segment.state, segment.slots)
    step = "blank" if segment.state == "open" else "unlink"
    return [counted.go(me, step, own=segment.identity, batch=segment.events, seen=seen)]


def blank(world: World, me: int, scenario: Scenario) -> list[World]:
    """Blank what was counted, and no more: a living writer goes on and counts the rest itself."""
    process = world.processes[me]
    segment = world.find(process.own)
    if segment is not None:
        kept = tuple(each for each in segment.events if each not in process.batch)
        if scenario.broken == "blank-what-was-counted":
            kept = ()
        world = world.put(segment, segment._replace(events=kept))
    return [world.go(me, "unlink")]


def unlink(world: World, me: int, _: Scenario) -> list[World]:
    """Remove the name, if it is still the one; the writer finds out."""
    process = world.processes[me]
    segment = world.find(process.own)
    if segment is not None and (segment.state, segment.slots) == process.seen:
        world = world.unlink(segment)
    return [world.go(me, "count", own=NO_SEGMENT, batch=())]


STEPS: dict[str, Callable[[World, int, Scenario], list[World]]] = {
    "start": start,
    "mark": mark,
    "count": count,
    "blank": blank,
    "unlink": unlink,
}
