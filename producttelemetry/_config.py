"""The only reader of the environment, of `platformdirs` and of `config.json`; all paths of a project in one value.

Nothing here creates a file or decides anything: `_consent` draws the conclusion from what is read.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from ._errors import ConfigurationError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

#: The file in the directory of a test to which every process of it appends what it has tracked. The test creates it:
#: where it is gone, the test is over, and nothing is stored.
TRACKED: Final = "tracked.jsonl"
#: What `api_url` is by default, as a base of requests.
DEFAULT_API_BASE: Final = "https://api.producttelemetry.com/api"
#: The config directory of a user without a home: whatever is tried below it fails, as on a broken disk.
NOWHERE: Final = os.path.join(os.devnull, "no-home")
#: Version of the spool's format, a part of its path: another version is another directory.
SPOOL_VERSION: Final = "v1"

_SLUG: Final = re.compile(r"[A-Za-z0-9_-]+")
#: What may stand in an HTTP header value: visible ASCII. Anything else would make every request fail.
_KEY: Final = re.compile(r"[!-~]+")
#: Variables that continuous integration services set; a job's end kills what is still running.
_CI_VARIABLES: Final = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "TEAMCITY_VERSION", "TF_BUILD", "JENKINS_URL")
#: Largest number argument: a thread cannot wait for much longer, in seconds.
_MOST: Final = 10**9
#: What a process or machine is short of for a while.
_SHORTAGES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
#: Where a test's server is: an address, because what a name means can be changed.
_LOOPBACK: Final = ("127.0.0.1", "::1")
#: Longest `config.json` that is looked at.
_CONFIG_BYTES: Final = 1 << 16
_FALSE: Final = frozenset(("", "0", "false", "no", "off"))
#: Characters of a wrong value that a message shows.
_SHOWN: Final = 100


class Environment(NamedTuple):
    """The variables that matter, as the process has them now.

    Attributes:
        write_key: `OPS_WRITE_KEY`, or None.
        api_url: `OPS_API_URL`, or None.
        do_not_track: `DO_NOT_TRACK`, or "".
        telemetry: `OPS_TELEMETRY`, or "".
        test_dir: `OPS_TEST_DIR`, which `producttelemetry.testing` sets: everything lies there, also what children of
            the test track, and no file of the user's is looked at; or None.
        test_base: from `OPS_TEST_URL`, base of all requests of a test, to a server on this machine; or None.
    """

    write_key: str | None
    api_url: str | None
    do_not_track: str
    telemetry: str
    test_dir: str | None = None
    test_base: str | None = None

    @property
    def captured(self) -> bool:
        """Whether a test looks at what is tracked, and nothing may be sent."""
        return self.test_dir is not None and self.test_base is None

    def admits(self, api_base: str, test_dir: str | None) -> bool:
        """Whether requests may go there.

        In a test they go to its own server alone, whatever a client was told; and who was made in a test, or outside
        of it, sends nothing in another.
        """
        return self.test_dir == test_dir and (test_dir is None or self.test_base == api_base)

    def __repr__(self) -> str:
        """Leave out what must not appear in a log or a crash report."""
        return f"Environment(do_not_track={self.do_not_track!r}, telemetry={self.telemetry!r})"


class ConfigFile(NamedTuple):
    """One `config.json`.

    Attributes:
        path: where it is, or would be.
        content: what it holds; None if nobody can tell. A file that does not exist is not listed at all.
        passing: nobody can tell now, for a reason that has nothing to do with the file.
    """

    path: str
    content: bytes | None
    passing: bool = False


class Paths(NamedTuple):
    """Where everything of one project lies.

    Attributes:
        config_dir: the project's directory; `NOWHERE` if the user has no home.
        config_files: every `config.json` that is honoured.
    """

    config_dir: str
    config_files: tuple[str, ...]

    @property
    def client_id(self) -> str:
        """The file that holds this installation's UUID."""
        return os.path.join(self.config_dir, "client_id")

    @property
    def former(self) -> str:
        """The directory of `ptelemetry`, the SDK before this one: `~/.config/...` on every platform."""
        return os.path.dirname(self.config_files[-1]) if self.config_files else self.config_dir

    @property
    def former_events(self) -> str:
        """The file that `ptelemetry` leaves events in; see `_migration`."""
        return os.path.join(self.former, "pending_events.json")

    @property
    def spool(self) -> str:
        """The directory above all destinations."""
        return os.path.join(self.config_dir, "spool", SPOOL_VERSION)

    def destination(self, api_base: str, write_key: str) -> str:
        """Return the spool directory for one server and key.

        Two tools that share a slug must not send each other's events, so both are in the name; as a digest, because the
        key itself must not be on disk.
        """
        from hashlib import sha256  # noqa: PLC0415  # 3 ms that a disabled client need not spend

        digest = sha256(f"{api_base}\n{write_key}".encode()).hexdigest()
        return os.path.join(self.spool, digest[:16])


