"""The rest of the collector's protocol: the write key, identify and erasure, and what wrong addresses get."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from producttelemetry.collector import Counts, RunningCollector
from tests import collector_support
from tests.collector_support import CLIENT, ingest, make_event, new_client

running = collector_support.running
collector = collector_support.collector
client = collector_support.client


# -- the write key -----------------------------------------------------------------------------------------------------


PROTOCOL_ROUTES: list[tuple[str, str, dict[str, Any], int]] = [
    ("POST", "/api/ingest", {"events": []}, 202),
    ("POST", "/api/identify", {"client_id": CLIENT, "user_id": "ada"}, 200),
    ("DELETE", "/api/gdpr/delete-self", {"client_id": CLIENT}, 202),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), PROTOCOL_ROUTES)
def test_a_write_key_is_required(
    collector: RunningCollector, method: str, path: str, body: dict[str, Any], status: int
) -> None:
    """Each protocol route takes any key but none; nothing happens without one."""
    with new_client(collector, key=None) as anonymous:
        for headers in ({}, {"X-Write-Key": ""}):
            answer = anonymous.request(method, path, json=body, headers=headers)
            assert 401 == answer.status_code
            assert {"error": "the X-Write-Key header is missing"} == answer.json()
        assert Counts() == collector.store.counts()

        assert status == anonymous.request(method, path, json=body, headers={"X-Write-Key": "any"}).status_code


def test_a_given_write_key_must_match() -> None:
    """A collector with a key refuses every other one, also one outside ASCII, and never shows its own."""
    with RunningCollector(write_key="schlüssel") as collector:
        for wrong in (b"other", "schlüsse".encode(), "schlüssel".encode("latin-1")):
            with httpx.Client(base_url=collector.url, headers=[(b"X-Write-Key", wrong)], trust_env=False) as client:
                answer = ingest(client, make_event())
                assert 401 == answer.status_code
                assert {"error": "the X-Write-Key header holds another key"} == answer.json()
        right = [(b"X-Write-Key", "schlüssel".encode())]
        with httpx.Client(base_url=collector.url, headers=right, trust_env=False) as client:
            assert 202 == ingest(client, make_event()).status_code


# -- identify and erasure ----------------------------------------------------------------------------------------------


def test_identify_links_a_client_once(collector: RunningCollector, client: httpx.Client) -> None:
    """The first link says so, the same again does not, another user is a link of its own."""
    link = {"client_id": CLIENT, "user_id": "ada"}

    assert {"linked": True, "created": True} == client.post("/api/identify", json=link).json()
    assert {"linked": True, "created": False} == client.post("/api/identify", json=link).json()
    assert {"linked": True, "created": True} == client.post("/api/identify", json={**link, "user_id": "bob"}).json()

    assert [(CLIENT, "ada"), (CLIENT, "bob")] == collector.store.identities()
    assert Counts(identified=2) == collector.store.counts()


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/identify", {"client_id": CLIENT}, "user_id must be a non-empty string"),
        ("/api/identify", {"client_id": CLIENT, "user_id": ""}, "user_id must be a non-empty string"),
        ("/api/identify", {"client_id": "me", "user_id": "ada"}, "client_id must be a UUID"),
        ("/api/identify", [], "the body must be an object"),
        ("/api/gdpr/delete-self", {}, "client_id must be a UUID"),
    ],
)
def test_malformed_identities_are_refused(
    collector: RunningCollector, client: httpx.Client, path: str, body: object, message: str
) -> None:
    """Identify and erasure refuse what names nobody, with a reason, and do nothing."""
    answer = client.request("POST" if path == "/api/identify" else "DELETE", path, json=body)

    assert 422 == answer.status_code
    assert {"error": message} == answer.json()
    assert Counts() == collector.store.counts()


def test_erasure_removes_one_client_only(collector: RunningCollector, client: httpx.Client) -> None:
    """After the answer nothing of that client is left, everything of the others is, and the request is on record."""
    other = str(uuid.uuid4())
    theirs = make_event(client_id=other)
    ingest(client, make_event(), theirs, make_event(client_id=CLIENT.upper()))
    for client_id in (CLIENT, other):
        client.post("/api/identify", json={"client_id": client_id, "user_id": "ada"})

    answer = client.request("DELETE", "/api/gdpr/delete-self", json={"client_id": CLIENT.title()})

    assert 202 == answer.status_code
    assert {"status": "pending"} == answer.json()
    assert [theirs] == [stored.value for stored in collector.store.events()]
    assert [(other, "ada")] == collector.store.identities()
    assert [CLIENT] == collector.store.deletions()
    counts = collector.store.counts()
    assert Counts(accepted=3, identified=2, deletions=1, erased=2) == counts
    assert 1 == counts.stored


# -- wrong addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/ingest/", 404),
        ("POST", "/api/v2/ingest", 404),
        ("GET", "/api/ingest", 405),
        ("GET", "/nothing", 404),
        ("POST", "/events", 405),
    ],
)
def test_wrong_addresses_are_refused_in_json(client: httpx.Client, method: str, path: str, status: int) -> None:
    """A wrong path or method gets a reason in JSON, and a trailing slash no redirect, which could be a portal's."""
    answer = client.request(method, path)

    assert status == answer.status_code
    assert ["error"] == list(answer.json())
