"""Stages in a run: the stream of posed frames, a killed run that is resumed, a stage that exists twice."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from box_room import write_box_room

from m2h import Predictions
from mapping.tsdf.volume import TSDFVolume
from pipelines import pipeline
from pipelines.config import config_from_mapping
from pipelines.frame import SequenceError
from pipelines.images import read_labels, write_png
from pipelines.pipeline import run
from pipelines.sequences.detect import open_sequence
from pipelines.settings import PipelineConfig
from pipelines.sources.source import DepthOrigin, open_source
from pipelines.stages import fuse
from pipelines.stages.alignment_file import Alignment, write_alignment
from pipelines.stages.context import RunContext
from pipelines.stages.graph import COMPLETED_SHARE, graph_config_of, min_share_of
from pipelines.workspace import Workspace
from scenegraph.objects.evidence import NameEvidence

FRAMES = 12
CONFIG = config_from_mapping(PipelineConfig, {"tsdf": {"voxel_size": 0.1}}, "test")
WARNING = "400 pixels in 2 frames have labels that label space nyu40 lacks (77, 255); they count as unknown"


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A short look into a room; two of its frames have labels that the label space lacks."""
    folder = tmp_path_factory.mktemp("room") / "room"
    write_box_room(folder, frames=FRAMES)
    for number, label in ((3, 255), (4, 77)):
        path = folder / "semantics" / f"{number:06d}.png"
        labels = read_labels(path)
        labels[:10, :20] = label
        write_png(path, labels)
    return folder


def context_of(room, out):
    sequence = open_sequence(str(room))
    return RunContext(Workspace(out), sequence, open_source("recorded", sequence), CONFIG, lambda *progress: None)


def test_posed_frames_come_in_the_unit_and_the_world_that_are_asked_for(room, tmp_path):
    context = context_of(room, tmp_path / "run")
    write_alignment(context.path("alignment.json"), Alignment(pose_scale=2.0, depth_scale=2.0))
    T_input_world = np.eye(4)
    T_input_world[:3, 3] = 1, 2, 3
    context.workspace.path("levelling.json").write_text(f'{{"T_input_world": {T_input_world.tolist()}}}')
    given = context.sequence[5]
    (as_given,) = context.posed_frames([5], corrected="as given")
    np.testing.assert_array_equal(as_given.T_world_camera, given.T_world_camera)
    np.testing.assert_array_equal(as_given.predictions.depth, given.recorded.depth)
    (metric,) = context.posed_frames([5], corrected="aligned")
    np.testing.assert_allclose(metric.T_world_camera[:3, 3], 2 * given.T_world_camera[:3, 3])
    np.testing.assert_allclose(metric.predictions.depth, 2 * given.recorded.depth)
    (levelled,) = context.posed_frames([5])
    np.testing.assert_allclose(levelled.T_world_camera[:3, 3], metric.T_world_camera[:3, 3] - [1, 2, 3])
    assert levelled.intrinsics == context.camera


def test_labels_that_the_label_space_lacks_are_unknown_and_counted(room, tmp_path):
    frames = list(context_of(room, tmp_path / "run").posed_frames([2, 3], corrected="as given"))
    assert [frame.foreign_labels for frame in frames] == [{}, {255: 200}]
    assert not frames[1].predictions.labels[:10, :20].any()


@pytest.mark.parametrize("predicts", [False, True])
def test_that_a_pixel_has_no_name_is_evidence_where_labels_are_predicted(room, tmp_path, predicts):
    context = context_of(room, tmp_path / "run")
    (frame,) = context.posed_frames([2], corrected="as given")
    blank = replace(frame, predictions=replace(frame.predictions, labels=np.zeros_like(frame.predictions.labels)))
    volume = TSDFVolume(CONFIG.tsdf)
    for seen in (frame, blank, blank):
        fuse.fuse_frame(volume, seen, config=CONFIG, source=replace(context.source, predicts_labels=predicts))
    mesh = volume.extract_mesh(min_weight=0.005)
    evidence = NameEvidence.of(volume.label_evidence(mesh.vertices), len(mesh.vertices), context.source.label_space)
    shares = evidence.shares(np.arange(len(mesh.vertices)), np.ones(len(mesh.vertices)))
    assert shares[0] == pytest.approx(2 / 3 if predicts else 0, abs=0.01)


def test_what_frames_are_surer_of_outvotes_the_others(room, tmp_path):
    context = context_of(room, tmp_path / "run")
    (frame,) = context.posed_frames([2], corrected="as given")
    volume = TSDFVolume(CONFIG.tsdf)
    for label, confidence in ((5, 0.9), (6, 0.55), (0, 0.45)):
        shape = frame.rgb.shape[:2]
        seen = replace(
            frame.predictions,
            labels=np.full(shape, label, np.uint8),
            label_confidence=np.full(shape, confidence, np.float32),
        )
        source = replace(context.source, predicts_labels=True)
        fuse.fuse_frame(volume, replace(frame, predictions=seen), config=CONFIG, source=source)
    mesh = volume.extract_mesh(min_weight=0.005)
    evidence = NameEvidence.of(volume.label_evidence(mesh.vertices), len(mesh.vertices), context.source.label_space)
    shares = evidence.shares(np.arange(len(mesh.vertices)), np.ones(len(mesh.vertices)))
    assert shares[[5, 6, 0]] == pytest.approx(np.array([0.9, 0.55, 0.55]) / 2.0, abs=0.03)


