"""The interactive view belongs to the browser that opened it."""

import http.client
import logging
import socket
import threading
import time

import pytest

from pipelines.views.serving import PageServer, ViewError, check_address, is_trusted

HOST = "127.0.0.1"
PAGE = "<!doctype html><title>überall</title>"


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@pytest.fixture
def port():
    """Of a running view."""
    server = PageServer(PAGE, host=HOST, port=free_port())
    yield int(server.address.rpartition(":")[2])
    server.stop()


def answer(port, *, path="/", method="GET", **headers):
    """Status, headers and body."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    found = connection.getresponse()
    body = found.read()
    connection.close()
    return found.status, dict(found.getheaders()), body


def test_the_page_is_sent_to_its_user_and_cannot_be_framed_or_kept(port):
    status, headers, body = answer(port, Host=f"{HOST}:{port}")
    assert (status, body.decode()) == (200, PAGE)
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers
    assert answer(port, method="HEAD", Host=f"{HOST}:{port}")[::2] == (200, b"")


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/manifest.json", "//x", "/?/x/../y", "/%2e%2e/x"])
def test_there_is_nothing_else(port, path):
    status, _, body = answer(port, path=path, Host=f"{HOST}:{port}")
    assert status == (200 if path.startswith("/?") else 404)
    assert b"root:" not in body


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"])
def test_pages_of_others_get_nothing(port, origin):
    status, _, body = answer(port, Host=f"{HOST}:{port}", Origin=origin)
    assert status == 403
    assert PAGE.encode() not in body


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "http://evil.example:{port}"}, {"Origin": "http://127.0.0.1:{port}"}]
)
def test_names_of_others_get_nothing(port, headers):
    """A site's name that was made to stand for this machine (DNS rebinding), also where the page claims to be ours."""
    headers = {name: value.format(port=port) for name, value in headers.items()}
    assert answer(port, Host=f"evil.example:{port}", **headers)[0] == 403


@pytest.mark.parametrize(
    ("hosts", "origins", "trusted"),
    [
        (["localhost:8080"], ["http://localhost:8080"], True),
        (["127.0.0.1:8080"], ["http://127.0.0.1:8080"], True),
        (["127.0.0.1:8080"], [], True),  # a user who opens the address
        (["[::1]:8080"], ["http://[::1]:8080"], True),
        (["map.lan:8080"], ["http://map.lan:8080"], True),  # what --host says
        (["localhost:9000"], ["http://localhost:9000"], True),  # through a tunnel of ssh
        (["evil.example:8080"], ["http://evil.example:8080"], False),  # a name that now stands for this machine
        (["evil.example:8080"], [], False),
        (["localhost.evil.example"], ["http://localhost.evil.example"], False),
        (["localhost:8080"], ["http://evil.example"], False),
        ([], ["http://localhost:8080"], False),
        (["localhost:8080", "evil.example"], ["http://localhost:8080"], False),
        (["localhost:8080"], ["http://localhost:8080", "http://evil.example"], False),
        (["localhost:8080"], ["http://localhost:8080@evil.example"], False),
        (["[::1"], ["http://[::1"], False),
    ],
)
def test_who_is_trusted(hosts, origins, trusted):
    assert is_trusted(hosts, origins, "map.lan") == trusted


def test_garbage_is_ignored_in_silence(port, capfd, caplog):
    with caplog.at_level(logging.DEBUG):
        for junk in (
            b"\x00\xff" * 50,
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500 + b"\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde",
            b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
            b"",
        ):
            with socket.create_connection((HOST, port), timeout=2) as raw:
                raw.sendall(junk)
        time.sleep(0.3)
    assert "Traceback" not in "".join(capfd.readouterr()) + caplog.text
    assert answer(port, Host=f"{HOST}:{port}")[0] == 200  # it still serves


def test_a_slow_client_keeps_nobody_waiting(port):
    with socket.create_connection((HOST, port), timeout=2) as slow:
        slow.sendall(b"GET / HT")
        assert answer(port, Host=f"{HOST}:{port}")[0] == 200


def test_a_port_in_use_is_said():
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        for start in (lambda: check_address(HOST, port), lambda: PageServer(PAGE, host=HOST, port=port)):
            with pytest.raises(
                ViewError, match=rf"--port {port}: cannot be used on 127\.0\.0\.1 \(Address already in use\)"
            ):
                start()


def test_another_program_may_be_faster(monkeypatch):
    """The port is taken between the look at it and the server's start."""
    monkeypatch.setattr("pipelines.views.serving.check_address", lambda host, port: None)
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ViewError, match=rf"--port {port}: cannot be used"):
            PageServer(PAGE, host=HOST, port=port)


def test_nothing_goes_on_after_it_is_stopped():
    before = threading.active_count()
    port = free_port()
    server = PageServer(PAGE, host=HOST, port=port)
    server.stop()
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        answer(port, Host=f"{HOST}:{port}")
