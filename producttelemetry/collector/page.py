"""The page at `/`: what this server is, where to look, and the counters. Self-contained: no script, nothing fetched."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

#: Nothing may be loaded, no other site may frame it, and nobody keeps yesterday's numbers.
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

_ROUTES: Final = (
    ("POST /api/ingest", "events from the SDK"),
    ("POST /api/identify", "a client becomes a user"),
    ("DELETE /api/gdpr/delete-self", "erasure of a client"),
    ("GET /events", "accepted events; filters name, type, client_id, after, limit"),
    ("GET /rejected", "refused events and why"),
    ("GET /counts", "the numbers on this page"),
    ("GET /requests", "the last protocol requests"),
    ("GET, PUT, DELETE /faults", "make the server fail"),
    ("POST /reset", "forget everything"),
    ("GET /health", "is it up"),
)

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>producttelemetry collector</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem }}
th {{ text-align: left; font-weight: normal; padding-right: 2rem }}</style>
</head>
<body>
<h1>producttelemetry collector</h1>
<p>A local server for product telemetry under development. It keeps what your program sends on this machine.</p>
<h2>Counts</h2>
<table>
{counts}
</table>
<h2>Routes</h2>
<table>
{routes}
</table>
</body>
</html>
"""


def render(counts: Mapping[str, int]) -> str:
    """Return the page.

    Args:
        counts: the numbers to show, by their names.
    """
    return _PAGE.format(counts=_rows(counts.items()), routes=_rows(_ROUTES))


def _rows(pairs: Iterable[tuple[str, object]]) -> str:
    return "\n".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in pairs)
