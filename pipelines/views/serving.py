"""The page of a map for the browser of this machine's user, and for nobody else's page.

A page of any site can ask a server on this machine, and a site's name can be made to stand for this machine (DNS rebinding). So
the map is sent only to requests under a name of this machine, and no other page may read or frame it.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SECONDS_TO_ASK = 10
"""After which a connection that has not sent its request is closed."""
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class ViewError(ValueError):
    """Raised for a viewer that cannot be started; the message names the option."""


class PageServer:
    """Serves one page until `stop`; `address` is where."""

    def __init__(self, page: str, *, host: str, port: int) -> None:
        """Starts listening; raises ViewError where this machine cannot listen there."""
        check_address(host, port)
        content = page.encode()

        class Handler(_PageHandler):
            """Of this page."""

            data = content
            own_name = host

        try:
            self._server = _QuietServer((host, port), Handler)
        except OSError as error:
            raise _view_error(error, host, port) from error
        self.address = f"http://{host}:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def check_address(host: str, port: int) -> None:
    """Raises ViewError unless this machine can listen there."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise _view_error(error, host, port) from error


def _view_error(error: OSError, host: str, port: int) -> ViewError:
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        return ViewError(f"--port {port}: cannot be used on {host} ({error.strerror}); choose another")
    return ViewError(f"--host {host}: this machine cannot listen there ({error.strerror})")


def is_trusted(hosts: list[str], origins: list[str], own: str) -> bool:
    """Whether a request, by its Host and Origin headers, is under a name of this server, which listens at the address `own`.

    A browser sends no Origin when a user opens an address; any other page's script has one.
    """
    if len(hosts) != 1 or len(origins) > 1:
        return False
    if origins and origins[0] not in (f"http://{hosts[0]}", f"https://{hosts[0]}"):
        return False
    try:
        name = urlsplit(f"//{hosts[0]}").hostname or ""
    except ValueError:
        return False
    return name in ("localhost", own.lower(), socket.gethostname().lower()) or _is_address(name)


def _is_address(name: str) -> bool:
    """Whether it is an IP address, which unlike a name stands for one machine alone."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away or sends something else than a request is no news."""


class _PageHandler(BaseHTTPRequestHandler):
    """Answers GET / with the page, and nothing else."""

    data = b""
    own_name = ""
    timeout = SECONDS_TO_ASK
    server_version, sys_version = "m2h", ""

    def do_GET(self) -> None:
        """The page, to whom it may be sent."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """The same without the page."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        if not is_trusted(self.headers.get_all("Host", []), self.headers.get_all("Origin", []), self.own_name):
            self.send_error(HTTPStatus.FORBIDDEN, "open the address that m2h view prints")
            return
        if urlsplit(self.path).path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        if with_body:
            self.wfile.write(self.data)

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: requests are no news."""
