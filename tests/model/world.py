"""The values of the model. All are immutable, so that a world can be a key of a dictionary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

#: A name, and the generation of the client id that it was encoded with.
Event: TypeAlias = tuple[str, int]
#: Number and salt: what stays the same through all renames of one segment.
Identity: TypeAlias = tuple[int, int]
State: TypeAlias = Literal["tmp", "open", "ready", "sending", "gone"]
Role: TypeAlias = Literal["writer", "sender", "purger"]

NOBODY = -1
NO_SEGMENT: Identity = (0, 0)


class Segment(NamedTuple):
    """One file. `gone` is one without a name that a living process still has open."""

    number: int
    salt: int
    state: State
    slots: int
    events: tuple[Event, ...]
    holder: int

    @property
    def identity(self) -> Identity:
        """What stays the same."""
        return self.number, self.salt

    @property
    def named(self) -> bool:
        """Whether a look at the directory shows it as a part of the queue."""
        return self.state not in {"tmp", "gone"}


class Process(NamedTuple):
    """One process. `own` is its segment: that it writes to, has claimed, or deletes.

    `batch` is what a sender has read, or a purger or an eviction has counted, `seen` the name that this had,
    `mark` the generation of the client id that a writer uses (-1: it has to read it) or a purger made.
    """

    role: Role
    step: str
    todo: tuple[str, ...] = ()
    own: Identity = NO_SEGMENT
    left: int = 0
    batch: tuple[Event, ...] = ()
    seen: tuple[str, int] = ("", 0)
    mark: int = -1
    extra: bool = False  # has had its step beyond the cap, or has been wrong about a free slot


class World(NamedTuple):
    """Everything that there is at one instant."""

    segments: tuple[Segment, ...]
    processes: tuple[Process, ...]
    lock: int = NOBODY
    sender_lock: int = NOBODY
    mark: int = 0
    salt: int = 0  # in the real spool random; here the number of segments made so far
    accepted: frozenset[Event] = frozenset()
    delivered: frozenset[Event] = frozenset()
    counted: frozenset[Event] = frozenset()  # in the ledger, by whichever reason
    void: frozenset[Event] = frozenset()  # tracked while a purge was at work, by a process that died since
    forbidden: int = 0  # events of generations below this one must not be sent any more
    offence: str = ""
    crashes: int = 0
    unlocked: int = 0
    failures: int = 0

    def find(self, identity: Identity) -> Segment | None:
        """Return a segment, named or not."""
        return next((each for each in self.segments if each.identity == identity), None)

    def put(self, old: Segment | None, new: Segment | None) -> World:
        """Replace a segment, create or delete one."""
        others = [each for each in self.segments if old is None or each.identity != old.identity]
        return self._replace(segments=tuple(sorted([*others, new] if new is not None else others)))

    def total(self) -> int:
        """Return what the names promise."""
        return sum(each.slots for each in self.segments if each.named)

    def queue(self) -> list[Segment]:
        """Return what a look at the directory shows, in order."""
        return [each for each in self.segments if each.named]

    def go(self, number: int, step: str, **changes: object) -> World:
        """Move a process on."""
        process = self.processes[number]._replace(step=step, **changes)  # type: ignore[arg-type]  # NamedTuple's own check
        return self._replace(processes=(*self.processes[:number], process, *self.processes[number + 1 :]))

    def take_lock(self, number: int, step: str) -> list[World]:
        """Take `lock` if it is free; else nothing can happen."""
        return [self._replace(lock=number).go(number, step)] if self.lock == NOBODY else []

    def drop_lock(self, number: int) -> World:
        """Give `lock` back, if this process holds it."""
        return self._replace(lock=NOBODY) if self.lock == number else self

    def unlink(self, segment: Segment) -> World:
        """Remove a name; the file lives on while its writer has it open."""
        if segment.holder != NOBODY:
            return self.put(segment, segment._replace(state="gone"))
        return self._replace(void=self.void | set(segment.events)).put(segment, None)

    def seal(self, segment: Segment) -> World:
        """Turn an open or claimed segment into a ready one, or into nothing if it is empty."""
        if not segment.events:
            return self.put(segment, None)
        ready = segment._replace(state="ready", slots=len(segment.events), holder=NOBODY)
        return self.put(segment, ready)

    def orphans(self) -> list[Segment]:
        """Return the open segments whose writer is dead."""
        return [each for each in self.segments if each.state == "open" and each.holder == NOBODY]


@dataclass(frozen=True)
class Scenario:
    """A small world to explore.

    Attributes:
        writers: for each writer, how many events it tracks.
        senders: how many there are.
        purgers: how many there are.
        crashes: how many processes may die.
        unlocked: how often somebody may find `lock` held by a process that does not go on.
        failures: how often the server may fail.
        cap: `max_queue_size`.
        step: slots of one reservation.
        small: a segment with fewer events is adopted.
        batch: events of one request.
        segments: how many can be made; a purge and a writer could go on for ever otherwise.
        broken: the rule that is left out.
    """

    writers: tuple[int, ...]
    senders: int = 1
    purgers: int = 0
    crashes: int = 1
    unlocked: int = 0
    failures: int = 0
    cap: int = 2
    step: int = 1
    small: int = 2
    batch: int = 9
    segments: int = 5
    broken: str = ""

    def start(self) -> World:
        """Return the first world."""
        writers = [
            Process("writer", "encode", tuple(f"{number}{count}" for count in range(events)))
            for number, events in enumerate(self.writers)
        ]
        senders = [Process("sender", "start")] * self.senders
        purgers = [Process("purger", "start")] * self.purgers
        return World(
            (), (*writers, *senders, *purgers), crashes=self.crashes, unlocked=self.unlocked, failures=self.failures
        )
