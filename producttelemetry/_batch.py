"""What to send next of a batch, given what the server said of the parts sent so far. Pure.

A server that refuses a batch does not say which event it dislikes, so the batch is halved until the offending event
stands alone: one bad event among n costs O(log n) requests, and the others are delivered. A server that refuses
everything is a wrong endpoint and not a queue of poison: when three events that stood alone have been refused and none
was accepted, the last event of the batch is tried alone, and if that is refused too, nothing of the batch is given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from ._retry import Outcome

#: Events and bytes of a request body at most.
MAX_EVENTS: Final = 500
MAX_BYTES: Final = 512 * 1024
#: Events refused alone, with none accepted, after which the endpoint itself is in question.
_SUSPICIOUS: Final = 3


class Part(NamedTuple):
    """The events `start` to `stop` of a batch, `stop` excluded."""

    start: int
    stop: int


class Fate(NamedTuple):
    """What became of one event: delivered, or refused for good with the server's message."""

    delivered: bool
    message: str = ""


class Trial:
    """One batch on its way to the server.

    Attributes:
        wrong_endpoint: the server refuses everything; nothing of this batch is decided.
        message: what the server said with its last refusal.
    """

    def __init__(self, size: int) -> None:
        self._fates: list[Fate | None] = [None] * size
        self._parts = [Part(0, size)]
        self._accepted = False
        self._refused_alone = 0
        self._settled = 0
        self.wrong_endpoint = False
        self.message = ""

    def next(self) -> Part | None:
        """Return what to send now; None if there is nothing left to find out."""
        while self._parts and not self.wrong_endpoint:
            start, stop = self._parts.pop()
            if stop - start > 1 and self._fates[stop - 1] is not None:  # the last event was tried out of turn
                stop -= 1
            if self._fates[start] is None:
                return Part(start, stop)
        return None

    def learn(self, part: Part, outcome: Outcome) -> bool:
        """Take in what the server said of a part; False if it said nothing about the events in it."""
        if outcome.kind == "accepted":
            self._accepted = True
            for index in range(part.stop - part.start):
                refused = index in outcome.errors
                self._fates[part.start + index] = Fate(not refused, outcome.errors.get(index, ""))
            return True
        if outcome.kind in {"refused", "too_large"}:
            self.message = outcome.message
            self._refused(part)
            return True
        return False

    def _refused(self, part: Part) -> None:
        start, stop = part
        if stop - start > 1:
            middle = (start + stop) // 2
            self._parts += [Part(middle, stop), Part(start, middle)]
            return
        self._fates[start] = Fate(delivered=False, message=self.message)
        self._refused_alone += 1
        if not self._accepted and self._refused_alone >= _SUSPICIOUS:
            self._question_endpoint()

    def _question_endpoint(self) -> None:
        last = len(self._fates) - 1
        if self._fates[last] is None:
            self._parts.append(Part(last, last + 1))
        else:
            self.wrong_endpoint = True

    def settle(self) -> list[Fate]:
        """Return the fates of the leading events that have become certain since the last call.

        Refusals are not certain before the server has accepted something, or the whole batch has been tried.
        """
        if self.wrong_endpoint or not (self._accepted or not self._parts):
            return []
        certain: list[Fate] = []
        for fate in self._fates[self._settled :]:
            if fate is None:
                break
            certain.append(fate)
        self._settled += len(certain)
        return certain
