"""A forward proxy and a private certificate authority, both real, for the tests of what the environment names."""

from __future__ import annotations

import base64
import contextlib
import shutil
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from tests.wire import ask, listening, read_request, tunnel

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

#: A server that does not exist: who asks for it without the proxy does not reach it.
NAME: Final = "telemetry.example"
PASSWORD: Final = "pa55w0rd"


class Proxy:
    """A forward proxy that takes every name for one port of this machine: see `running`.

    Args:
        port: where everything ends.
        says: answered instead, if there is anything.
    """

    def __init__(self, port: int, says: bytes = b"") -> None:
        self.port = 0
        self.requests: list[bytes] = []
        self._target = port
        self._says = says

    @contextlib.contextmanager
    def running(self) -> Generator[Proxy]:
        """Listen."""
        with listening(self._handle) as self.port:
            yield self

    @property
    def url(self) -> str:
        """What the variable holds, with a user and a password."""
        return f"http://user:{PASSWORD}@127.0.0.1:{self.port}"

    def _handle(self, connection: socket.socket) -> None:
        request = read_request(connection)
        self.requests.append(request)
        method, target, _ = request.partition(b"\r\n")[0].decode().split(" ")
        credentials = base64.b64encode(f"user:{PASSWORD}".encode())
        if self._says:
            connection.sendall(self._says)
        elif b"proxy-authorization: basic " + credentials.lower() not in request.lower():
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif method == "CONNECT":
            with socket.create_connection(("127.0.0.1", self._target)) as upstream:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                tunnel(connection, upstream)
        else:
            host, path = urlsplit(target).netloc, urlsplit(target).path
            assert host == NAME
            connection.sendall(ask_locally(self._target, request.replace(target.encode(), path.encode(), 1)))


def ask_locally(port: int, request: bytes) -> bytes:
    """Ask the collector, which wants to be called by a name of this machine."""
    return ask(port, request.replace(f"Host: {NAME}".encode(), b"Host: localhost", 1))


class Authority(NamedTuple):
    """A private certificate authority, and a certificate of it for `NAME` and this machine."""

    place: Path

    @property
    def file(self) -> str:
        """What `SSL_CERT_FILE` may name."""
        return str(self.place / "ca.pem")

    @property
    def directory(self) -> str:
        """What `SSL_CERT_DIR` may name."""
        return str(self.place / "directory")

    def context(self) -> ssl.SSLContext:
        """Return what the server needs."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.place / "leaf.pem", self.place / "leaf.key")
        return made


OPENSSL_SETTINGS = f"""
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[leaf]
subjectAltName = DNS:{NAME}, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def _openssl(place: Path, *arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], cwd=place, check=True, capture_output=True, text=True).stdout


def make_authority(place: Path) -> Authority:
    """Make certificates that are good for two days, with the `openssl` command."""
    (place / "settings").write_text(OPENSSL_SETTINGS)
    common = ["req", "-x509", "-config", "settings", "-days", "2", "-nodes"]
    common += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    _openssl(place, *common, *["-extensions", "ca", "-subj", "/CN=Private", "-keyout", "ca.key", "-out", "ca.pem"])
    leaf = f"-extensions leaf -CA ca.pem -CAkey ca.key -subj /CN={NAME} -keyout leaf.key -out leaf.pem"
    _openssl(place, *common, *leaf.split())
    (place / "directory").mkdir()
    fingerprint = _openssl(place, "x509", "-hash", "-noout", "-in", "ca.pem").strip()
    shutil.copy(place / "ca.pem", place / "directory" / f"{fingerprint}.0")
    return Authority(place)
