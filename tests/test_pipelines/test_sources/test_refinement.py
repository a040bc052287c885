"""When predicted depth is refined by neighbouring images, and what of it is kept: by how wrong it is."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from textured_wall import CONFIG, Wall, error

from m2h import Predictions
from pipelines.cli import main
from pipelines.settings import AlignConfig, FramesConfig
from pipelines.sources.predictions import prediction_path, write_predictions
from pipelines.sources.refinement import refined, spread_of
from pipelines.sources.source import Hint, open_source


def open_refined(refine, spec, wall, config=CONFIG):
    return refined(open_source(spec, wall, config), refine, wall, config)


def predicted(wall, folder, *, scale=1.0, noise=0.0):
    """A source whose depth has a frame's scale of that spread, and that much uneven error within frames."""
    rng = np.random.default_rng(0)
    for i in range(len(wall)):
        uneven = np.kron(rng.normal(0, noise, (6, 8)), np.ones((10, 10)))
        wrong = np.exp(uneven + np.log(scale) * rng.choice([-1, 1]))
        seen = Predictions(depth=(wall.depth(i) * wrong).astype(np.float32), labels=np.full((60, 80), 3, np.uint8))
        write_predictions(folder, i, seen)
    return f"precomputed:{folder}"


def test_good_depth_is_left_as_it_is_whatever_the_scales(tmp_path):
    wall = Wall()
    base = predicted(wall, tmp_path, scale=1.2, noise=0.02)
    source = open_refined("auto", base, wall)
    assert source.name == f"checked:{open_source(base, wall).name}"
    answer = source.predict(wall[4])
    assert np.array_equal(answer.depth, open_source(base, wall).predict(wall[4]).depth)
    assert source.notes == []


def test_good_depth_is_a_prior_where_refinement_is_asked_for(tmp_path):
    wall = Wall()
    base = predicted(wall, tmp_path, scale=1.03, noise=0.02)
    source = open_refined("multiview", base, wall)
    answer = source.predict(wall[4])
    assert (answer.depth > 0).all()
    assert np.median(error(answer, wall.depth(4))) < 0.03
    assert source.notes == []
    assert source.fingerprint != open_refined("auto", base, wall).fingerprint


def test_frames_that_are_only_looked_at_next_to_others_need_no_prediction(tmp_path):
    wall, every_second = Wall(), replace(CONFIG, frames=FramesConfig(stride=2))
    base = predicted(wall, tmp_path, noise=0.02)
    with_all = open_refined("multiview", base, wall, every_second).predict(wall[4])
    for index in range(1, len(wall), 2):
        prediction_path(tmp_path, index).unlink()
    answer = open_refined("multiview", base, wall, every_second).predict(wall[4])
    assert error(answer, wall.depth(4)).mean() < 1.5 * error(with_all, wall.depth(4)).mean() + 0.01


@pytest.mark.parametrize("refine", ["auto", "multiview"])
def test_wrong_depth_gives_way_to_the_images_and_fills_the_rest(tmp_path, refine):
    wall = Wall()
    base = predicted(wall, tmp_path, noise=0.085)
    source = open_refined(refine, base, wall)
    answer = source.predict(wall[4])
    alone = open_source("multiview", wall, CONFIG).predict(wall[4])
    proved = alone.depth > 0
    np.testing.assert_array_equal(answer.depth[proved], alone.depth[proved])
    assert (answer.depth > 0).all()
    assert (answer.confidence[~proved] < 0.31).all()
    assert answer.labels[0, 0] == 3
    source.predict(wall[4])
    assert len(source.notes) == 1
    assert "fills the rest" in source.notes[0]


def test_a_prior_is_refined_where_images_prove_and_kept_elsewhere(tmp_path):
    wall = Wall()
    rng = np.random.default_rng(0)
    labels = np.full((60, 80), 3, np.uint8)
    for i in range(len(wall)):
        noise = np.kron(rng.normal(0, 0.06, (6, 8)), np.ones((10, 10)))
        write_predictions(
            tmp_path, i, Predictions(depth=(wall.depth(i) * (1.05 + noise)).astype(np.float32), labels=labels)
        )
    base = open_source(f"precomputed:{tmp_path}", wall)
    source = open_refined("multiview", f"precomputed:{tmp_path}", wall)
    answer, before = source.predict(wall[4]), base.predict(wall[4])
    assert (answer.depth > 0).all()
    assert np.array_equal(answer.labels, labels)
    assert np.mean(error(answer, wall.depth(4))) < 0.6 * np.mean(error(before, wall.depth(4)))
    alone = open_source("multiview", wall, CONFIG).predict(wall[4])
    unproved = alone.depth == 0
    assert answer.confidence[unproved].mean() < answer.confidence[~unproved].mean()


def test_very_wrong_depth_fills_nothing(tmp_path):
    wall = Wall()
    source = open_refined("auto", predicted(wall, tmp_path, noise=0.25), wall)
    answer, alone = source.predict(wall[4]), open_source("multiview", wall, CONFIG).predict(wall[4])
    np.testing.assert_array_equal(answer.depth, alone.depth)
    np.testing.assert_array_equal(answer.confidence, alone.confidence)
    assert answer.labels[0, 0] == 3
    assert "is not used" in source.notes[0]


def test_depth_that_images_cannot_prove_is_left_as_it_is(tmp_path):
    wall = Wall(count=3, spacing=30.0)
    base = predicted(wall, tmp_path, noise=0.25)
    answer = open_refined("auto", base, wall).predict(wall[1])
    assert np.array_equal(answer.depth, open_source(base, wall).predict(wall[1]).depth)


