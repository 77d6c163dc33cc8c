"""`_config`: where things are and what URLs, keys and numbers may look like. Nothing here creates a file."""

from __future__ import annotations

import os
import pwd
import sys
from typing import TYPE_CHECKING, NoReturn

import pytest

from producttelemetry import _config
from producttelemetry._config import Environment, Paths
from producttelemetry._errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

BASE = "https://api.example.com/api"


@pytest.mark.skipif(sys.platform != "linux", reason="the places are Linux's")
def test_places_on_linux(home: Path) -> None:
    """Everything of a project lies in `~/.config/producttelemetry/<slug>/`, and is private to the slug."""
    project = _config.paths("tool")
    directory = f"{home}/.config/producttelemetry/tool"
    assert Paths(directory, (f"{directory}/config.json",)) == project
    assert f"{directory}/client_id" == project.client_id
    assert f"{directory}/spool/v1" == project.spool
    assert [] == list(home.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="the variable is Linux's")
def test_the_literal_place_counts_on_every_platform(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the platform's place is another one, its files are used, and the literal `config.json` is honoured too."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    directory = "/elsewhere/producttelemetry/tool"
    files = (f"{directory}/config.json", f"{home}/.config/producttelemetry/tool/config.json")
    assert Paths(directory, files) == _config.paths("tool")


@pytest.mark.skipif(sys.platform != "linux", reason="the variables are Linux's")
@pytest.mark.parametrize("xdg", [None, "", "relative", "~/x"])
def test_without_a_home_there_is_no_place(tmp_path: Path, xdg: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no home gets no directory called `~` or the like, but a place where nothing can be stored."""

    def nobody(_: int) -> NoReturn:
        raise KeyError("no such user")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    if xdg is not None:
        monkeypatch.setenv("XDG_CONFIG_HOME", xdg)
    before = sorted(tmp_path.rglob("*"))
    project = _config.paths("tool")
    assert [] == _config.read_config_files(project)
    with pytest.raises(OSError, match="no-home"):
        os.makedirs(project.config_dir)
    assert "" == _config.user()[0]
    assert before == sorted(tmp_path.rglob("*"))


def test_a_destination_is_named_by_server_and_key() -> None:
    """Each pair of URL and key has a directory of its own, always the same, which tells nothing about the key."""
    project = Paths("/c", ())
    pairs = [(BASE, "secret"), (BASE, "secret2"), ("https://b/api", "secret"), ("https://b/api", "")]
    found = [project.destination(*pair) for pair in pairs]
    assert len(pairs) == len(set(found))
    assert found == [project.destination(*pair) for pair in pairs]
    assert "/c/spool/v1/36f9dc610703b215" == found[0], "another digest is another queue: events would be left behind"


def test_the_environment_is_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call sees the variables of now; empty ones are none; the write key is not in the text of the result."""
    assert Environment(None, None, "", "") == _config.environment()
    values = {"OPS_WRITE_KEY": "secret", "OPS_API_URL": "https://a", "DO_NOT_TRACK": "x", "OPS_TELEMETRY": "log"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    found = _config.environment()
    assert Environment("secret", "https://a", "x", "log") == found
    assert "secret" not in f"{found} {found!r}"
    monkeypatch.setenv("OPS_WRITE_KEY", "")
    monkeypatch.setenv("OPS_API_URL", "")
    assert (None, None) == _config.environment()[:2]


@pytest.mark.parametrize("name", ["CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "TF_BUILD", "JENKINS_URL"])
@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("1", True), ("x", True), ("", False), ("False", False)]
)
def test_continuous_integration(name: str, value: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CI service is known by its variable, unless that says no."""
    assert not _config.in_ci()
    monkeypatch.setenv(name, value)
    assert expected is _config.in_ci()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"USER": "me"}, ("me", "home")),
        ({"LOGNAME": "me"}, ("me", "home")),
        ({"USERNAME": "me", "USER": "me"}, ("me", "home")),
        ({"USER": "root", "SUDO_USER": "me"}, ("root", "me", "home")),
        ({"USER": "root", "DOAS_USER": "me"}, ("root", "me", "home")),
        ({"USER": ""}, ("home",)),
        ({}, ("home",)),
    ],
)
def test_the_user(
    variables: dict[str, str], expected: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Home and names of the user are what must be taken out of paths: whoever they are, and whoever called `sudo`."""
    for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER", "DOAS_USER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (str(home), expected) == _config.user()


# --- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.com", BASE),
        ("https://api.example.com/", BASE),
        ("https://api.example.com//", BASE),
        ("https://api.example.com/api", BASE),
        ("https://api.example.com/api/", BASE),
        ("https://api.example.com/v1", "https://api.example.com/v1/api"),
        ("https://api.example.com/v1/api/", "https://api.example.com/v1/api"),
        ("https://api.example.com/api/v1", "https://api.example.com/api/v1/api"),
        ("https://api.example.com/myapi", "https://api.example.com/myapi/api"),
        ("https://api", "https://api/api"),
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765/api"),
        ("http://[::1]:8765/", "http://[::1]:8765/api"),
        ("http://user:p%40ss@host", "http://user:p%40ss@host/api"),
    ],
)
def test_urls_are_normalised(url: str, expected: str) -> None:
    """The base has no trailing slash and ends in one `/api`, whether it was given with it or not."""
    assert expected == _config.check_url(url, "api_url")
    assert expected == _config.check_url(expected, "api_url"), "normalising again must not change anything"


@pytest.mark.parametrize("url", ["http://host/?key=secret", "http://host/#secret", "http:///secret@host:x"])
def test_a_wrong_url_that_may_hold_a_secret_is_not_shown(url: str) -> None:
    """A key sometimes stands in a URL: the argument is named, the value is not."""
    with pytest.raises(ConfigurationError, match="api_url") as caught:
        _config.check_url(url, "api_url")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("", " ", "api.example.com", "//host", "/api", "https://", "https:///api", "https:host", "http://:80"),
        *("ftp://host", "file:///etc", "javascript:x", "http://host:port", "http://host:99999", "http://host:-1"),
        *("http://host:0", "http://[::1", "http://ho st", " http://host", "http://host\n", "http://h\u00f6st"),
        *("http://ho\tst", "http://host/\0"),
    ],
)
def test_wrong_urls_are_named(url: str) -> None:
    """What is no http(s) URL with a host is refused; the message names the argument, what is right, and the value."""
    with pytest.raises(ConfigurationError, match=r"^api_url must be a URL like https://") as caught:
        _config.check_url(url, "api_url")
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://me:hunter2@host", "https://me:hunter2@host:port", "https://me:hunter2@", "@hunter2"]
)
def test_a_password_in_a_wrong_url_is_not_shown(url: str) -> None:
    """A message about a URL with a password does not repeat it, nor does what stays visible of a right one."""
    with pytest.raises(ConfigurationError) as caught:
        _config.check_url(url, "api_url")
    assert "hunter2" not in str(caught.value)
    assert "https://host:1/api" == _config.without_password("https://me:hunter2@host:1/api")
    assert BASE == _config.without_password(BASE)


@pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "k\u00e9y", "a\0", "\x7f", "https://host"])
def test_a_wrong_key_is_named_and_not_shown(key: str) -> None:
    """A key that no header can hold is refused, and so is a URL, without repeating what was given."""
    with pytest.raises(ConfigurationError, match=r"^write_key must be ") as caught:
        _config.check_key(f"hunter2{key}" if key else key, "write_key")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("slug", ["a", "A-b_9", "-", "default"])
def test_slugs(slug: str) -> None:
    """Letters, digits, `_` and `-` are a slug."""
    assert slug == _config.check_slug(slug)


@pytest.mark.parametrize(
    "slug", ["", ".", "..", "a/b", "a\\b", "a b", "a\n", "\u00e4", "a.b", "\N{ARABIC-INDIC DIGIT ONE}"]
)
def test_wrong_slugs_are_named(slug: str) -> None:
    """What could leave the directory, or is spelt differently somewhere, is no slug."""
    with pytest.raises(ConfigurationError, match=r"^project_slug must consist of letters") as caught:
        _config.check_slug(slug)
    assert repr(slug) in str(caught.value)
