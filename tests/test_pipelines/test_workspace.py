"""The run folder tracks what is up to date, and two runs never share it."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
from faults import KilledError, faulty_disk

from mapping.files import atomic_folder, atomic_path
from pipelines.workspace import InputWatch, StageRecord, Workspace, WorkspaceError, digest, folder_fingerprint


def run_stage(workspace, key="k1", text="content"):
    def run():
        workspace.path("volume.npz").write_text(text)
        return StageRecord({"blocks": 3}, ["thin"])

    workspace.record("fuse", key, {"a": 1}, ["volume.npz"], run)


def test_a_stage_is_current_only_with_its_key_and_its_files(tmp_path):
    workspace = Workspace(tmp_path / "run")
    assert not workspace.is_current("fuse", "k1")
    run_stage(workspace)
    reopened = Workspace.open(tmp_path / "run")
    assert reopened.is_current("fuse", "k1")
    assert not reopened.is_current("fuse", "k2")
    assert reopened.summary("fuse") == {"blocks": 3}
    assert reopened.manifest["stages"]["fuse"]["warnings"] == ["thin"]
    workspace.path("volume.npz").write_text("touched")
    assert not reopened.is_current("fuse", "k1")


def test_reading_a_run_leaves_it_as_it_is(tmp_path):
    run_stage(Workspace(tmp_path / "run"))
    manifest = tmp_path / "run" / "manifest.json"
    before = manifest.stat().st_mtime_ns, sorted(tmp_path.rglob("*"))
    Workspace.open(tmp_path / "run")
    assert (manifest.stat().st_mtime_ns, sorted(tmp_path.rglob("*"))) == before


def test_a_stage_that_fails_counts_as_not_run(tmp_path):
    workspace = Workspace(tmp_path / "run")
    run_stage(workspace)

    def killed():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        workspace.record("fuse", "k1", {}, ["volume.npz"], killed)
    assert not Workspace.open(tmp_path / "run").is_current("fuse", "k1")


def test_foreign_folders_are_rejected(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(WorkspaceError, match="not empty and no run folder"):
        Workspace(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("at", range(8))
def test_a_folder_of_our_temporaries_alone_is_ours(tmp_path, at):
    """Killed at any operation before the first manifest is there."""
    root = tmp_path / "run"
    with contextlib.suppress(KilledError), faulty_disk(at), Workspace(root).lock():
        pass
    with Workspace(root).lock():
        pass
    assert [path.name for path in root.iterdir()] == ["manifest.json"]


def test_what_another_process_writes_is_not_removed(tmp_path):
    with atomic_path(tmp_path / "other") as temporary:
        temporary.write_text("an export into the run folder")
        with Workspace(tmp_path).lock():
            assert temporary.exists()
    assert (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "name", ["predictions", ".lock", "export", "manifest.json", "first_pass/predictions", "mesh.ply"]
)
@pytest.mark.parametrize("is_dangling", [False, True])
def test_links_in_a_run_folder_are_refused(tmp_path, name, is_dangling):
    root, outside = tmp_path / "run", tmp_path / "outside"
    Workspace(root)
    if not is_dangling:
        outside.mkdir()
        (outside / "index.json").write_text("mine")
    link = root / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WorkspaceError, match=rf"{name}: is a link, and a run folder has none; remove it"):
        Workspace(root)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_run_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    with Workspace(tmp_path / "run").lock():
        pass
    assert (tmp_path / "disk" / "manifest.json").exists()


def test_a_second_process_does_not_write_over_the_manifest_of_the_first(tmp_path):
    first = Workspace(tmp_path)
    with first.lock():
        second = Workspace(tmp_path)
        run_stage(first)
        with pytest.raises(WorkspaceError, match="another run"), second.lock():
            pass
    with second.lock():
        assert second.is_current("fuse", "k1")


def test_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match=r"file.run"):
        Workspace(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": "m2h-run", "version": 99, "stages": {}}',
        '{"format": "m2h-run", "version": 1}',
        '{"format": "m2h-run", "version": 1, "stages": {"fuse": 3}}',
        '{"format": "m2h-run", "version": 1, "stages": {"fuse": {"key": "k1"}}}',
        "\x00\x01",
        "[" * 100_000,
    ],
)
def test_a_broken_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(WorkspaceError, match=r"manifest\.json"):
        Workspace(tmp_path)


def test_opening_what_is_no_run_folder(tmp_path):
    with pytest.raises(WorkspaceError, match="no run folder"):
        Workspace.open(tmp_path)


def test_lock_holds_against_a_living_process_and_not_against_a_killed_one(tmp_path):
    workspace = Workspace(tmp_path / "run")
    code = (
        "import sys, time; from pathlib import Path; from pipelines.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(workspace.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceError, match="another run"), workspace.lock():
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with workspace.lock():
        assert workspace.path(".lock").exists()
    assert not workspace.path(".lock").exists()


def test_digest_is_the_same_for_equal_values_in_any_order():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_fingerprint_changes_with_the_input(tmp_path):
    (tmp_path / "a").write_text("1")
    before = folder_fingerprint(tmp_path)
    assert folder_fingerprint(tmp_path) == before
    (tmp_path / "b").write_text("2")
    assert folder_fingerprint(tmp_path) != before


def test_fingerprint_leaves_runs_out_and_follows_links(tmp_path):
    sequence, elsewhere = tmp_path / "sequence", tmp_path / "elsewhere"
    sequence.mkdir()
    elsewhere.mkdir()
    (sequence / "a").write_text("1")
    (sequence / "images").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(sequence)
    before = folder_fingerprint(sequence)
    run_stage(Workspace(sequence / "run"))
    assert folder_fingerprint(sequence) == before
    (elsewhere / "0.png").write_text("2")
    assert folder_fingerprint(sequence) != before


def test_fingerprint_leaves_temporaries_out(tmp_path):
    (tmp_path / "a").write_text("1")
    before = folder_fingerprint(tmp_path)
    with atomic_path(tmp_path / "b"), atomic_folder(tmp_path / "c"):
        assert folder_fingerprint(tmp_path) == before


def test_input_that_changes_is_noticed(tmp_path):
    folder, video = tmp_path / "sequence", tmp_path / "walk.mp4"
    (folder / "depth").mkdir(parents=True)
    for path in (folder / "depth" / "0.png", folder / "1.png", video):
        path.write_text("12")
    watch = InputWatch((folder, video))
    (folder / "note.txt").write_text("new")
    watch.check()
    os.utime(folder / "depth" / "0.png", (1, 1))
    with pytest.raises(WorkspaceError, match=r"sequence/depth/0\.png: was changed or removed while the run read it"):
        watch.check()
    watch = InputWatch((folder, video))
    (folder / "1.png").unlink()
    with pytest.raises(WorkspaceError, match=r"1\.png"):
        watch.check()
    watch = InputWatch((folder, video))
    video.write_text("123")
    with pytest.raises(WorkspaceError, match=r"walk\.mp4: was changed"):
        watch.check()


def test_a_stage_that_is_found_up_to_date_says_so(tmp_path):
    workspace = Workspace(tmp_path / "run")
    run_stage(workspace)
    assert not Workspace.open(workspace.root).manifest["stages"]["fuse"]["up_to_date"]
    workspace.note_current("fuse")
    assert Workspace.open(workspace.root).manifest["stages"]["fuse"]["up_to_date"]
    run_stage(workspace)
    assert not workspace.manifest["stages"]["fuse"]["up_to_date"]


def test_manifest_is_plain_json(tmp_path):
    workspace = Workspace(tmp_path / "run")
    run_stage(workspace)
    data = json.loads(workspace.path("manifest.json").read_text())
    assert data["format"] == "m2h-run"
    assert set(data["stages"]["fuse"]) == {
        "key", "up_to_date", "config_hash", "seconds", "peak_memory_mb", "peak_memory_method", "outputs", "warnings", "summary",
    }  # fmt: skip


class Recording:
    """What a workspace asks of a sequence."""

    def __init__(self, path):
        self.path, self.name = path, path.name


def test_results_of_another_sequence_are_kept(tmp_path):
    mine, other = Recording(tmp_path / "mine"), Recording(tmp_path / "other")
    workspace = Workspace(tmp_path / "run")
    workspace.check_input(other, "f2")
    workspace.manifest["input"] = {"name": "mine", "path": str(mine.path), "fingerprint": "f1"}
    workspace.check_input(other, "f2")  # nothing was made yet
    run_stage(workspace)
    workspace.check_input(mine, "f1")
    workspace.check_input(mine, "f2")  # the same folder with other contents
    workspace.check_input(other, "f1")  # the same contents in another place
    with pytest.raises(WorkspaceError, match=r"run: contains a map of mine \(.*mine\), not of other; .* --overwrite"):
        workspace.check_input(other, "f2")
    made = [workspace.path(name) for name in workspace.manifest["stages"]["fuse"]["outputs"]]
    assert made
    assert all(path.is_file() for path in made)
    workspace.forget()
    assert not any(path.exists() for path in made)  # nothing of another sequence is shown if the run stops
    workspace.check_input(other, "f2")
    assert not Workspace.open(tmp_path / "run").is_current("fuse", "k1")


@pytest.mark.parametrize("name", ["../kept", "a/../../kept"])
def test_nothing_outside_is_removed(tmp_path, name):
    (tmp_path / "kept").write_text("mine")
    workspace = Workspace(tmp_path / "run")
    run_stage(workspace)
    workspace.manifest["stages"]["fuse"]["outputs"] = {name: "", str(tmp_path / "kept"): ""}
    workspace.forget()
    assert (tmp_path / "kept").read_text() == "mine"


def test_a_map_of_another_recording_is_kept(tmp_path):
    workspace, posed = Workspace(tmp_path / "run"), tmp_path / "run" / "posed"
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    workspace.check_recording(first, posed)
    workspace.note_recording(first)
    workspace.check_recording(first, posed)
    with pytest.raises(WorkspaceError, match=r"contains a map of first \(.*first.mp4\), not of second; .* --overwrite"):
        workspace.check_recording(second, posed)
    workspace.forget()
    workspace.check_recording(second, posed)
    workspace.manifest["input"] = {"name": "seq", "path": str(tmp_path / "seq"), "fingerprint": "f1"}
    run_stage(workspace)
    with pytest.raises(WorkspaceError, match="contains a map of seq "):
        workspace.check_recording(second, posed)
    workspace.manifest["input"]["path"] = str(posed.resolve())  # an older run of some recording
    workspace.check_recording(second, posed)
