"""Who may talk to the collector: the rules that keep a local server local.

The control routes have no key. What protects them is that only this machine reaches them, and a browser on this
machine must not become the way in:

1. **Host.** A page whose name an attacker resolves to 127.0.0.1 (DNS rebinding) is same-origin to the browser, but it
   still sends the attacker's name in `Host`. Only loopback names pass.
2. **Origin.** A page of another site may send simple requests without asking first. Browsers put the site's origin on
   those that may change something, and `Sec-Fetch-Site` on all. Only our own origin passes; of reads from elsewhere
   (an image, a script, a frame, whose answer that page does not get to see, but could time) none, except that a link
   may lead to `/`. Programs that are no browsers send neither header.
3. **Peer.** When the server listens on more than loopback, the control routes stay with the machine itself.

The protocol routes (below `/api/`) need the first rule only, and not even that where the server was bound to a public
address on purpose: their key is a custom header, which no foreign page can send without a CORS permission that this
server never gives.
"""

import re
from ipaddress import ip_address
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

#: Everything below is spoken to by the SDK; everything else is control.
PROTOCOL_PREFIX: Final = "/api/"

#: What `Sec-Fetch-Site` says of our own page, and of an address that was typed. Another port is another site.
_OWN_SITES: Final = frozenset({"same-origin", "none"})

_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]@/]+))(?::[0-9]{1,5})?")


def is_loopback(host: str) -> bool:
    """Tell whether a host, a name or an address without port and brackets, is certainly this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def objection(scope: Scope, *, any_host: bool) -> str | None:
    """Say why a request is refused; `None` lets it pass.

    Args:
        scope: the ASGI scope of an HTTP request.
        any_host: whether protocol routes may be asked for under any name.
    """
    headers = Headers(scope=scope)
    is_protocol = scope["path"].startswith(PROTOCOL_PREFIX)
    host = headers.get("host", "")
    if not (is_protocol and any_host) and not _names_loopback(host):
        return "the Host header does not name this machine"
    if is_protocol:
        return None
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"{scope['scheme']}://{host}".lower():
        return "control requests from other sites are refused"
    if headers.get("sec-fetch-site", "none") not in _OWN_SITES and not _is_link(scope, headers):
        return "control requests from other sites are refused"
    client = scope["client"]
    if client is None or not is_loopback(client[0]):
        return "control requests from other machines are refused"
    return None


def _is_link(scope: Scope, headers: Headers) -> bool:
    """Tell whether somebody follows a link to the page: it opens in a tab of its own, where nobody else looks in."""
    return (scope["path"], headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
        "/",
        "navigate",
        "document",
    )


def _names_loopback(header: str) -> bool:
    match = _HOST.fullmatch(header)
    return match is not None and is_loopback(match["v6"] or match["name"])


class Guard:
    """ASGI middleware that answers 403 to what `objection` objects to.

    Args:
        app: the application behind it.
        any_host: as for `objection`.
    """

    def __init__(self, app: ASGIApp, *, any_host: bool) -> None:
        self._app = app
        self._any_host = any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        reason = objection(scope, any_host=self._any_host) if scope["type"] == "http" else None
        if reason is None:
            await self._app(scope, receive, send)
        else:
            await JSONResponse({"error": reason}, 403)(scope, receive, send)
