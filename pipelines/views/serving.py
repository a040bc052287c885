"""The interactive view: a server for the browser of this machine's user, and for nobody else's page.

A web page of any site can open a connection to a server on this machine, and a site's name can be made to stand for this machine
(DNS rebinding). So a connection gets the scene only where its page came from this server, under a name of
this machine.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from typing import Any
from urllib.parse import urlsplit

from mapping.mesh.mesh import Mesh
from pipelines.views.viewer import fill_scene
from scenegraph.graph import SceneGraph

NOISY = ("websockets", "asyncio")
"""Loggers that print a traceback for every client that sends something else than viser's messages."""
REFUSED = 1008
"""Code of a websocket that is closed because of a policy (RFC 6455, 7.4.1)."""


class ViewError(ValueError):
    """Raised for a viewer that cannot be started; the message names the option."""


def check_address(host: str, port: int) -> None:
    """Raises ViewError unless this machine can listen there."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise ViewError(f"--port {port}: cannot be used on {host} ({error.strerror}); choose another") from error
        raise ViewError(f"--host {host}: this machine cannot listen there ({error.strerror})") from error


def serve(mesh: Mesh, graph: SceneGraph, *, host: str, port: int) -> Any:
    """Start a viser server with the scene and switches for its layers; returns it (`.stop()` ends it).

    Only pages that it sent itself get the scene, and it never opens a tunnel to the outside. Raises ViewError when the port is
    in use.
    """
    check_address(host, port)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    server = _guarded_server(host, port)
    if server.get_port() != port:  # viser takes the next one where another program was faster
        server.stop()
        raise ViewError(f"--port {port}: is in use on {host}; choose another")
    layers = fill_scene(server, mesh, graph, is_live=True)
    for name, handles in layers.items():
        checkbox = server.gui.add_checkbox(name, initial_value=bool(handles and handles[0].visible))

        def toggle(_: Any, handles: list[Any] = handles, checkbox: Any = checkbox) -> None:
            for handle in handles:
                handle.visible = checkbox.value

        checkbox.on_update(toggle)
    counts = ", ".join(f"{len(graph.nodes(layer))} {layer}s" for layer in ("room", "object", "place", "track"))
    server.gui.add_markdown(f"**{counts}**")
    return server


def _guarded_server(host: str, port: int) -> Any:
    import viser

    class Guarded(viser.ViserServer):  # type: ignore[misc]
        """viser's server, which would open a public tunnel for any client that asks, and show the scene to any page."""

        def __init__(self) -> None:
            super().__init__(host=host, port=port, verbose=False)
            self._websock_server.on_client_connect(self._check)
            self._websock_server.disconnect_all_clients()  # those that came before the check, while there was no scene

        def request_share_url(self, verbose: bool = True) -> None:  # noqa: FBT001, FBT002  viser's signature
            """Never."""

        def disconnect_share_url(self) -> None:
            """There is none."""

        async def _check(self, client: Any) -> None:
            """Called before anything is sent to the client."""
            connection = self._websock_server._live_connections[client.client_id]
            headers = connection.request.headers
            if not is_trusted(headers.get_all("Host"), headers.get_all("Origin"), host):
                await connection.close(REFUSED, "open the address that m2h view prints")

    return Guarded()


def is_trusted(hosts: list[str], origins: list[str], own: str) -> bool:
    """Whether a request, by its Host and Origin headers, is from a page of this server, which listens at the address `own`."""
    if len(hosts) != 1 or len(origins) != 1 or origins[0] not in (f"http://{hosts[0]}", f"https://{hosts[0]}"):
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
