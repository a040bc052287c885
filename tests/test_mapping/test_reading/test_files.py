"""Only regular files of a bounded size are read, and none is waited for."""

import os
import socket
from pathlib import Path

import pytest

from mapping.reading.files import LONGEST_LINE, check_regular, file_sha256, read_bytes, read_head, read_lines, read_text


class BadFileError(ValueError):
    """What the caller of a reader raises."""


@pytest.mark.parametrize("read", [read_bytes, read_text, check_regular, file_sha256])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "socket", "missing", "nul", "surrogate"])
def test_what_is_no_regular_file_is_refused(tmp_path, read, kind):
    path = str(tmp_path / "f")
    listener = socket.socket(socket.AF_UNIX)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        Path(path).symlink_to("/dev/zero")
    elif kind == "folder":
        Path(path).mkdir()
    elif kind == "socket":
        listener.bind(path)
    elif kind in ("nul", "surrogate"):
        path += "\0" if kind == "nul" else "\ud800"
    messages = {
        "missing": "file is missing",
        "nul": "is not a name that a file can have",
        "surrogate": "is not a name that a file can have",
    }
    with pytest.raises(BadFileError, match=messages.get(kind, "is not a regular file")) as caught:
        read(path, BadFileError)
    listener.close()
    str(caught.value).encode()  # can be printed


def test_size_is_compared_before_reading(tmp_path):
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no space
    with pytest.raises(BadFileError, match=r"f: is too large: 1099511627776 bytes, at most \d+ are read"):
        read_bytes(path, BadFileError)
    assert read_head(path, BadFileError, 3) == b"\0\0\0"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\n\xff\n", "is not text"),
        (b"a\nb\0\n", "contains NUL characters"),
        (b"x" * (LONGEST_LINE + 2), f"has a line of more than {LONGEST_LINE} characters"),
    ],
)
def test_lines_of_other_files_are_refused(tmp_path, data, message):
    path = tmp_path / "f"
    path.write_bytes(data)
    with pytest.raises(BadFileError, match=rf"f: .*{message}"):
        list(read_lines(path, BadFileError))


def test_hash_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "a", BadFileError) == expected


def test_text_is_read_as_before(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path, BadFileError) == "a\nb\nc\n"
    assert list(read_lines(path, BadFileError)) == ["a", "b", "c"]
