"""Files of pieces: joined in order, exactly, once; damaged and foreign ones are refused by name."""

import json

import pytest
from faults import KilledError, faulty_disk
from fusion_scenes import View, orbit, sphere_depth

from mapping.tsdf.tsdf_config import TSDFConfig
from mapping.tsdf.volume import TSDFVolume
from pipelines.stages import pieces
from pipelines.stages.pieces import PieceNotes, join_pieces
from pipelines.workspace import WorkspaceError

COARSE = TSDFConfig(voxel_size=0.2, threads=1)


def volume_of(numbers):
    volume = TSDFVolume(COARSE)
    for number in numbers:
        pose = orbit(4, 2.0)[number]
        View(sphere_depth(pose, 0.7), pose, {}).into(volume)
    return volume


def notes_of(number, key="k"):
    sure = {5: (0.1 * (number + 1), 3), 7: (1 / 3, 1)}
    return PieceNotes(key, [(float(number), [])], {number: f"{number}.png"}, {number: {99: 4}}, [sure])


@pytest.fixture
def folder(tmp_path):
    for number in range(2):
        pieces._write(tmp_path, f"{number}-{number + 1}", volume_of([number]), notes_of(number))
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_two_pieces_become_one(folder, tmp_path_factory):
    join_pieces(folder, 0, 1, 2)
    assert names(folder) == ["0-2.json", "0-2.npz"]
    found, first, second = pieces._read_notes(folder, "0-2"), notes_of(0), notes_of(1)
    assert found.moving == first.moving + second.moving
    assert found.confidences == first.confidences + second.confidences  # to the last bit
    assert (found.broken, found.foreign_labels) == ({0: "0.png", 1: "1.png"}, {0: {99: 4}, 1: {99: 4}})
    whole = tmp_path_factory.mktemp("whole") / "volume.npz"
    volume_of([1, 0]).save(whole)
    assert (folder / "0-2.npz").read_bytes() == whole.read_bytes()
    join_pieces(folder, 0, 1, 2)  # nothing is left to be done


@pytest.mark.parametrize("at", range(14))
def test_joining_that_is_killed_anywhere_is_done_again(folder, at):
    with faulty_disk() as disk:
        join_pieces(folder, 0, 1, 2)
    expected = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(disk.done) <= 14
    for path in folder.iterdir():
        path.unlink()
    for number in range(2):
        pieces._write(folder, f"{number}-{number + 1}", volume_of([number]), notes_of(number))
    if at < len(disk.done):
        with pytest.raises(KilledError), faulty_disk(at):
            join_pieces(folder, 0, 1, 2)
    join_pieces(folder, 0, 1, 2)
    left = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".m2h-")}
    assert {name: left[name] for name in expected} == expected
    assert not [name for name in left if name.endswith(".json") and name not in expected]


def test_pieces_of_different_inputs_are_not_joined(folder):
    pieces._write(folder, "1-2", volume_of([1]), notes_of(1, key="another"))
    with pytest.raises(WorkspaceError, match="0-1 and 1-2 are of different inputs or settings; run it with --retry"):
        join_pieces(folder, 0, 1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data | {"confidences": [[[5, -1.0, 2]]]}, "1-2.json: is damaged"),
        (lambda data: data | {"broken": [7]}, "1-2.json: is damaged"),
        (lambda data: data | {"key": 7}, "1-2.json: is damaged"),
        (lambda data: [], "1-2.json: is damaged"),
        (lambda data: data | {"volume": "0"}, "1-2.npz: is not the volume that 1-2.json names"),
    ],
)
def test_a_damaged_piece_is_named(folder, change, message):
    path = folder / "1-2.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(WorkspaceError, match=message):
        join_pieces(folder, 0, 1, 2)
    assert len(names(folder)) == 4


def test_a_missing_piece_is_named(folder):
    (folder / "1-2.json").unlink()
    with pytest.raises(WorkspaceError, match=r"1-2\.json: file is missing"):
        join_pieces(folder, 0, 1, 2)
