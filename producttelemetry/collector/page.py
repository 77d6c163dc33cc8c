"""The page at `/`: plain files in `assets/`, served as they lie there.

They are read when the application is made, and nothing but what was found then is ever served: a path that a request
names opens no file. The policy lets the page load its own scripts and styles, talk to this server, and nothing else;
no markup can become a script, and `require-trusted-types-for` makes the browser refuse code of ours that would put
text into the page as markup. What the page shows came from anywhere.
"""

from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A page of the last release must not talk to this one.
    "Cache-Control": "no-store",
}

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def routes() -> list[Route]:
    """Return the routing table: `/` and `/assets/…`."""
    folder = resources.files(__name__.rpartition(".")[0]) / "assets"
    files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if _suffix(entry.name) in _TYPES}
    table = [_route(f"/assets/{name}", name, content) for name, content in files.items() if name != "index.html"]
    return [_route("/", "index.html", files["index.html"]), *table]


def _route(path: str, name: str, content: bytes) -> Route:
    async def answer(_: Request) -> Response:
        return Response(content, media_type=_TYPES[_suffix(name)], headers=HEADERS)

    return Route(path, answer)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
