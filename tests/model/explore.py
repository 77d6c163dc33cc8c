"""Breadth-first search through all worlds, and the properties that hold in each of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from . import purger, sender, writer
from .world import NO_SEGMENT, NOBODY, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .world import World

_STEPS: Final = {"writer": writer.STEPS, "sender": sender.STEPS, "purger": purger.STEPS}

#: The rules that can be left out, and what goes wrong without them.
RULES: Final = {
    "flock": "a writer does not lock its segment",
    "lock-before-name": "a new segment gets its name before its writer has locked it",
    "salt": "segments have nothing but their number",
    "count-first": "an eviction is not counted before the rename",
    "acknowledge-after-post": "a sender acknowledges before the server has answered",
    "claim-by-rename": "a sender reads a segment without claiming it",
    "look-at-mark": "a writer does not look for a purge after it has named a new segment",
    "look-before-post": "a sender does not look for its claim before a request",
    "blank-what-was-counted": "a purge empties the whole file, and not what it has counted",
}

SCENARIOS: Final = {
    "two writers, one sender, two crashes": Scenario((2, 2), crashes=2, cap=3, step=2),
    "full queue, eviction": Scenario((2, 2), cap=1, small=1),
    "the own segment gives way": Scenario((3,), senders=0, crashes=1, cap=2),
    "two senders, a server that fails": Scenario((2,), senders=2, crashes=2, failures=1, batch=1),
    "stopped holder of the lock": Scenario((2, 1), crashes=1, unlocked=2, small=1),
    "stopped holder of the lock, full queue": Scenario((2, 2), senders=0, crashes=1, unlocked=3, cap=1, small=1),
    "three writers": Scenario((1, 1, 1)),
    "a purge": Scenario((2, 1), purgers=1, crashes=1, batch=1),
    "a purge, stopped holder of the lock": Scenario((2,), purgers=1, crashes=1, unlocked=2),
    "larger": Scenario((2, 1), senders=2, unlocked=1, cap=3, step=2),
}


class Found(NamedTuple):
    """What a search tells.

    Attributes:
        worlds: how many different ones there are.
        violation: what is wrong in the last one; empty if every property holds in every world.
        path: the worlds that lead there.
    """

    worlds: int
    violation: str
    path: list[World]


def explore(scenario: Scenario) -> Found:
    """Look at every world that can be reached; stop at the first one that is wrong."""
    start = scenario.start()
    seen: dict[World, World | None] = {start: None}
    todo = deque([start])
    while todo:
        world = todo.popleft()
        for after in _successors(world, scenario):
            if after in seen:
                continue
            seen[after] = world
            violation = after.offence or _violation(after, scenario)
            if violation:
                return Found(len(seen), violation, _path(after, seen))
            todo.append(after)
    return Found(len(seen), "", [])


def _path(world: World, seen: dict[World, World | None]) -> list[World]:
    path: list[World] = []
    at: World | None = world
    while at is not None:
        path.append(at)
        at = seen[at]
    return path[::-1]


def _successors(world: World, scenario: Scenario) -> Iterator[World]:
    for me, process in enumerate(world.processes):
        if process.step == "end":
            continue
        yield from _STEPS[process.role][process.step](world, me, scenario)
        if world.crashes and process.step != "start":
            yield _die(world, me)


def _die(world: World, me: int) -> World:
    """The kernel drops every lock and closes every file, and nothing else happens."""
    for segment in world.segments:
        if segment.holder == me:
            left = segment._replace(holder=NOBODY)
            world = world.unlink(left) if segment.state == "gone" else world.put(segment, left)
    sender_lock = NOBODY if world.sender_lock == me else world.sender_lock
    after = world.drop_lock(me)._replace(crashes=world.crashes - 1, sender_lock=sender_lock)
    return after.go(me, "end", own=NO_SEGMENT, batch=(), todo=(), left=0)


def _violation(world: World, scenario: Scenario) -> str:
    held = {event for segment in world.segments for event in segment.events}
    lost = world.accepted - held - world.delivered - world.counted - world.void
    if lost:
        return f"lost: {sorted(lost)}"
    beyond = scenario.step * sum(process.extra for process in world.processes)
    if world.total() > scenario.cap + beyond:
        return f"cap: the names promise {world.total()}"
    identities = [segment.identity for segment in world.segments]
    if len(identities) != len(set(identities)):
        return "name: two segments share a name"
    return _wrong_owner(world) or _stuck(world)


def _wrong_owner(world: World) -> str:
    owners = [each for each in world.processes if each.role == "writer" and each.left and each.step == "append"]
    for process in owners:
        segment = world.find(process.own)
        if segment is not None and segment.state not in {"open", "gone"}:
            return f"owner: somebody writes to a segment that is {segment.state}"
    if len({process.own for process in owners}) != len(owners):
        return "owner: two processes write to one segment"
    return ""


def _stuck(world: World) -> str:
    """When everybody is gone, one more sender can take all that is left."""
    if any(process.step != "end" for process in world.processes):
        return ""
    stuck = [each for each in world.segments if each.holder != NOBODY or (each.state == "tmp" and each.events)]
    return f"stuck: {stuck}" if stuck else ""


def describe(world: World) -> str:
    """Return a world as one line."""
    segments = " ".join(
        f"{each.number}-{each.salt}.{each.slots}.{each.state}{[name for name, _ in each.events]}@{each.holder}"
        for each in world.segments
    )
    return f"{segments or 'no segment'} | {' '.join(each.step for each in world.processes)} | lock {world.lock}"