def test_how_sure_labels_are_is_kept_by_label():
    state = fuse.FusionState(0, TSDFVolume(CONFIG.tsdf))
    labels = np.array([[0, 5], [5, 7]], np.uint8)
    for sure in ([[0.4, 0.6], [0.8, 0.9]], [[0.4, 1.0], [1.0, 0.7]]):
        state.add_confidence(
            fuse.frame_confidence(Predictions(labels=labels, label_confidence=np.array(sure, np.float32)))
        )
    state.add_confidence(fuse.frame_confidence(Predictions(labels=labels)))
    assert state.named == {5: (pytest.approx(3.4), 4), 7: (pytest.approx(1.6), 2)}


def test_a_run_that_goes_on_says_what_one_at_a_stretch_says(room, tmp_path, monkeypatch):
    fused = []

    def killed(volume, frame, **settings):
        if len(fused) == FRAMES - 2:
            raise RuntimeError("killed")
        fused.append(frame.index)
        add(volume, frame, **settings)

    add = fuse.fuse_frame
    monkeypatch.setattr(fuse, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(fuse, "fuse_frame", killed)
    with pytest.raises(RuntimeError, match="killed"):
        run(open_sequence(str(room)), tmp_path, config=CONFIG, until="fuse")
    monkeypatch.setattr(fuse, "fuse_frame", add)
    manifest = run(open_sequence(str(room)), tmp_path, config=CONFIG, until="fuse")
    assert manifest["stages"]["fuse"]["warnings"] == [WARNING]
    assert manifest["stages"]["fuse"]["summary"]["frames"] == FRAMES


def test_a_run_that_maps_nothing_is_an_error_and_not_an_empty_mesh(room, tmp_path):
    config = config_from_mapping(PipelineConfig, {"tsdf": {"voxel_size": 0.1, "max_depth": 0.11}}, "test")
    for until in ("fuse", "report"):
        with pytest.raises(
            SequenceError, match=f"nothing is mapped: {FRAMES} frames were read, but no depth of recorded"
        ):
            run(open_sequence(str(room)), tmp_path / until, config=config, until=until)
        assert not (tmp_path / until / "volume.npz").exists()
        assert not (tmp_path / until / "mesh.ply").exists()


def test_a_stage_may_be_there_twice(room, tmp_path, monkeypatch):
    stages = pipeline.stages_until("fuse")
    given, (level,) = stages[:-6], [stage for stage in stages if stage.name == "level"]
    early, late = stages[-6:-4], stages[-3:]
    first = [
        replace(stage, name=f"{stage.name} 1", folder="first", outputs=tuple(f"first/{name}" for name in stage.outputs))
        for stage in (*early, *late)
    ]
    levelled = replace(level, folder="first")
    twice = (*given, *first[:2], levelled, *first[2:], *early, *late)
    monkeypatch.setattr(pipeline, "stages_until", lambda name, **passes: twice)
    said = []
    for _ in range(2):
        run(open_sequence(str(room)), tmp_path, config=CONFIG, progress=lambda *progress: said.append(progress))
    assert (tmp_path / "first/volume.npz").read_bytes() == (tmp_path / "volume.npz").read_bytes()
    assert said[-len(twice) :] == [(stage.name, 0, 0) for stage in twice]
    assert ("fuse 1", FRAMES, FRAMES) in said


@pytest.mark.parametrize("hinted", [False, True])
@pytest.mark.parametrize("predicts", [False, True])
def test_settings_decide_and_else_the_source_does(hinted, predicts):
    """Faint surface is omitted, labels are corrected and small objects dropped for predictions alone unless the settings say
    otherwise."""

    def context(**settings):
        config = config_from_mapping(PipelineConfig, settings, "test")
        origin = DepthOrigin.POSES if predicts else DepthOrigin.SENSOR
        hints = print if hinted else None
        source = SimpleNamespace(predict_hinted=hints, predicts_labels=predicts, depth_from=origin)
        return SimpleNamespace(config=config, source=source, ground=0.0)

    assert min_share_of(context()) == (COMPLETED_SHARE if hinted else 0)
    assert min_share_of(context(mesh={"min_share": 0.2})) == 0.2
    assert min_share_of(context(mesh={"min_share": 0.0})) == 0
    assert graph_config_of(context()).structure.corrects_labels is predicts
    for given in (False, True):
        settings = {"graph": {"structure": {"corrects_labels": given}}}
        assert graph_config_of(context(**settings)).structure.corrects_labels is given
    assert graph_config_of(context()).storeys.ground == 0.0
    assert graph_config_of(context(graph={"storeys": {"ground": -0.1}})).storeys.ground == -0.1
    assert graph_config_of(context()).objects.least_extent == (0.2 if predicts else 0)
    assert graph_config_of(context(graph={"objects": {"least_extent": 0.1}})).objects.least_extent == 0.1
    assert fuse.detection_config_of(context()).one_distance is predicts
    for given in (False, True):
        settings = {"dynamics": {"detection": {"one_distance": given}}}
        assert fuse.detection_config_of(context(**settings)).one_distance is given
