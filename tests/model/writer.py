"""The steps of a writer: `_writer` and `_segment`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .world import NO_SEGMENT, NOBODY, Scenario, Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from .world import World


def encode(world: World, me: int, _: Scenario) -> list[World]:
    """Read the client id, then make the next event; without one, leave."""
    process = world.processes[me]
    if not process.todo:
        return [world.go(me, "lock-to-seal" if process.own != NO_SEGMENT else "end")]
    mark = world.mark if process.mark < 0 else process.mark
    return [world.go(me, "append" if process.left else "reserve", mark=mark)]


def append(world: World, me: int, _: Scenario) -> list[World]:
    """One write on the open descriptor, without a look at the name; a file without one takes it, too."""
    process = world.processes[me]
    own = world.find(process.own)
    if own is None:
        return [world._replace(offence="owner: a segment was taken away from a living writer")]
    event = (process.todo[0], process.mark)
    after = world.put(own, own._replace(events=(*own.events, event)))
    after = after._replace(accepted=after.accepted | {event})
    return [after.go(me, "encode", todo=process.todo[1:], left=process.left - 1)]


def reserve(world: World, me: int, _: Scenario) -> list[World]:
    """Take the lock, or find that its holder does not go on."""
    found = world.take_lock(me, "look")
    if world.lock != NOBODY and world.unlocked:
        found.append(world._replace(unlocked=world.unlocked - 1).go(me, "look-unlocked"))
    return found


def look(world: World, me: int, scenario: Scenario) -> list[World]:
    """List the names: is our segment still there, and is there room?"""
    if _is_purged(world, me):
        return [_give_up(world, me).drop_lock(me)]
    full = world.total() >= scenario.cap
    orphans = world.orphans()
    if orphans and (full or world.processes[me].own == NO_SEGMENT):
        return [world.seal(orphans[0])]  # and look again
    if not full:
        return [world.go(me, "get-slots")]
    return [world.go(me, "count-evicted")]


def count_evicted(world: World, me: int, scenario: Scenario) -> list[World]:
    """Tell the ledger first, so that a crash may count twice but never hides a loss."""
    victim = _victim(world, me)
    if victim is None:  # nothing can be evicted: the new event is refused
        return [world.drop_lock(me).go(me, "encode", todo=world.processes[me].todo[1:])]
    if not victim.events:  # blanked by a purge that died: nobody can deliver what its name promises
        return [world.put(victim, None).go(me, "look")]
    if scenario.broken != "count-first":
        world = world._replace(counted=world.counted | {victim.events[0]})
    return [world.go(me, "evict", batch=victim.events[:1], seen=(victim.state, victim.slots))]


def evict(world: World, me: int, _: Scenario) -> list[World]:
    """Rename the segment that was counted from, under the name that it had then, to one event less."""
    process = world.processes[me]
    named = [each for each in world.queue() if (each.state, each.slots) == process.seen]
    victim = next((each for each in named if each.events[:1] == process.batch), None)
    world = world.go(me, "evict", batch=(), seen=("", 0))
    if victim is None:  # a purge that could not get the lock
        return [world.go(me, "look")]
    left = victim._replace(events=victim.events[1:], slots=victim.slots - 1)
    own = victim.identity == process.own
    if left.slots:
        return [world.put(victim, left).go(me, "get-slots")]
    return [world.put(victim, None).go(me, "get-slots", **({"own": NO_SEGMENT} if own else {}))]


def _victim(world: World, me: int) -> Segment | None:
    own = world.find(world.processes[me].own)
    ready = [each for each in world.queue() if each.state == "ready"]
    if ready:
        return ready[0]
    return own if own is not None and own.state == "open" and own.events else None


def get_slots(world: World, me: int, scenario: Scenario) -> list[World]:
    """Rename the own segment to more slots; without one, adopt the last ready segment or create one."""
    if _is_purged(world, me):
        return [_give_up(world, me).drop_lock(me)]
    process = world.processes[me]
    own = world.find(process.own)
    slots = max(1, min(scenario.step, scenario.cap - world.total()))
    if own is not None:
        return [world.put(own, own._replace(slots=own.slots + slots)).go(me, "unlock", left=process.left + slots)]
    last = next((each for each in reversed(world.queue()) if each.state != "open"), None)
    if last is not None and last.state == "ready" and len(last.events) < scenario.small:
        locked = last._replace(holder=me if scenario.broken != "flock" else NOBODY)
        return [world.put(last, locked).go(me, "adopt", own=last.identity)]
    return _create(world, me, scenario, _next_number(world), slots)


def adopt(world: World, me: int, scenario: Scenario) -> list[World]:
    """The descriptor is locked; now the name says so."""
    process = world.processes[me]
    last = world.find(process.own)
    if last is None or last.state != "ready":  # a purge that could not get the lock
        after = world.put(last, None) if last is not None else world
        return [after.drop_lock(me).go(me, "append" if process.left else "reserve", own=NO_SEGMENT)]
    slots = max(1, min(scenario.step, scenario.cap - world.total()))
    opened = last._replace(state="open", slots=last.slots + slots)
    return [world.put(last, opened).go(me, "look-at-mark", left=slots)]


def look_at_mark(world: World, me: int, scenario: Scenario) -> list[World]:
    """Our segment has its name now: a purge that has not marked yet will find it, and one that has is seen here."""
    process = world.processes[me]
    if world.mark != process.mark and scenario.broken != "look-at-mark":
        return [world.drop_lock(me).go(me, "encode", mark=-1)]
    return [world.go(me, "unlock")]


def unlock(world: World, me: int, _: Scenario) -> list[World]:
    """Give the lock back."""
    return [world.drop_lock(me).go(me, "append")]


def look_unlocked(world: World, me: int, scenario: Scenario) -> list[World]:
    """Without the lock: go on while names show room, and one step beyond the cap after that."""
    if _is_purged(world, me):
        return [_give_up(world, me)]
    process = world.processes[me]
    if world.total() >= scenario.cap and process.extra:
        return [world.go(me, "reserve")]  # the event waits in memory
    if process.own != NO_SEGMENT:
        return [world.go(me, "extend-unlocked", extra=True)]
    return [world.go(me, "create-unlocked", extra=True)]


def extend_unlocked(world: World, me: int, scenario: Scenario) -> list[World]:
    """Only the writer renames its own open segment; a purge may have been faster."""
    if _is_purged(world, me):
        return [_give_up(world, me)]
    process = world.processes[me]
    own = world.find(process.own)
    assert own is not None
    longer = own._replace(slots=own.slots + scenario.step)
    return [world.put(own, longer).go(me, "append", left=process.left + scenario.step)]


def create_unlocked(world: World, me: int, scenario: Scenario) -> list[World]:
    """Two may choose one number, if one has looked a moment earlier; the salt tells them apart."""
    numbers = {_next_number(world), max(1, _next_number(world) - 1)}
    return [after for number in numbers for after in _create(world, me, scenario, number, scenario.step)]


def _create(world: World, me: int, scenario: Scenario, number: int, slots: int) -> list[World]:
    """Create under a name that is not part of the queue yet, and lock: nobody can take it for an orphan."""
    if world.salt == scenario.segments:
        return []
    salt = 0 if scenario.broken == "salt" else world.salt + 1
    named = scenario.broken == "lock-before-name"
    holder = NOBODY if named or scenario.broken == "flock" else me
    new = Segment(number, salt, "open" if named else "tmp", slots, (), holder)
    if world.find(new.identity) is not None:
        return [world._replace(offence="name: two segments share a name")]
    return [world.put(None, new)._replace(salt=world.salt + 1).go(me, "name", own=new.identity, left=slots)]


def name(world: World, me: int, scenario: Scenario) -> list[World]:
    """The file is locked already: give it its name in the queue."""
    own = world.find(world.processes[me].own)
    if own is None:  # taken for an orphan; a descriptor can still be locked, so that the writer does not notice
        return [world.go(me, "append")]
    state = "open" if own.state == "tmp" else own.state
    holder = NOBODY if scenario.broken == "flock" else me
    return [world.put(own, own._replace(state=state, holder=holder)).go(me, "look-at-mark")]


def lock_to_seal(world: World, me: int, _: Scenario) -> list[World]:
    """Take the lock for the last time."""
    return world.take_lock(me, "seal")


def seal(world: World, me: int, _: Scenario) -> list[World]:
    """Count what is there, not what is remembered, and rename."""
    if _is_purged(world, me):
        return [_give_up(world, me).drop_lock(me).go(me, "end")]
    own = world.find(world.processes[me].own)
    assert own is not None
    return [world.seal(own).go(me, "unlock-sealed", own=NO_SEGMENT, left=0)]


def unlock_sealed(world: World, me: int, _: Scenario) -> list[World]:
    """Give the lock back and end."""
    return [world.drop_lock(me).go(me, "end")]


def _is_purged(world: World, me: int) -> bool:
    process = world.processes[me]
    own = world.find(process.own)
    return process.own != NO_SEGMENT and (own is None or own.state == "gone")


def _give_up(world: World, me: int) -> World:
    """Count what was written since the purge counted, and encode the event anew."""
    own = world.find(world.processes[me].own)
    if own is not None:
        world = world._replace(counted=world.counted | set(own.events)).put(own, None)
    return world.go(me, "encode", own=NO_SEGMENT, left=0, mark=-1)


def _next_number(world: World) -> int:
    return 1 + max((each.number for each in world.queue()), default=0)


STEPS: dict[str, Callable[[World, int, Scenario], list[World]]] = {
    "encode": encode,
    "append": append,
    "reserve": reserve,
    "look": look,
    "count-evicted": count_evicted,
    "evict": evict,
    "get-slots": get_slots,
    "adopt": adopt,
    "look-at-mark": look_at_mark,
    "unlock": unlock,
    "look-unlocked": look_unlocked,
    "extend-unlocked": extend_unlocked,
    "create-unlocked": create_unlocked,
    "name": name,
    "lock-to-seal": lock_to_seal,
    "seal": seal,
    "unlock-sealed": unlock_sealed,
}
