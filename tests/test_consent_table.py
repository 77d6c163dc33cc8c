"""One truth table over every source of consent; client, running client, sender and detached sender all follow it."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from producttelemetry import _config, _detached
from producttelemetry._client import Lifecycle
from producttelemetry._consent import Consent, resolve
from producttelemetry._detach import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from producttelemetry import Telemetry

#: What each source may say, and whether that is in, out, or print only.
ARGUMENT: Final = {False: "in", True: "out"}
DO_NOT_TRACK: Final = {None: "in", "": "in", "0": "in", "OFF": "in", "1": "out", "banana": "out"}
OPS_TELEMETRY: Final = {None: "in", "": "in", "1": "in", "log": "print", "0": "out", "Off": "out", "banana": "out"}
#: None is no file; the last three are malformed, unreadable in parts, and no file at all.
CONFIG: Final = {
    None: "in",
    '{"telemetry": true}': "in",
    "{}": "in",
    '{"telemetry": false}': "out",
    '{"telemetry": 0}': "out",
    "telemetry: true": "out",
    "<directory>": "out",
}


class Row(NamedTuple):
    """What every source says."""

    disabled: bool
    do_not_track: str | None
    telemetry: str | None
    platform: str | None
    literal: str | None

    @property
    def expected(self) -> tuple[bool, bool, str | None]:
        """Whether it is enabled, whether it prints only, and the first source that opts out."""
        sources = (
            ("disabled", ARGUMENT[self.disabled]),
            ("DO_NOT_TRACK", DO_NOT_TRACK[self.do_not_track]),
            ("OPS_TELEMETRY", OPS_TELEMETRY[self.telemetry]),
            ("config.json", CONFIG[self.platform]),
            ("config.json", CONFIG[self.literal]),
        )
        out = next((name for name, says in sources if says == "out"), None)
        return out is None, out is None and OPS_TELEMETRY[self.telemetry] == "print", out


def rows() -> Iterator[Row]:
    """Yield every combination."""
    return itertools.starmap(Row, itertools.product(ARGUMENT, DO_NOT_TRACK, OPS_TELEMETRY, CONFIG, CONFIG))


class World:
    """Has every source say what a row says; the two files differ because XDG_CONFIG_HOME is set."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._places = [
            home / "xdg" / "producttelemetry" / "default",
            home / ".config" / "producttelemetry" / "default",
        ]
        self._said: list[str | None] = [None, None]
        patch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
        for place in self._places:
            place.mkdir(parents=True)

    def say(self, row: Row) -> None:
        """Set variables and files."""
        for name, value in (("DO_NOT_TRACK", row.do_not_track), ("OPS_TELEMETRY", row.telemetry)):
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for number, content in enumerate((row.platform, row.literal)):
            if content != self._said[number]:
                self._write(self._places[number] / "config.json", content)
                self._said[number] = content

    @staticmethod
    def _write(path: Path, content: str | None) -> None:
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        if content == "<directory>":
            path.mkdir()
        elif content is not None:
            path.write_text(content)


@pytest.fixture
def world(home: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which no source says anything."""
    for name in ("DO_NOT_TRACK", "OPS_TELEMETRY"):
        monkeypatch.setenv(name, "")  # so that it is as before in the end
    return World(home, monkeypatch)


def test_the_resolver_follows_the_table(world: World) -> None:
    """For every combination: the effective state, and the source that decided, in the order of precedence."""
    project = _config.paths("default")
    assert 2 == len(project.config_files)
    seen: set[Any] = set()
    for row in rows():
        world.say(row)
        found: Consent = resolve(row.disabled, _config.environment(), _config.read_config_files(project))
        assert row.expected == (found.enabled, found.log_only, found.source), row
        seen.add(row.expected)
    assert 6 == len(seen), "each source decides at least once, and so does none"


#: Of each source one word of each kind, so that whole clients can be made.
FEW: Final = [
    Row(*each)
    for each in itertools.product(
        ARGUMENT,
        (None, "0", "1"),
        (None, "log", "0"),
        (None, '{"telemetry": true}', '{"telemetry": false}', "malformed"),
        (None, '{"telemetry": false}'),
    )
]
CONFIG["malformed"] = "out"


def test_clients_and_senders_follow_the_table(
    world: World, telemetry: Callable[..., Telemetry], capfd: pytest.CaptureFixture[str]
) -> None:
    """A new client, one that runs already, its sender and a detached sender draw the conclusion of the resolver."""
    undecided = Row(False, None, None, None, None)
    telemetry().track("test.event")
    for row in FEW:
        world.say(undecided)
        running = telemetry()
        assert running._consent().sends
        detached = Task("key", "http://127.0.0.1:9/api", *running._project, running._spool_dir)
        world.say(row)
        enabled, prints, _ = row.expected
        state = Lifecycle.PRINTING if prints else Lifecycle.OPEN if enabled else Lifecycle.DISABLED
        assert state is telemetry(disabled=row.disabled)._state, row
        if not row.disabled:  # that is said to a constructor, and to nobody else
            sends = enabled and not prints
            assert [sends] * 3 == [
                running._consent().sends,
                _detached._may_send(detached),
                running.enabled and sends,
            ], row
            drained = running._sender.drain() if running.enabled else "stopped"
            assert ("stopped" == drained) is not sends, row
    assert ("", "") == capfd.readouterr()
