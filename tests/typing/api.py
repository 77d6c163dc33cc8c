"""Never run: what users write, for the type checkers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, assert_type

import httpx

from producttelemetry import EventType, Stats, Telemetry


def drop_secrets(event: dict[str, Any]) -> dict[str, Any] | None:
    """See an event before it is stored."""
    return None if event["event_name"] == "secret" else event


def use() -> None:
    """Every public name, as the README uses it."""
    kind: EventType = "lifecycle"
    with Telemetry(
        "key",
        api_url="https://telemetry.example",
        on_exit="detach",
        overflow="drop_newest",
        before_send=drop_secrets,
        default_properties={"version": "1.0"},
        transport=httpx.HTTPTransport(retries=1),
    ) as telemetry:
        assert_type(telemetry, Telemetry)
        telemetry.track("cli.started", event_type=kind)
        telemetry.track(
            "command.executed", {"command": "build", "when": datetime.now(UTC)}, timestamp=datetime.now(UTC)
        )
        telemetry.error(ValueError("wrong"), properties={"step": 1})
        telemetry.error(message="it broke")
        telemetry.identify("user-1")
        telemetry.flush()
        assert_type(telemetry.request_deletion(), bool)
        assert_type(telemetry.enabled, bool)
        stats = telemetry.stats()
        assert_type(stats, Stats)
        assert_type(stats.pending, int)
        assert_type(stats.oldest_pending, datetime | None)


def misuse() -> None:
    """What the checkers have to refuse; an ignore that is not needed is an error."""
    Telemetry(flush_at="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Telemetry(on_exit="never")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Telemetry().track("e", event_type="other")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
