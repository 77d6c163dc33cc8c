"""The two small grammars of the spool: the name of a segment and the line of one event. Pure.

A name says everything about a segment that the protocol needs::

    00000017-3fa9.4096.12.ready
    |        |    |    |  +-- state
    |        |    |    +----- count: slots reserved (open), events from `offset` to the end (ready, sending)
    |        |    +---------- offset: bytes at the start of the file that are delivered or evicted
    |        +--------------- salt: random, so that two segments never share a name
    +------------------------ number: the order of segments; never a clock

A line is one JSON object and a newline: exactly what the server gets. An `identify` call is a line too; it has a
`user_id` and no `event_name`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

State: TypeAlias = Literal["open", "ready", "sending", "tmp"]

_NAME: Final = re.compile(r"(\d{8,18})-([0-9a-f]{4,16})\.(\d{1,18})\.(\d{1,18})\.(open|ready|sending|tmp)")
#: The last number; those beyond it are nobody's.
LAST_NUMBER: Final = 10**15 - 1
#: More bytes than any line has; what is longer is damage.
LINE_BYTES: Final = 1 << 16


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


#: Text → value, strictly: RFC 8259 has neither NaN nor infinities; Python reads them unless it is told not to.
decode_json: Final = json.JSONDecoder(parse_constant=_refuse).decode


class Segment(NamedTuple):
    """The name of one segment, taken apart. Sorts in the order of delivery.

    Attributes:
        number: position in the queue.
        salt: random digits that keep names apart.
        offset: bytes at the start of the file that are done with.
        slots: reserved slots (`open`) or events from `offset` on (`ready`, `sending`).
        state: `open`, `ready`, `sending`, or `tmp` until its writer has locked it.
    """

    number: int
    salt: str
    offset: int
    slots: int
    state: State

    def __str__(self) -> str:
        return f"{self.number:08d}-{self.salt}.{self.offset}.{self.slots}.{self.state}"

    @property
    def identity(self) -> tuple[int, str]:
        """What stays the same through all renames of one segment."""
        return self.number, self.salt


def parse_name(name: str) -> Segment | None:
    """Take a file name apart; None if it is not a segment's."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    number, salt, offset, slots, state = match.groups()
    segment = Segment(int(number), salt, int(offset), int(slots), state)  # type: ignore[arg-type]  # as the pattern says
    if segment.number > LAST_NUMBER:
        return None
    return segment if str(segment) == name else None  # a name in another spelling would be renamed into a second one


def split_lines(data: bytes) -> list[bytes]:
    """Return the complete lines in `data`, each with its newline; a torn last line is left out."""
    lines = data.split(b"\n")
    lines.pop()
    return [line + b"\n" for line in lines]


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line that the server can be given, or None if the line is damaged."""
    if len(line) > LINE_BYTES:
        return None
    try:
        value = decode_json(line.decode())
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and ("event_id" in value or "user_id" in value):
        return value  # pyright: ignore[reportUnknownVariableType]  # what json gives
    return None
