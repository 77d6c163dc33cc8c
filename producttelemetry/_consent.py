"""May this project collect and send? One pure function, used by client, sender and commands alike.

Any opt-out wins over everything. What nobody can understand counts as an opt-out: who wrote it wanted to change
something. The sources, in the order in which they are named when several say no: the constructor's `disabled`,
`DO_NOT_TRACK` (https://donottrack.sh), `OPS_TELEMETRY`, `config.json`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._config import ConfigFile, Environment

Source: TypeAlias = Literal["disabled", "DO_NOT_TRACK", "OPS_TELEMETRY", "config.json"]

_NO: Final = frozenset(("0", "false", "no", "off"))
_YES: Final = frozenset(("", "1", "true", "yes", "on"))


class Consent(NamedTuple):
    """The effective state and what decided it.

    Attributes:
        enabled: events may be collected.
        log_only: events are printed and neither stored nor sent (`OPS_TELEMETRY=log`).
        source: what opted out; None if nothing did.
        problem: a sentence about a source that could not be understood, else None.
        passing: nobody can tell now; it is no, but asking again later may give another answer.
        captured: a test looks at what is stored, and nothing is sent (`producttelemetry.testing`).
    """

    enabled: bool
    log_only: bool = False
    source: Source | None = None
    problem: str | None = None
    passing: bool = False
    captured: bool = False

    @property
    def stores(self) -> bool:
        """Events may be stored."""
        return self.enabled and not self.log_only

    @property
    def sends(self) -> bool:
        """Events may be stored and sent."""
        return self.stores and not self.captured


def resolve(  # noqa: PLR0911  # one return for each source
    disabled: bool, environment: Environment, config_files: Iterable[ConfigFile]
) -> Consent:
    """Return the effective consent.

    Args:
        disabled: the constructor's argument.
        environment: the variables.
        config_files: every `config.json` that was found.
    """
    if disabled:
        return Consent(enabled=False, source="disabled")
    if environment.do_not_track.lower() not in _NO | {""}:
        return Consent(enabled=False, source="DO_NOT_TRACK")
    telemetry = environment.telemetry.strip().lower()
    if telemetry in _NO:
        return Consent(enabled=False, source="OPS_TELEMETRY")
    if telemetry not in _YES | {"log"}:
        problem = f"OPS_TELEMETRY must be 0 or log, not {environment.telemetry!r}"
        return Consent(enabled=False, source="OPS_TELEMETRY", problem=problem)
    for file in config_files:
        choice = _choice(file)
        if choice is None:
            problem = f"{file.path} cannot be read"
            if file.content is not None:
                right = '{"telemetry": true} or {"telemetry": false}'
                problem = f"{file.path} cannot be understood; it should hold {right}"
            return Consent(enabled=False, source="config.json", problem=problem, passing=file.passing)
        if not choice:
            return Consent(enabled=False, source="config.json")
    return Consent(enabled=True, log_only=telemetry == "log", captured=environment.captured)


def _choice(file: ConfigFile) -> bool | None:
    """Return what a `config.json` says; None if nobody can tell."""
    if file.content is None:
        return None
    try:
        value = json.loads(file.content, object_pairs_hook=_once_each, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or any(name != "telemetry" == name.strip().lower() for name in value):
        return None  # `Telemetry` is a choice, too, and nobody can tell which one we would make of it
    choice = value.get("telemetry", True)
    return choice if isinstance(choice, bool) else None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object with two equal names: nobody can tell which of two choices was meant."""
    if len(pairs) != len({name for name, _ in pairs}):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
