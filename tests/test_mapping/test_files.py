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


def test_a_full_disk_is_said_with_the_file(tmp_path):
    with (
        pytest.raises(OSError, match=r"map\.ply: cannot be written \(No space left on device\)"),
        atomic_path(tmp_path / "map.ply"),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_is_left_alone(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), atomic_path(tmp_path / "map.ply"):
        (tmp_path / "other").read_bytes()
