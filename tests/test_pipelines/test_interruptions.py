"""A run that is killed, or whose disk fails, at any operation on a file: the next one ends in the same bytes and words."""

import contextlib
import errno
import json
import os
import shutil

import pytest
from box_room import write_box_room
from faults import KilledError, faulty_disk, largest_file, temporaries

from m2h import Predictions
from mapping.tsdf.tsdf_config import TSDFConfig
from pipelines import open_sequence, pipeline
from pipelines.errors import is_known, one_line
from pipelines.exports.exporters import EXPORTERS, export_run
from pipelines.images import read_labels, write_png
from pipelines.sequences.ingest import ingest
from pipelines.settings import PipelineConfig
from pipelines.sources import source as sources
from pipelines.sources.predictions import PredictionError
from pipelines.stages import fuse as fusion
from pipelines.views import pictures

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
TIMED = ("report.html", "manifest.json")
"""Files with seconds in them."""
FRAMES = 6
COARSE = PipelineConfig(tsdf=TSDFConfig(voxel_size=0.1))
LEAST_OPERATIONS = 150
SHORT = 4
"""Operations that the default tests interrupt, each with a whole run; `full` takes them all."""


def open_costly(argument, sequence, config):
    """The recorded predictions as if they were costly, of which something is found out with the first answer."""
    notes = []

    def predict(frame):
        if not notes:
            notes.append("found while answering")
        recorded = frame.recorded
        return Predictions(depth=recorded.depth, labels=recorded.labels)

    return sources.Source(
        "costly", predict, "costly", sequence.label_space, sources.DepthOrigin.SENSOR, is_costly=True, notes=notes
    )