def test_only_predicted_depth_of_a_moving_camera_in_metres_is_checked(tmp_path):
    wall = Wall()
    base = predicted(wall, tmp_path)
    unscaled = replace(CONFIG, align=AlignConfig(pose_scale=0.4))
    without_unit = Wall()
    without_unit.is_metric = False
    for spec, sequence, config in (
        ("multiview", wall, CONFIG),
        ("recorded", wall, CONFIG),
        (base, Wall(count=1), CONFIG),
        (base, Wall(spacing=0.0), CONFIG),
        (base, wall, unscaled),
        (base, without_unit, CONFIG),
    ):
        source = open_source(spec, sequence, config)
        assert refined(source, "auto", sequence, config) is source
    source = open_refined("multiview", base, wall)
    assert source.is_refined
    assert refined(source, "auto", wall, CONFIG) is source
    assert open_refined("auto", base, wall).is_refined


def test_what_fills_is_a_setting(tmp_path):
    wall = Wall()
    multiview = replace(CONFIG.multiview, prior_deviation=0.075)
    base = predicted(wall, tmp_path, noise=0.085)
    source = open_refined("auto", base, wall, replace(CONFIG, multiview=multiview))
    assert (source.predict(wall[4]).depth == 0).any()
    assert "is not used" in source.notes[0]


def test_spread_is_what_a_scale_does_not_correct():
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 4, (60, 80)).astype(np.float32)
    wrong = (1.3 * depth * np.exp(rng.normal(0, 0.1, depth.shape))).astype(np.float32)
    wrong[:5] = 0
    assert spread_of(depth, 1.3 * depth) < 1e-6
    assert spread_of(depth, wrong) == pytest.approx(0.1, rel=0.1)
    assert spread_of(depth, np.where(np.arange(80) < 5, depth, 0)) is None


@pytest.mark.parametrize(
    ("options", "source", "refine"),
    [
        ([], "auto", "auto"),
        (["--source", "m2h:light"], "m2h:light", "auto"),
        (["--source", "m2h", "--refine", "multiview"], "m2h", "multiview"),
        (["--source", "m2h", "--refine", "none"], "m2h", "none"),
    ],
)
def test_the_command_line_checks_unless_set_otherwise(box_room, tmp_path, monkeypatch, options, source, refine):
    asked = []
    monkeypatch.setattr(
        "pipelines.pipeline.run", lambda *args, source, refine, **kwargs: asked.append((source, refine)) or {}
    )
    result = CliRunner().invoke(main, ["run", str(box_room), "--out", str(tmp_path), "-q", *options])
    assert result.exit_code == 0, result.output
    assert asked == [(source, refine)]


def completing(wall, error, factor=1.0):
    """A source that keeps what it is shown, and is off by up to `error` and by a factor where it is shown nothing."""

    def predict(frame, hint=None):
        uneven = np.kron(np.random.default_rng(frame.index).normal(0, error, (6, 8)), np.ones((10, 10)))
        own = (factor * wall.depth(frame.index) * np.exp(uneven)).astype(np.float32)
        shown = np.zeros_like(own) if hint is None else hint.depth
        return Predictions(depth=np.where(shown > 0, shown, own), confidence=np.full(own.shape, 0.4, np.float32))

    base = open_source("multiview", wall, CONFIG)
    return replace(base, name="net", predict=predict, predict_hinted=predict, is_refined=False)


@pytest.mark.parametrize(("error", "factor", "fills"), [(0.05, 1.0, True), (0.4, 1.0, False), (0.02, 1.5, False)])
def test_a_network_completes_what_images_prove_where_it_can(error, factor, fills):
    """It is judged where it was not shown the depth: what it copies says nothing of how wrong it is elsewhere."""
    wall = Wall()
    source = refined(completing(wall, error, factor), "auto", wall, CONFIG)
    answer, alone = source.predict(wall[4]), open_source("multiview", wall, CONFIG).predict(wall[4])
    proved = alone.depth > 0
    assert 0 < np.mean(proved) < 1
    np.testing.assert_array_equal(answer.depth[proved], alone.depth[proved])
    assert bool((answer.depth[~proved] > 0).all()) == fills
    np.testing.assert_array_equal(answer.confidence[proved], np.float32(0.4) if fills else alone.confidence[proved])
    assert len(source.notes) == 1
    assert ("is completed by net" if fills else "is not completed by net") in source.notes[0]


def test_completion_can_be_asked_for_whatever_it_is_worth():
    wall = Wall()
    source = refined(completing(wall, 0.4), "multiview", wall, CONFIG)
    assert (source.predict(wall[4]).depth > 0).all()


@pytest.mark.parametrize(("error", "fills"), [(0.05, True), (0.4, False)])
def test_a_second_pass_keeps_what_images_prove_and_the_verdict_on_the_network(error, fills):
    wall = Wall()
    source = refined(completing(wall, error), "auto", wall, CONFIG)
    shape = wall[4].rgb.shape[:2]
    answer = source.predict_hinted(wall[4], Hint(np.full(shape, 9.0, np.float32), np.full(shape, 0.9, np.float32)))
    alone = open_source("multiview", wall, CONFIG).predict(wall[4])
    proved = alone.depth > 0
    np.testing.assert_array_equal(answer.depth[proved], alone.depth[proved])
    assert (answer.depth[~proved] == (9.0 if fills else 0.0)).all()
