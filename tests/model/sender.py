"""The steps of a sender: `_sender` and `_reader`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .world import NO_SEGMENT, NOBODY, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from .world import World


def start(world: World, me: int, _: Scenario) -> list[World]:
    """Become the one sender."""
    if world.sender_lock != NOBODY:
        return []
    return [world._replace(sender_lock=me).go(me, "lock-to-recover")]


def lock_to_recover(world: World, me: int, _: Scenario) -> list[World]:
    """Take the lock: only then does a look at the directory show every name once."""
    return world.take_lock(me, "recover")


def recover(world: World, me: int, _: Scenario) -> list[World]:
    """Take back what the last sender had claimed and what dead writers left, one rename after the other."""
    back = [each for each in world.segments if each.state == "sending"] + world.orphans()
    if back:
        return [world.seal(back[0])]
    dead = [each for each in world.segments if each.state == "tmp" and each.holder == NOBODY]
    if dead:
        return [world.put(dead[0], None)]
    return [world.drop_lock(me).go(me, "lock-to-claim")]


def lock_to_claim(world: World, me: int, _: Scenario) -> list[World]:
    """Take the lock for a claim."""
    return world.take_lock(me, "claim")


def claim(world: World, me: int, scenario: Scenario) -> list[World]:
    """Rename the first ready segment."""
    ready = [each for each in world.queue() if each.state == "ready"]
    if not ready:
        return [world.drop_lock(me)._replace(sender_lock=NOBODY).go(me, "end")]
    first = ready[0]
    if scenario.broken != "claim-by-rename":
        world = world.put(first, first._replace(state="sending"))
    return [world.go(me, "unlock-claimed", own=first.identity)]


def unlock_claimed(world: World, me: int, scenario: Scenario) -> list[World]:
    """Give the lock back; the claimed segment is ours to read now."""
    segment = world.find(world.processes[me].own)
    batch = segment.events[: scenario.batch] if segment is not None else ()
    step = "lock-to-acknowledge" if scenario.broken == "acknowledge-after-post" else "post"
    return [world.drop_lock(me).go(me, step, batch=batch)]


def post(world: World, me: int, scenario: Scenario) -> list[World]:
    """Look whether the claim is still there, and send; the answer may be lost, or a failure."""
    process = world.processes[me]
    segment = world.find(process.own)
    if (segment is None or segment.state == "gone") and scenario.broken != "look-before-post":
        return [_leave(world, me)]
    found: list[World] = []
    if world.failures:
        found.append(world._replace(failures=world.failures - 1).go(me, "lock-to-release"))
    if any(generation < world.forbidden for _, generation in process.batch):
        world = world._replace(offence="consent: an event is sent after the purge that deleted it")
    if scenario.broken == "acknowledge-after-post":
        found.append(world._replace(delivered=world.delivered | set(process.batch)).go(me, "lock-to-claim"))
    else:
        found.append(world._replace(delivered=world.delivered | set(process.batch)).go(me, "lock-to-acknowledge"))
    return found


def lock_to_acknowledge(world: World, me: int, _: Scenario) -> list[World]:
    """Take the lock for the ledger and the rename."""
    return world.take_lock(me, "acknowledge")


def acknowledge(world: World, me: int, scenario: Scenario) -> list[World]:
    """Rename to what is left, or unlink."""
    process = world.processes[me]
    segment = world.find(process.own)
    if segment is None or segment.state == "gone":
        return [_leave(world.drop_lock(me), me)]
    left = segment.events[len(process.batch) :]
    after = world.put(segment, segment._replace(events=left, slots=len(left)) if left else None)
    after = after.drop_lock(me)
    if scenario.broken == "acknowledge-after-post":
        return [after.go(me, "post", own=NO_SEGMENT)]
    if left:
        return [after.go(me, "post", batch=left[: scenario.batch])]
    return [after.go(me, "lock-to-claim", own=NO_SEGMENT, batch=())]


def lock_to_release(world: World, me: int, _: Scenario) -> list[World]:
    """Take the lock to give the claim back."""
    return world.take_lock(me, "release")


def release(world: World, me: int, _: Scenario) -> list[World]:
    """Rename to `ready`, so that its events can be evicted again."""
    segment = world.find(world.processes[me].own)
    if segment is not None and segment.state == "sending":
        world = world.seal(segment)
    return [_leave(world.drop_lock(me), me)]


def _leave(world: World, me: int) -> World:
    return world._replace(sender_lock=NOBODY).go(me, "end", own=NO_SEGMENT, batch=())


STEPS: dict[str, Callable[[World, int, Scenario], list[World]]] = {
    "start": start,
    "lock-to-recover": lock_to_recover,
    "recover": recover,
    "lock-to-claim": lock_to_claim,
    "claim": claim,
    "unlock-claimed": unlock_claimed,
    "post": post,
    "lock-to-acknowledge": lock_to_acknowledge,
    "acknowledge": acknowledge,
    "lock-to-release": lock_to_release,
    "release": release,
}