@pytest.fixture(scope="module")
def patched():
    """Checkpoints after every frame, a source whose answers are stored, no second thread that writes, and no pictures, which
    take longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(pipeline, "compiling_ahead", contextlib.nullcontext)
        patch.setattr(pictures, "make_pictures", lambda *_: pictures.ReportPictures([], [], []))
        patch.setitem(sources.SOURCES, "costly", "")
        patch.setattr(sources, "resolve", lambda name, table: {"costly": open_costly}[name])
        yield


@pytest.fixture(scope="module")
def sequence(tmp_path_factory, patched):
    """Six frames, two of which have labels that their label space lacks."""
    folder = tmp_path_factory.mktemp("interrupted") / "sequence"
    write_box_room(folder, FRAMES)
    for number in (1, 4):
        path = folder / "semantics" / f"{number:06d}.png"
        labels = read_labels(path)
        labels[:10, :20] = 255
        write_png(path, labels)
    return open_sequence(folder)


def map_it(sequence, folder, until="report"):
    return pipeline.run(sequence, folder, source="costly", config=COARSE, until=until)


def contents(folder):
    """The bytes of every file of a run, without those that say how long it took, and its words."""
    files = {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    manifest = json.loads(files[next(path for path in files if path.name == "manifest.json")])
    words = {name: stage["warnings"] for name, stage in manifest["stages"].items()}
    return {path: data for path, data in files.items() if path.name not in TIMED}, words


@pytest.fixture(scope="module")
def whole(sequence, tmp_path_factory):
    """An uninterrupted run, its contents, how many operations on files it took, and where what was there before each of them
    is."""
    folder, kept = tmp_path_factory.mktemp("whole") / "run", tmp_path_factory.mktemp("kept")

    def keep(number):
        (kept / str(number)).mkdir()
        if folder.exists():
            shutil.copytree(folder, kept / str(number) / "run")

    with faulty_disk(watch=keep) as disk:
        map_it(sequence, folder)
    assert len(disk.done) > LEAST_OPERATIONS
    assert temporaries(folder) == []
    found = contents(folder)
    assert found[1]["predict"] == ["found while answering"]
    assert "400 pixels in 2 frames" in found[1]["fuse"][0]
    return folder, found, len(disk.done), kept


def some(count, how_many):
    return sorted({round(i * (count - 1) / max(how_many - 1, 1)) for i in range(how_many)})


def check_killed(sequence, whole, at, tmp_path):
    """A run that was killed before an operation, continued."""
    shutil.copytree(whole[3] / str(at), tmp_path / str(at))
    folder = tmp_path / str(at) / "run"
    map_it(sequence, folder)
    assert contents(folder) == whole[1], at
    assert temporaries(folder) == [], at
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], at
    shutil.rmtree(folder.parent)


def check_failing(sequence, folder, whole, at, error):
    """Only removing what was there before may go wrong in silence."""
    said = None
    with faulty_disk(at, error) as disk:
        try:
            map_it(sequence, folder)
        except Exception as caught:
            said = caught
    if said is not None:
        assert is_known(said), repr(said)
        assert str(folder) in one_line(said), repr(said)
        assert os.strerror(error) in one_line(said), repr(said)
        assert disk.done[at] in ("unlink", "rmtree") or temporaries(folder) == []
    map_it(sequence, folder)
    assert contents(folder) == whole[1], at
    assert temporaries(folder) == [], at


@pytest.mark.slow
def test_a_run_killed_at_some_operations_continues_to_the_same_bytes(sequence, whole, tmp_path):
    for at in some(whole[2], SHORT + 1)[1:]:
        check_killed(sequence, whole, at, tmp_path)


@pytest.mark.slow
def test_a_disk_that_fails_at_some_operations_is_named(sequence, whole, tmp_path):
    for number, at in enumerate(some(whole[2] - 1, SHORT)):
        check_failing(sequence, tmp_path / str(at) / "run", whole, at, ERRORS[number % len(ERRORS)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [3_000, *(pytest.param(size, marks=pytest.mark.full) for size in (100, 40_000, 150_000))]
)
def test_a_disk_that_is_full_in_the_middle_of_a_file_is_named(sequence, whole, tmp_path, size):
    folder = tmp_path / "run"
    with (
        largest_file(size),
        pytest.raises(Exception, match=r"cannot be written \((.*File too large|\d+ requested)") as caught,
    ):
        map_it(sequence, folder)
    assert is_known(caught.value), repr(caught.value)
    assert one_line(caught.value).startswith(str(folder)), repr(caught.value)
    assert temporaries(folder) == []
    map_it(sequence, folder)
    assert contents(folder) == whole[1]


@pytest.mark.slow
@pytest.mark.parametrize("is_vouched", [True, False])
@pytest.mark.parametrize("size", [0, 2000])
def test_a_stored_answer_that_is_damaged_is_asked_for_again(sequence, whole, tmp_path, is_vouched, size):
    """By a power cut, before its folder was on the disk; or later, when a run needs it."""
    folder = tmp_path / "run"
    map_it(sequence, folder, until="predict")
    damaged, index = folder / "predictions" / "000002.npz", folder / "predictions" / "index.json"
    os.truncate(damaged, size)
    if is_vouched:
        with pytest.raises(PredictionError, match=rf"{damaged}: .*; run it again to predict it again"):
            map_it(sequence, folder)
    else:
        index.write_text(json.dumps(json.loads(index.read_text()) | {"frames": []}))
    map_it(sequence, folder)
    assert contents(folder) == whole[1]


@pytest.mark.full
def test_a_run_killed_at_any_operation_continues_to_the_same_bytes(sequence, whole, tmp_path):
    for at in range(whole[2]):
        check_killed(sequence, whole, at, tmp_path)


@pytest.mark.full
def test_a_disk_that_fails_at_any_operation_is_named(sequence, whole, tmp_path):
    for at in range(whole[2]):
        check_failing(sequence, tmp_path / str(at) / "run", whole, at, ERRORS[at % len(ERRORS)])
        shutil.rmtree(tmp_path / str(at))


@pytest.mark.full
def test_a_run_killed_again_and_again_ends(sequence, whole, tmp_path):
    """Each attempt comes a few operations further than it needs to repeat."""
    for attempt in range(1000):
        try:
            with faulty_disk(at=10 + attempt):
                map_it(sequence, tmp_path / "run")
            break
        except KilledError:
            continue
    assert contents(tmp_path / "run") == whole[1]
    assert temporaries(tmp_path) == []


def test_a_copied_sequence_killed_at_any_operation(sequence, tmp_path):
    with faulty_disk() as disk:
        ingest(sequence, tmp_path / "whole")
    expected = {
        p.relative_to(tmp_path / "whole"): p.read_bytes() for p in (tmp_path / "whole").rglob("*") if p.is_file()
    }
    for at in some(len(disk.done) - 1, 12):
        out = tmp_path / str(at)
        with contextlib.suppress(KilledError), faulty_disk(at):
            ingest(sequence, out)
        if (out / "transforms.json").exists() and not (out / ".unfinished").exists():
            continue  # it was complete before it was killed
        ingest(sequence, out)
        assert {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()} == expected, at


@pytest.mark.parametrize("form", [form for form, each in EXPORTERS.items() if not each.suffix])
def test_an_export_of_a_folder_is_there_whole_or_not_at_all(whole, tmp_path, form):
    def files(folder):
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    expected = files(export_run(whole[0], form, tmp_path / "whole"))
    with faulty_disk() as disk:
        export_run(whole[0], form, tmp_path / "counted")
    for at in some(len(disk.done), SHORT):
        out = tmp_path / f"out-{at}"
        with contextlib.suppress(KilledError), faulty_disk(at):
            export_run(whole[0], form, out)
        assert files(out if out.exists() else export_run(whole[0], form, out)) == expected
    assert temporaries(tmp_path) == []


@pytest.mark.parametrize("form", [form for form, each in EXPORTERS.items() if each.suffix and form != "rerun"])
def test_an_export_killed_at_any_operation(whole, tmp_path, form):
    expected = export_run(whole[0], form, tmp_path / "whole").read_bytes()
    with faulty_disk() as disk:
        export_run(whole[0], form, tmp_path / "counted")
    for at in range(len(disk.done)):
        with contextlib.suppress(KilledError), faulty_disk(at):
            export_run(whole[0], form, tmp_path / "out")
    assert export_run(whole[0], form, tmp_path / "out").read_bytes() == expected
    assert temporaries(tmp_path) == []
