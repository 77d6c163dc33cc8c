"""How `status` and `check` are laid out for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from . import _screen as screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._consent import Consent
    from ._facts import Look
    from ._run import Context

#: What a finding of `check` means: the first whose words it has.
_MEANINGS: Final = (
    ("does not go on", "A stopped process holds the queue. Let it go on or end it, then check again."),
    ("not a regular file", "Not made by this package, which leaves it alone. Remove it if you did not put it there."),
    ("another format version", "Made by another version of this package. Only that version sends what is in it."),
    ("not a name of this", "Not made by this package, which leaves it alone. Remove it if you do not need it."),
    ("names for one segment", "Some events may be sent twice; a server drops those that it knows."),
    ("cannot be read", "Its events wait until it can be read. Mend its owner or permissions."),
    ("more than were", "The queue is longer than its limit. Nothing is lost; it gets shorter by itself."),
    ("torn", "A power cut or a full disk cut an event off. It is skipped, and counted as corrupt."),
    ("not valid", "These events are damaged. They are skipped and counted as corrupt; the others are sent."),
    ("holds", "More or fewer events than the name promises. What is there is sent, the rest counted as corrupt."),
)


#: Said of telemetry while `producttelemetry.testing` has set this environment up.
CAPTURED: Final = "captured by a test (OPS_TEST_DIR)"


def why(consent: Consent) -> str:
    """Return what decided, as the end of a sentence."""
    if consent.problem is not None:
        return screen.short_path(consent.problem)
    if consent.source is None:
        return "nothing turns it off"
    return f"{consent.source} turns it off"


def why_unsent(consent: Consent) -> str:
    """Say why nothing is sent, after "telemetry". Only for a consent that does not send."""
    if not consent.enabled:
        return f"is off ({why(consent)})"
    return "only prints (OPS_TELEMETRY=log)" if consent.log_only else f"is {CAPTURED}"


def status(context: Context, look: Look) -> Iterator[str]:
    """Yield the lines of `status`."""
    consent, facts = look.consent, look.facts
    yield screen.paint(*_head(consent))
    yield ""
    yield from screen.rows(
        (
            ("Project", context.project_slug, None),
            ("Decided by", "OPS_TELEMETRY" if consent.log_only else _decided(consent), None),
            ("Client id", facts["client_id"] or "none yet; the first event makes one", None),
            ("Directory", screen.short_path(facts["config_dir"] or "none: there is no home directory"), None),
        )
    )
    for destination, failures in zip(facts["destinations"], look.failures, strict=True):
        yield ""
        yield screen.paint(screen.harmless(destination["api_url"] or "An unknown server"), "heading")
        yield from screen.rows(_destination(destination, failures))
    yield from _advice(context, look)


def _head(consent: Consent) -> tuple[str, screen.Style]:
    if consent.log_only:
        return "Telemetry only prints its events (OPS_TELEMETRY=log); none is stored or sent.", "warning"
    if consent.captured:
        return f"Telemetry is {CAPTURED}; nothing is sent.", "warning"
    return ("Telemetry is on.", "good") if consent.enabled else ("Telemetry is off.", "warning")


def _decided(consent: Consent) -> str:
    if consent.problem is not None:
        return screen.short_path(consent.problem)
    return consent.source or "the default; nothing turns it off"


def _advice(context: Context, look: Look) -> Iterator[str]:
    waiting = sum(each["pending"] or 0 for each in look.facts["destinations"])
    text = None
    if waiting and not look.consent.enabled:
        text = f"What is waiting is not sent while telemetry is off. `{context.prog} off` deletes it."
    elif not look.facts["destinations"] and look.consent.enabled and not look.notes:
        text = "Nothing was ever queued."
    if text is not None:
        yield ""
        yield from screen.wrap(text)


def _destination(facts: dict[str, Any], failures: int) -> Iterator[tuple[str, str, screen.Style | None]]:
    if facts["pending"] is None:
        yield "Pending", "cannot be read", "bad"
    else:
        yield "Pending", _pending(facts), None
        yield "Delivered", screen.counted(facts["delivered"]), None
        dropped = {reason: number for reason, number in facts["dropped"].items() if number}
        named = ", ".join(f"{number:,} {reason}" for reason, number in dropped.items())
        yield "Dropped", named or "none", "warning" if dropped else None
    if facts["retry_at"] is not None:
        tries = f"after {screen.counted(failures, 'failure')}"
        soon = datetime.fromisoformat(facts["retry_at"]) <= datetime.now(UTC)
        yield "Next try", f"{'now' if soon else _relative(facts['retry_at'])}, {tries}", "warning"
    elif facts["last_error"] is not None and facts["pending"]:
        yield "Next try", "with the next event, or `flush`", None
    if facts["last_error"] is not None:
        yield "Last error", facts["last_error"], "bad"
    yield "Queue", screen.short_path(facts["spool_dir"]), None


def _pending(facts: dict[str, Any]) -> str:
    if not facts["pending"]:
        return "none"
    text = f"{screen.counted(facts['pending'])}, {screen.size(facts['pending_bytes'])}"
    return f"{text}, the oldest {_relative(facts['oldest_pending'])}" if facts["oldest_pending"] else text


def _relative(moment: str) -> str:
    return screen.relative(datetime.fromisoformat(moment), datetime.now(UTC))


def findings(found: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of `check`."""
    if not found:
        yield "Nothing was ever queued."
    for number, destination in enumerate(found):
        problems = destination["problems"]
        if number:
            yield ""
        yield screen.paint(screen.harmless(destination["api_url"] or "An unknown server"), "heading")
        yield f"  {screen.short_path(screen.harmless(destination['spool_dir']))}"
        if problems:
            yield f"  {screen.paint(screen.counted(len(problems), 'problem'), 'bad')}"
        else:
            yield f"  {screen.paint('sound', 'good')}"
        for problem in problems:
            yield ""
            yield from (f"  {line}" for line in screen.wrap(screen.harmless(problem), screen.WIDTH - 2))
            yield from (f"    {line}" for line in screen.wrap(_meaning(problem), screen.WIDTH - 4))


def _meaning(problem: str) -> str:
    return next((meaning for words, meaning in _MEANINGS if words in problem), "Please report this.")
