"""The telemetry SDKs, ours and its peers, as the few lines that their documentation has a user write.

The same lines are run as whole programs (start-up, leaving, idling) and called in a loop (`track`). In the loop the
memory-only SDKs are given thresholds of time and number that are never reached, so that they queue and hardly ever
send: that is in their favour. posthog and segment also have a limit in bytes that nobody can set; what they send for it
is counted. Sentry has no thresholds; there its transport is a function that drops, which is the same favour.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ._tables import left_out

if TYPE_CHECKING:
    from collections.abc import Callable

#: What every side's event carries, in JSON about 80 bytes.
SMALL: Final[dict[str, Any]] = {"command": "build", "duration_ms": 12.5, "ok": True, "n": 3, "version": "1.2.3"}
#: Twenty-five properties, in JSON about 2 KB.
LARGE: Final[dict[str, Any]] = {
    f"property_{number:02}": "a value of sixty characters, as paths and versions have them." for number in range(25)
}
#: An hour in milliseconds, and a number of events that no batch reaches.
_NEVER: Final = "flush_at=10**7, flush_interval=3600.0"

OURS: Final = "producttelemetry"


@dataclass(frozen=True)
class Sdk:
    """How a program uses an SDK; `url` and `properties` are variables of the program.

    Attributes:
        module: what has to be installed.
        imports: the import statement.
        construct: makes the client.
        silent: makes a client that sends as rarely as can be.
        track: one event.
        slow: the end of a program takes ten seconds and more for some server; a quick run does without.
    """

    module: str
    imports: str
    construct: str
    silent: str
    track: str
    slow: bool = False

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        return importlib.util.find_spec(self.module.partition(".")[0]) is not None

    def program(self, url: str, properties: dict[str, Any] = SMALL) -> str:
        """Return a program that tracks one event and ends."""
        return f"{self.variables(url, properties)}{self.imports}\n{self.construct}\n{self.track}\n"

    def variables(self, url: str, properties: dict[str, Any] = SMALL) -> str:
        """Return the statements that set the program's variables."""
        return f"url = {url!r}\nproperties = {properties!r}\n"

    def call(self, url: str, properties: dict[str, Any]) -> Callable[[], object]:
        """Import it, make a client that sends as rarely as can be, and return a function that tracks one event."""
        return self.call_of(self.silent, url, properties)

    def call_of(self, construct: str, url: str, properties: dict[str, Any]) -> Callable[[], object]:
        """Import it, make a client in a way of one's own, and return a function that tracks one event."""
        names: dict[str, Any] = {}
        program = f"{self.variables(url, properties)}{self.imports}\n{construct}\ndef call():\n    {self.track}\n"
        exec(program, names)  # the very lines that users write
        call: Callable[[], object] = names["call"]
        return call


SDKS: Final[dict[str, Sdk]] = {
    OURS: Sdk(
        "producttelemetry",
        "from producttelemetry import Telemetry",
        "client = Telemetry('key', url)",
        f"client = Telemetry('key', url, max_queue_size=10**7, on_exit='keep', {_NEVER})",
        "client.track('command.executed', properties)",
    ),
    "ptelemetry": Sdk(
        "ptelemetry",
        "from ptelemetry import Telemetry",
        "client = Telemetry('key', api_url=url)",
        f"client = Telemetry('key', api_url=url, max_queue_size=10**7, {_NEVER})",
        "client.track('command.executed', properties)",
    ),
    "posthog": Sdk(
        "posthog",
        "from posthog import Posthog",
        "client = Posthog('key', host=url)",
        f"client = Posthog('key', host=url, max_queue_size=10**7, {_NEVER})",
        "client.capture('command.executed', distinct_id='user', properties=properties)",
    ),
    "segment": Sdk(
        "segment.analytics",
        "import segment.analytics as analytics",
        "client = analytics.Client('key', host=url)",
        "client = analytics.Client('key', host=url, max_queue_size=10**7, upload_size=10**7, upload_interval=3600.0)",
        "client.track('user', 'command.executed', properties)",
        slow=True,
    ),
    "sentry": Sdk(
        "sentry_sdk",
        "import sentry_sdk",
        "sentry_sdk.init(url.replace('//', '//key@') + '/1')",
        "sentry_sdk.init(url.replace('//', '//key@') + '/1', transport=lambda envelope: None)",
        "sentry_sdk.capture_message('command.executed', extras=properties)",
    ),
    "amplitude": Sdk(
        "amplitude",
        "from amplitude import Amplitude, BaseEvent",
        "client = Amplitude('key'); client.configuration.server_url = url",
        "client = Amplitude('key'); client.configuration.server_url = url; "
        "client.configuration.flush_queue_size = 10**7; client.configuration.flush_interval_millis = 3_600_000",
        "client.track(BaseEvent('command.executed', user_id='user-1', event_properties=properties))",
        slow=True,
    ),
}


def installed() -> dict[str, Sdk]:
    """Return the SDKs that can be imported here."""
    return {name: sdk for name, sdk in SDKS.items() if sdk.installed}


def missing() -> list[str]:
    """Return a note that names the SDKs that are not installed, if there are any."""
    return left_out(SDKS)
