"""The interactive view belongs to the browser that opened it, and the offline page needs no server at all."""

import contextlib
import io
import logging
import socket
import sys
import threading
import time

import msgspec
import pytest
import viser
import viser._viser
import websockets.exceptions
from helpers import box_mesh
from websockets.sync.client import connect

from pipelines.views.serving import ViewError, check_address, is_trusted, serve
from pipelines.views.viewer import write_scene_html
from scenegraph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import BuildingNode

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def graph():
    graph = SceneGraph(nyu40(), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    graph.add(BuildingNode())
    return graph


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def port(graph):
    """Of a running view."""
    port = free_port()
    with contextlib.redirect_stdout(io.StringIO()):
        server = serve(box_mesh(), graph, host=HOST, port=port)
    yield port
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def page_of(port, *, origin, host=HOST):
    """A connection as a browser opens it for a page of that origin, to a name that stands for this machine."""
    return connect(
        f"ws://{host}:{port}",
        sock=socket.create_connection((HOST, port)),
        origin=origin,
        subprotocols=[f"viser-v{viser.__version__}"],
        max_size=None,
        compression=None,
    )


def received(port, *, origin, host=HOST):
    """What a page of that origin gets within a second of connecting: bytes of the scene, or nothing where it is refused."""
    with page_of(port, origin=origin, host=host) as page:
        total, code = 0, None
        with contextlib.suppress(TimeoutError):
            try:
                while True:
                    total += len(page.recv(timeout=1.0))
            except websockets.exceptions.ConnectionClosed as closed:
                code = closed.rcvd.code
    assert code in (None, 1008)
    return total


def test_its_own_page_gets_the_scene(port):
    assert received(port, origin=f"http://{HOST}:{port}") > 1000


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None, "http://127.0.0.1", "http://127.0.0.1:1"])
def test_pages_of_others_get_nothing(port, origin):
    assert received(port, origin=origin) == 0


@pytest.mark.parametrize("origin", ["http://evil.example:{port}", "http://127.0.0.1:{port}"])
def test_names_of_others_get_nothing(port, origin):
    """A site's name that was made to stand for this machine (DNS rebinding), also where the page claims to be ours."""
    assert received(port, origin=origin.format(port=port), host="evil.example") == 0


@pytest.mark.parametrize(
    ("hosts", "origins", "trusted"),
    [
        (["localhost:8080"], ["http://localhost:8080"], True),
        (["127.0.0.1:8080"], ["http://127.0.0.1:8080"], True),
        (["[::1]:8080"], ["http://[::1]:8080"], True),
        (["map.lan:8080"], ["http://map.lan:8080"], True),  # what --host says
        (["localhost:9000"], ["http://localhost:9000"], True),  # through a tunnel of ssh
        (["evil.example:8080"], ["http://evil.example:8080"], False),  # a name that now stands for this machine
        (["localhost.evil.example"], ["http://localhost.evil.example"], False),
        (["localhost:8080"], ["http://evil.example"], False),
        (["localhost:8080"], [], False),
        ([], ["http://localhost:8080"], False),
        (["localhost:8080", "evil.example"], ["http://localhost:8080"], False),
        (["localhost:8080"], ["http://localhost:8080", "http://evil.example"], False),
        (["localhost:8080"], ["http://localhost:8080@evil.example"], False),
        (["[::1"], ["http://[::1"], False),
    ],
)
def test_who_is_trusted(hosts, origins, trusted):
    assert is_trusted(hosts, origins, "map.lan") == trusted


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:{port}", HOST),
        ("https://evil.example", HOST),
        ("http://evil.example:{port}", "evil.example"),
    ],
)
def test_nobody_can_make_it_public(port, monkeypatch, origin, host):
    opened = []
    monkeypatch.setattr(viser._viser, "ViserTunnel", lambda *_: opened.append(1))
    with (
        page_of(port, origin=origin.format(port=port), host=host) as page,
        contextlib.suppress(websockets.exceptions.ConnectionClosed),
    ):
        for kind in ("ShareUrlRequest", "ShareUrlDisconnect"):
            page.send(msgspec.msgpack.encode({"type": kind}))
        time.sleep(0.5)
    assert opened == []


def test_garbage_is_ignored_in_silence(port, capfd, caplog):
    for garbage in (
        "text",
        b"",
        b"\xc1\xff",
        msgspec.msgpack.encode({"type": "NoSuchMessage"}),
        msgspec.msgpack.encode([1]),
    ):
        with (
            contextlib.suppress(websockets.exceptions.ConnectionClosed, TimeoutError),
            page_of(port, origin=f"http://{HOST}:{port}") as page,
        ):
            page.send(garbage)
            page.recv(timeout=1.0)
    for junk in (
        b"\x00\xff" * 50,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"",
    ):
        with socket.create_connection((HOST, port), timeout=2) as raw:
            raw.sendall(junk)
    time.sleep(0.3)
    assert "Traceback" not in "".join(capfd.readouterr()) + caplog.text
    assert received(port, origin=f"http://{HOST}:{port}") > 1000  # it still serves


def test_a_port_in_use_is_said(graph):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        for start in (lambda: check_address(HOST, port), lambda: serve(box_mesh(), graph, host=HOST, port=port)):
            with pytest.raises(
                ViewError, match=rf"--port {port}: cannot be used on 127\.0\.0\.1 \(Address already in use\)"
            ):
                start()


def test_another_program_may_be_faster(graph, monkeypatch):
    """The port is taken between the look at it and the server's start: viser would use the next one."""
    monkeypatch.setattr("pipelines.views.serving.check_address", lambda host, port: None)
    with socket.socket() as other, contextlib.redirect_stdout(io.StringIO()):
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ViewError, match=rf"--port {port}: is in use"):
            serve(box_mesh(), graph, host=HOST, port=port)


def test_the_offline_page_is_written_without_a_server_and_in_silence(graph, tmp_path, monkeypatch, capfd):
    def refuse(*_):
        raise AssertionError("nothing may listen")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "listen", refuse)
    before = sys.stdout
    threads = [
        threading.Thread(target=write_scene_html, args=(box_mesh(), graph, tmp_path / f"{i}.html")) for i in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is before
    assert "".join(capfd.readouterr()) == ""
    pages = {(tmp_path / f"{i}.html").read_bytes() for i in range(3)}
    assert len(pages) == 1
    assert b"__VISER_EMBED_DATA__" in pages.pop()


def test_noisy_loggers_are_quiet(port):
    assert not logging.getLogger("websockets.server").isEnabledFor(logging.ERROR)
