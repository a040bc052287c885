"""A reader never sees a half-written file, and what a killed process leaves is removed, but never what another one writes."""

import errno
import fcntl
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults import KilledError, faulty_disk, temporaries

from mapping.files import (
    atomic_folder,
    atomic_path,
    create_file,
    is_temporary,
    locked_file,
    remove_abandoned,
    remove_folder,
    scratch_folder,
    write_bytes_atomic,
    write_text_atomic,
)

DEAD = 2**22 + 1
"""No process has this number: Linux gives none above 2^22."""


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


def test_temporaries_have_one_recognisable_name(tmp_path):
    with atomic_path(tmp_path / "a.npz") as file, atomic_folder(tmp_path / "b") as folder:
        assert is_temporary(file.name)
        assert is_temporary(folder.name)
        assert f"-{os.getpid()}-" in file.name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b"]
    for name in (".m2h", ".m2h-1", "m2h-1-0123abcd", ".m2h-1-0123abc", ".m2h-x-0123abcd.npz", "manifest.json"):
        assert not is_temporary(name)


def test_the_longest_name_can_be_written(tmp_path):
    for name in ("n" * 255, "n." + "s" * 253):
        write_text_atomic(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"


def test_what_is_abandoned_is_removed(tmp_path):
    (tmp_path / f".m2h-{DEAD}-0123abcd.ply").write_text("half")
    (tmp_path / f".m2h-{os.getppid()}-0123abcd.npz").write_text("of a process with the number of one that runs now")
    (tmp_path / f".m2h-{DEAD}-00000000" / "images").mkdir(parents=True)
    (tmp_path / "mesh.ply").write_text("whole")
    inner = tmp_path / "predictions"
    inner.mkdir()
    (inner / f".m2h-{DEAD}-0123abcd.npz").write_text("half")
    remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mesh.ply", "predictions"]
    assert len(temporaries(tmp_path)) == 1
    remove_abandoned(tmp_path, below=True)
    assert temporaries(tmp_path) == []


def test_what_is_being_written_stays(tmp_path):
    with atomic_path(tmp_path / "a.txt") as temporary, atomic_folder(tmp_path / "b") as folder:
        temporary.write_text("new")
        (folder / "c").write_text("new")
        child = os.fork()
        if not child:  # another process cleans up
            remove_abandoned(tmp_path, below=True)
            os._exit(0)
        os.waitpid(child, 0)
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "b" / "c").read_text() == "new"


def test_without_locks_the_process_number_decides(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    mine, dead = (tmp_path / f".m2h-{pid}-0123abcd.txt" for pid in (os.getpid(), DEAD))
    mine.write_text("")
    dead.write_text("")
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]
    write_text_atomic(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "x"


def test_links_are_removed_and_not_followed(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "run"
    outside.mkdir()
    (outside / f".m2h-{DEAD}-0123abcd").write_text("kept")
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / f".m2h-{DEAD}-00000000").symlink_to(outside)
    remove_abandoned(folder, below=True)
    assert (outside / f".m2h-{DEAD}-0123abcd").exists()
    target = folder / "file"
    target.symlink_to(outside / "other")
    write_text_atomic(target, "x")
    assert not target.is_symlink()
    assert not (outside / "other").exists()
    remove_folder(folder)
    assert len(list(outside.iterdir())) == 1


def test_a_lock_is_not_taken_through_a_link(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="symbolic links"):
        locked_file(tmp_path / ".lock")
    assert not (tmp_path / "outside").exists()


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path):
    with faulty_disk() as disk:
        write_text_atomic(tmp_path / "a.txt", "x")
        write_bytes_atomic(tmp_path / "b.txt", b"x", durable=False)
    assert disk.done == ["open", "fsync", "replace", "unlink", "open", "replace", "unlink"]


@pytest.mark.parametrize("at", range(4))
def test_killed_at_any_operation(tmp_path, at):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KilledError), faulty_disk(at):
        write_text_atomic(target, "new")
    assert target.read_text() == ("new" if at == 3 else "old")
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [target]


def test_of_many_that_create_a_file_one_does(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: create_file(tmp_path / "a", str(number).encode()), range(40)))
    assert made.count(True) == 1
    assert (tmp_path / "a").read_text() == str(made.index(True))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_is_created_although_the_answer_of_the_server_was_lost(tmp_path, monkeypatch):
    link = os.link

    def lost(source, target):
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", lost)
    assert create_file(tmp_path / "a", b"mine")


@pytest.mark.parametrize("at", range(4))
def test_killed_while_a_file_is_created(tmp_path, at):
    with pytest.raises(KilledError), faulty_disk(at):
        create_file(tmp_path / "a", b"whole")
    remove_abandoned(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({"a": b"whole"} if at == 3 else {})


def test_a_file_that_cannot_be_created_is_named(tmp_path):
    with pytest.raises(OSError, match=r"a: cannot be written \(No space"), faulty_disk(2, errno.ENOSPC):
        create_file(tmp_path / "a", b"whole")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_an_operation_that_fails_names_the_file_and_leaves_the_old_one(tmp_path, at, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OSError, match=rf"a\.txt: cannot be written \({os.strerror(error)}\)"), faulty_disk(at, error):
        write_text_atomic(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail():
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with (
        pytest.raises(OSError, match=r"out: cannot be written \(Directory not empty\)"),
        atomic_folder(tmp_path / "out"),
    ):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine"]


def test_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_text("")
    write_text_atomic(tmp_path / "ours", "")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_scratch_folders_are_removed_even_of_a_killed_process(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with pytest.raises(KilledError), faulty_disk(at=2), scratch_folder() as folder:
        write_text_atomic(folder / "a", "x")
    assert len(list(tmp_path.iterdir())) == 1
    with scratch_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_halves_of_characters_are_written(tmp_path):
    write_text_atomic(tmp_path / "a.txt", "frame\udcff.png")
    assert (tmp_path / "a.txt").read_text() == "frame\\udcff.png"
