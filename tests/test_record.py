"""`_record`: the name of a segment and the line of an event, the two grammars of the spool."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producttelemetry._record import Segment, parse_line, parse_name, split_lines

segments = st.builds(
    Segment,
    st.integers(0, 10**15 - 1),
    st.text("0123456789abcdef", min_size=4, max_size=16),
    st.integers(0, 10**18 - 1),
    st.integers(0, 10**18 - 1),
    st.sampled_from(["open", "ready", "sending", "tmp"]),
)


@settings(deadline=None)
@given(segments)
def test_a_name_comes_back_as_it_was_written(segment: Segment) -> None:
    """Every segment has one name, and that name says everything about it."""
    assert segment == parse_name(str(segment))


def test_the_name_of_the_essay() -> None:
    """The example in the module's text is what the code reads and writes."""
    segment = Segment(17, "3fa9", 4096, 12, "ready")
    assert "00000017-3fa9.4096.12.ready" == str(segment)
    assert (17, "3fa9") == segment.identity


@pytest.mark.parametrize(
    "name",
    [
        "",
        "lock",
        "retry.json",
        "00000017-3fa9.4096.12.ready.new",
        "00000017-3fa9.4096.12.ready\n",
        " 00000017-3fa9.4096.12.ready",
        "00000017-3fa9.4096.12.other",
        "00000017-3fa9.4096.12.READY",
        "00000017-3FA9.4096.12.ready",
        "00000017-3fz9.4096.12.ready",
        "00000017-3fa.4096.12.ready",
        "00000017-3fa9.4096.ready",
        "00000017-3fa9.-1.12.ready",
        "00000017-3fa9..12.ready",
        "0000017-3fa9.4096.12.ready",
        "00000017-3fa9.4096.1234567890123456789.ready",
    ],
)
def test_a_name_that_is_not_a_segments(name: str) -> None:
    """What another program, another version or a crash has left is no segment."""
    assert parse_name(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "000000017-3fa9.4096.12.ready",
        "00000017-3fa9.04096.12.ready",
        "00000017-3fa9.4096.012.ready",
        "0000001\N{ARABIC-INDIC DIGIT SEVEN}-3fa9.4096.12.ready",
        "00000017-3fa9.4096.\N{FULLWIDTH DIGIT ONE}2.ready",
    ],
)
def test_a_name_that_would_be_written_otherwise_is_not_a_segments(name: str) -> None:
    """A segment is found again under the name it gives itself; one with another spelling would be renamed in vain."""
    assert parse_name(name) is None


def test_segments_sort_in_the_order_of_delivery() -> None:
    """The number decides, also where it has outgrown its eight digits."""
    numbers = [1, 2, 10, 99_999_999, 100_000_000]
    made = [Segment(number, "ffff", 9, 9, "ready") for number in numbers]
    assert numbers == [segment.number for segment in sorted([made[3], made[0], made[4], made[2], made[1]])]


@settings(deadline=None)
@given(st.lists(st.binary().filter(lambda line: b"\n" not in line)), st.binary().filter(lambda rest: b"\n" not in rest))
def test_lines_are_split_at_newlines_only(lines: list[bytes], torn: bytes) -> None:
    """Each complete line comes with its newline; a torn last one is left out; no other byte separates lines."""
    whole = [line + b"\n" for line in lines]
    assert whole == split_lines(b"".join(whole) + torn)


@pytest.mark.parametrize("value", [{"event_id": "1", "a": "ä\u2028"}, {"user_id": "1"}, {"event_id": None}])
def test_a_line_holds_an_event_or_an_identify_call(value: dict[str, object]) -> None:
    """A line is the object that the server gets."""
    assert value == parse_line(json.dumps(value, ensure_ascii=False).encode() + b"\n")


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'"event_id"\n',
        b'["event_id"]\n',
        b'{"event_name":"x"}\n',
        b'{"event_id":"1"\n',
        b'{"event_id":"1"}}\n',
        b'{"event_id":"1"}{"event_id":"2"}\n',
        b"{'event_id':'1'}\n",
        b'{"event_id":"\xff"}\n',
        b'\xef\xbb\xbf{"event_id":"1"}\n',
        b'{"event_id":"a\0b"}\n',
        b"\0" * 100 + b"\n",
        b'{"event_id":' + b"[" * 100_000 + b"\n",
        b'{"event_id":' + b"1" * 10_000 + b"}\n",
    ],
    ids=lambda line: repr(line[:30]),
)
def test_a_damaged_line_is_none(line: bytes) -> None:
    """What the server cannot be given is recognised, whatever a crash or a bad disk has made of it."""
    assert parse_line(line) is None


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_a_line_that_only_python_can_read_is_damaged(constant: bytes) -> None:
    """RFC 8259 has no such numbers; one in a batch would make every server refuse all of it."""
    assert parse_line(b'{"event_id":"1","properties":{"a":' + constant + b"}}\n") is None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(data: bytes) -> None:
    """No content of a file raises."""
    for line in split_lines(data):
        assert isinstance(parse_line(line), dict | None)