def environment() -> Environment:
    """Read the environment."""
    return Environment(
        os.environ.get("OPS_WRITE_KEY") or None,
        os.environ.get("OPS_API_URL") or None,
        os.environ.get("DO_NOT_TRACK", ""),
        os.environ.get("OPS_TELEMETRY", ""),
        test_dir(),
        _test_base(),
    )


def _test_base() -> str | None:
    """Return the base of a test's requests; None for a server elsewhere: the variable would lead past an opt-out."""
    given = os.environ.get("OPS_TEST_URL")
    if not given:
        return None
    try:
        base = check_url(given, "OPS_TEST_URL")
    except ConfigurationError:
        return None
    return base if _split(base).hostname in _LOOPBACK else None


def test_dir() -> str | None:
    """Return `OPS_TEST_DIR`, or None outside of a test; nowhere if it is no absolute path."""
    given = os.environ.get("OPS_TEST_DIR") or None
    return given if given is None or os.path.isabs(given) else NOWHERE


def in_ci() -> bool:
    """Whether this process runs in continuous integration."""
    return any(os.environ.get(name, "").strip().lower() not in _FALSE for name in _CI_VARIABLES)


def user() -> tuple[str, tuple[str, ...]]:
    """Return (home directory, user names), empty where they are unknown: what must not leave the machine in a path."""
    home = os.path.expanduser("~")
    if home == "~":
        home = ""
    # All of them: under sudo, and with a home that is somewhere else, they differ.
    names = [os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER", "DOAS_USER")]
    return home, tuple(dict.fromkeys(name for name in (*names, os.path.basename(home)) if name))


def paths(project_slug: str) -> Paths:
    """Return the paths of a project. Creates nothing."""
    if (test := test_dir()) is not None:
        place = os.path.join(test, "config", project_slug)  # where no client outside of a test would look
        return Paths(place, (os.path.join(place, "config.json"),))
    from platformdirs import user_config_path  # noqa: PLC0415  # 20 ms that a disabled client need not spend

    try:
        directory = str(user_config_path("producttelemetry", appauthor=False) / project_slug)
    except (RuntimeError, KeyError, OSError):  # no home directory
        directory = NOWHERE
    if not os.path.isabs(directory):  # an unexpanded "~" would become a directory of that name
        directory = NOWHERE
    literal = os.path.expanduser(os.path.join("~", ".config", "producttelemetry", project_slug))
    places = [place for place in (directory, literal) if os.path.isabs(place)]
    return Paths(directory, tuple(dict.fromkeys(os.path.join(place, "config.json") for place in places)))


def read_config_files(project: Paths) -> list[ConfigFile]:
    """Read every `config.json` there is. One that exists perhaps, but cannot be read, has no content."""
    found: list[ConfigFile] = []
    for path in project.config_files:
        try:
            found.append(ConfigFile(path, _read_config(path)))
        except (FileNotFoundError, NotADirectoryError):
            if _hangs_in_the_air(path):
                found.append(ConfigFile(path, None))
        except OSError as error:
            found.append(ConfigFile(path, None, passing=error.errno in _SHORTAGES))
    return found


def choices_made(project: Paths) -> list[tuple[int, int, int] | None]:
    """Return what is another value after somebody has written a `config.json`, if with the same content."""
    made: list[tuple[int, int, int] | None] = []
    for path in project.config_files:
        try:
            status = os.stat(path)
        except OSError:
            made.append(None)
        else:
            made.append((status.st_dev, status.st_ino, status.st_mtime_ns))
    return made


def _read_config(path: str) -> bytes | None:
    """Read a `config.json`; links are followed, for users keep such files elsewhere. A long one is none of ours."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe must not make us wait
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = os.read(descriptor, _CONFIG_BYTES + 1)
        return content if len(content) <= _CONFIG_BYTES else None
    finally:
        os.close(descriptor)


def _hangs_in_the_air(path: str) -> bool:
    """Whether a link on the way leads nowhere, to a disk that is not mounted perhaps: who knows what is there."""
    while (parent := os.path.dirname(path)) != path:
        if os.path.islink(path) and not os.path.exists(path):
            return True
        path = parent
    return False


def check_slug(value: object) -> str:
    """Return a project slug, or raise `ConfigurationError` naming it."""
    if not isinstance(value, str):
        raise TypeError(f"project_slug must be a str, not {type(value).__name__}")
    if not _SLUG.fullmatch(value):
        raise ConfigurationError(f"project_slug must consist of letters, digits, '_' and '-', not {value!r}")
    return value


def check_key(value: object, name: str) -> str:
    """Return a write key, or raise an error that names the argument and never the key."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not _KEY.fullmatch(value):
        raise ConfigurationError(f"{name} must be visible ASCII characters without spaces; the one given is not")
    if "://" in value:  # then api_url may hold the key, and must not be shown
        raise ConfigurationError(f"{name} must be a key, and the one given is a URL")
    return value


def check_url(value: object, name: str) -> str:
    """Return the base of all requests for an API URL: no trailing slash, and ending in `/api`.

    Raises:
        TypeError, ConfigurationError: it is not an http(s) URL with a host. A password in it is not shown.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    try:
        parts = _split(value)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, valid = None, False
    if not valid or parts is None or parts.query or parts.fragment or not _KEY.fullmatch(value):
        shown = "the one given" if _may_hold_secrets(value) else repr(value)
        raise ConfigurationError(f"{name} must be a URL like https://host or https://host/path, not {shown}")
    base = value.rstrip("/")
    return base if parts.path.rstrip("/").endswith("/api") else f"{base}/api"


def _may_hold_secrets(url: str) -> bool:
    return any(sign in url for sign in "@?#")


def without_password(url: str) -> str:
    """Return a URL that may be shown and stored."""
    if "@" not in url:
        return url
    parts = _split(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _split(url: str) -> SplitResult:
    from urllib.parse import urlsplit  # noqa: PLC0415  # 2 ms that clients without a URL of their own need not spend

    return urlsplit(url)


def check_number(value: object, name: str, least: float, *, whole: bool = False) -> float:
    """Return a number argument, or raise an error that names it and says what would be right."""
    kinds = (int,) if whole else (int, float)
    what = "an int" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name} must be {what}, not {type(value).__name__}")
    if not least <= value <= _MOST:  # also refuses NaN
        raise ConfigurationError(f"{name} must be {what} of at least {least} and at most 10**9, not {_shown(value)}")
    return value


def check_choice(value: object, name: str, choices: tuple[str, ...]) -> None:
    """Raise an error that names the argument if it is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(map(repr, choices))}, not {_shown(value)}")


def _shown(value: object) -> str:
    """Return a wrong value for a message, even one that is endless or fails to print."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # the value's own code; for an int, "Exceeds the limit"
        return f"this {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
