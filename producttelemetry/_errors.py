"""The error tree. None of these but `ConfigurationError` ever reaches the host.

TelemetryError
├── ConfigurationError(ValueError)   a constructor argument or an environment variable cannot be used
├── EventRejected                    one event cannot be kept; carries the reason that `dropped` counts it under
└── SpoolError
    ├── QueueFull                    no slot is free, and nothing may be evicted for this event
    ├── Purged                       the open segment was deleted by an opt-out or an erasure
    ├── ClaimLost                    the claimed segment was deleted while its batch was on the way
    └── LockTimeout                  somebody else kept a lock for longer than we may wait

Failures of the disk stay `OSError`: what to do about them depends on the operation, not on a class of ours.
"""

from __future__ import annotations


class TelemetryError(Exception):
    """Base of everything this package raises on its own account."""


class ConfigurationError(TelemetryError, ValueError):
    """An argument or environment variable cannot be used; the message names it and says what would be right."""


class EventRejected(TelemetryError):  # noqa: N818  # the name says what happened to the event, as the ledger does
    """One event cannot be kept.

    Attributes:
        reason: the key of `Stats.dropped` that counts it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SpoolError(TelemetryError):
    """Base of what the spool reports to its two users, the client and the sender."""


class QueueFull(SpoolError):  # noqa: N818  # a state, like `queue.Full`
    """No slot is free, and nothing may be evicted for this event."""


class Purged(SpoolError):  # noqa: N818  # a state
    """The open segment was deleted: read consent and client id again before the next event."""


class ClaimLost(SpoolError):  # noqa: N818  # a state
    """The claimed segment was deleted by a purge: stop sending what is left of it."""


class LockTimeout(SpoolError):  # noqa: N818  # a state, like `TimeoutError`
    """Somebody else kept a lock for longer than we may wait."""
