"""A reader never sees a half-written file."""

import pytest

from mapping.files import atomic_path, write_text_atomic


def test_content_arrives_whole(tmp_path):
    write_text_atomic(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_temporary_keeps_the_suffix(tmp_path):
    with atomic_path(tmp_path / "a.npz") as temporary:
        assert temporary.suffix == ".npz"
        temporary.write_bytes(b"")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(OSError, match="does not exist"):
        write_text_atomic(tmp_path / "no" / "a.txt", "x")
