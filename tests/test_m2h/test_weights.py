"""Fetching and importing checkpoints, from files and from a local server; nothing here goes to the network."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from network_helpers import tiny_model

from m2h import weights
from m2h.checkpoint import published_state_dict, save_checkpoint
from m2h.config import M2HConfig
from m2h.record import CheckpointRecord
from m2h.weights import REGISTRY, WeightsEntry, WeightsError, fetch_weights, import_weights, resolve_weights

CONTENT = bytes(range(256)) * 9000  # 2.3 MB: more than two reads


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; honours ranges when the path says so, breaks off when told to, and remembers the ranges asked for."""

    def __init__(self, *args: object, asked: list[str], **kwargs: object) -> None:
        self.asked = asked
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.asked.append(wanted)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/endless":
            self._send_without_end()
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if self.path.startswith("/ranges") else 0
        self.send_response(206 if self.path.startswith("/ranges") else 200)
        body = CONTENT[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path.endswith("broken") else body)

    def _send_without_end(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(1000):  # a gigabyte
                self.wfile.write(bytes(1 << 20))

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, asked=asked))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    httpd.server_close()


def entry(url: str, content: bytes = CONTENT) -> WeightsEntry:
    record = CheckpointRecord(config=M2HConfig.tiny())
    return WeightsEntry("test", "test.pt", len(content), hashlib.sha256(content).hexdigest(), url, record)


def test_file_addresses(tmp_path: Path) -> None:
    (tmp_path / "source.pt").write_bytes(CONTENT)
    told: list[tuple[int, int]] = []
    one = entry((tmp_path / "source.pt").as_uri())
    path = fetch_weights(one, cache=tmp_path / "cache", progress=lambda *bytes_: told.append(bytes_))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["test.pt"]
    (tmp_path / "source.pt").unlink()
    assert fetch_weights(one, cache=tmp_path / "cache") == path  # from the cache alone


