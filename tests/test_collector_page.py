"""The files of the collector's page, as they are served. What the page does is in `test_page.py`."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

from tests import collector_support

if TYPE_CHECKING:
    import httpx

running = collector_support.running
collector = collector_support.collector
client = collector_support.client

ASSETS = resources.files("producttelemetry.collector") / "assets"


def test_the_page_may_do_nothing_but_talk_to_its_server(client: httpx.Client) -> None:
    """The policy allows no inline code, no other host, no frame, no markup out of text, and nothing is cached."""
    for path in ("/", "/assets/main.js"):
        answer = client.get(path)
        assert 200 == answer.status_code
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'" in policy
        assert "unsafe" not in policy
        assert ("nosniff", "no-store") == (answer.headers["x-content-type-options"], answer.headers["cache-control"])


def test_everything_the_page_asks_for_is_there(client: httpx.Client) -> None:
    """All that the files refer to is served with its type, and each file is referred to."""
    page = client.get("/").text
    found = set(re.findall(r'(?:href|src)="/assets/([^"]+)"', page))
    for name in [entry.name for entry in ASSETS.iterdir()]:
        found |= set(re.findall(r'^import .* from "\./([^"]+)";$', (ASSETS / name).read_text(), re.MULTILINE))

    assert found == {entry.name for entry in ASSETS.iterdir()} - {"index.html"}
    types = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    for name in found:
        assert client.get(f"/assets/{name}").headers["content-type"].startswith(types[name.rpartition(".")[2]])


def test_no_file_comes_from_elsewhere_or_makes_markup() -> None:
    """No address of another host stands in the files, and no script uses a way from text to markup or code."""
    for entry in ASSETS.iterdir():
        text = entry.read_text().replace('"http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|\b(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|\beval\(", text)
        assert not re.search(r"<script(?! type=\"module\" src)|<style|\son\w+=|\sstyle=", text)


def test_no_other_file_is_served(client: httpx.Client) -> None:
    """A path opens no file: only the names that were found at the start are there."""
    for path in ("/assets/", "/assets/index.html", "/assets/..%2fpage.py", "/assets/../page.py", "/assets/%00"):
        assert 404 == client.get(path).status_code