def test_downloads_resume_where_they_stopped(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    url, asked = server
    with pytest.raises(WeightsError, match=r"stopped at \d+ of 2304000 bytes; run the command again"):
        fetch_weights(entry(url + "/ranges/broken"), cache=tmp_path)
    have = (tmp_path / "test.pt.part").stat().st_size
    assert 0 < have < len(CONTENT)
    assert fetch_weights(entry(url + "/ranges"), cache=tmp_path).read_bytes() == CONTENT
    assert asked == ["bytes=0-", f"bytes={have}-"]


def test_servers_without_ranges_start_again(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    (tmp_path / "test.pt.part").write_bytes(b"old")
    assert fetch_weights(entry(server[0] + "/plain"), cache=tmp_path).read_bytes() == CONTENT


def test_wrong_files_are_refused_and_removed(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    other = bytes(len(CONTENT))
    with pytest.raises(WeightsError, match="is not the published file"):
        fetch_weights(entry(server[0] + "/ranges", other), cache=tmp_path)
    with pytest.raises(WeightsError, match="is not the published file"):
        fetch_weights(entry(server[0] + "/ranges", other[:-1]), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_addresses_say_what_to_do(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    for url in ("http://127.0.0.1:9/x.pt", server[0] + "/missing", (tmp_path / "none").as_uri(), "ftp://host/x.pt"):
        with pytest.raises(WeightsError, match=r"cannot download .* `m2h weights import FILE`"):
            fetch_weights(entry(url), cache=tmp_path / "cache")


def test_an_endless_answer_is_cut_off(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    largest = 0

    def progress(done: int, total: int) -> None:
        nonlocal largest
        largest = max(largest, (tmp_path / "test.pt.part").stat().st_size)

    with pytest.raises(WeightsError, match=r"not the published file \(more than 2304000 bytes; expected 2304000 bytes"):
        fetch_weights(entry(server[0] + "/endless"), cache=tmp_path, progress=progress)
    assert largest <= len(CONTENT) + 1
    assert list(tmp_path.iterdir()) == []


def test_several_fetches_at_once_download_once(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    url, asked = server
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch_weights(entry(url + "/ranges"), cache=tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() for path in found] == [CONTENT] * 4
    assert asked == ["bytes=0-"]
    assert [path.name for path in tmp_path.iterdir()] == ["test.pt"]


def test_who_waits_for_a_download_reports_it(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    told: list[int] = []
    part = tmp_path / "test.pt.part"
    part.write_bytes(CONTENT[:1000])
    with part.open("r+b") as other:  # another process, which is killed after a while
        fcntl.flock(other, fcntl.LOCK_EX)
        one = entry(server[0] + "/ranges")
        thread = threading.Thread(
            target=lambda: fetch_weights(one, cache=tmp_path, progress=lambda done, total: told.append(done))
        )
        thread.start()
        while not told:
            time.sleep(0.01)
    thread.join()
    assert told[0] == 1000
    assert (tmp_path / "test.pt").read_bytes() == CONTENT


def test_a_damaged_file_of_the_right_size_is_not_used(
    tmp_path: Path, server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = entry(server[0] + "/ranges")
    monkeypatch.setitem(REGISTRY, "test", one)
    (tmp_path / "test.pt").write_bytes(bytes(len(CONTENT)))
    with pytest.raises(WeightsError, match=r"test\.pt: is not the published file test .*run `m2h weights fetch test`"):
        resolve_weights("test", cache=tmp_path)
    assert fetch_weights(one, cache=tmp_path).read_bytes() == CONTENT
    assert resolve_weights("test", cache=tmp_path)[0] == tmp_path / "test.pt"


def test_nothing_stays_where_nothing_came(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot download"):
        fetch_weights(entry("http://127.0.0.1:9/x.pt"), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_import_knows_published_files_and_our_own(tmp_path: Path) -> None:
    (tmp_path / "renamed.bin").write_bytes(CONTENT)
    registry = {"test": entry("http://127.0.0.1:9/x.pt")}
    name, path = import_weights(tmp_path / "renamed.bin", cache=tmp_path / "cache", registry=registry)
    assert (name, path.name, path.read_bytes()) == ("test", "test.pt", CONTENT)
    assert fetch_weights(registry["test"], cache=tmp_path / "cache") == path

    model = tiny_model()
    save_checkpoint(tmp_path / "mine.safetensors", model, CheckpointRecord(config=model.config))
    assert import_weights(tmp_path / "mine.safetensors", cache=tmp_path / "cache")[0] == "mine"
    assert resolve_weights("mine", cache=tmp_path / "cache")[1].config == model.config
    assert weights.load_weights("mine", cache=tmp_path / "cache")[0].config == model.config

    (tmp_path / "other.pt").write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"other\.pt: neither a published file"):
        import_weights(tmp_path / "other.pt", cache=tmp_path / "cache")
    with pytest.raises(WeightsError, match="no such file"):
        import_weights(tmp_path / "absent.pt")


def test_names_resolve_or_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"names are .*m2h-indoor"):
        resolve_weights("m2h-outdoor", cache=tmp_path)
    with pytest.raises(WeightsError, match=r"run `m2h weights fetch m2h-indoor` \(326 MB\)"):
        resolve_weights("m2h-indoor", cache=tmp_path)


def test_published_files_are_used_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    record = CheckpointRecord(config=model.config, metrics={"rmse": 1.0})
    known = WeightsEntry("x", "known.pt", 1, "", "", record)
    monkeypatch.setitem(REGISTRY, "x", known)
    torch.save(published_state_dict(model), tmp_path / "known.pt")
    loaded, used = weights.load_weights(tmp_path / "known.pt")
    assert used == record
    torch.testing.assert_close(loaded.state_dict()["heads.edges.out.bias"], model.state_dict()["heads.edges.out.bias"])


def test_registry_entries_are_the_published_files() -> None:
    assert len(REGISTRY) == 4
    for name, one in REGISTRY.items():
        assert one.name == name
        assert one.url.startswith("https://github.com/UAV-Centre-ITC/M2H/")
        assert len(one.sha256) == 64
        # One byte a record and letter of the original file's stem, on top of the same 627 tensors.
        assert (one.size - 326476753) % 631 == 0
        assert one.record.config == M2HConfig.published("full")


def test_listing_weights_needs_no_torch() -> None:
    code = "import sys, m2h.weights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
