"""Each preset is a valid configuration and does what its first line says; the shipped label spaces can be read."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mapping.camera import Intrinsics
from mapping.depth.depth_weights import depth_weight
from pipelines import open_sequence, run
from pipelines.cli import main
from pipelines.config import ConfigError, config_path, load_config, read_yaml_mapping
from pipelines.settings import PipelineConfig
from scenegraph.labels import load_label_space

CONFIGS = Path(__file__).parents[2] / "configs"
PRESETS = sorted(CONFIGS.glob("*.yaml"))
DEFAULT = PipelineConfig()


def preset(name):
    return load_config(PipelineConfig, config_path(Path(name)))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_loads_and_sets_something_that_is_not_the_default(path):
    assert load_config(PipelineConfig, path) != DEFAULT
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert set(read_yaml_mapping(path)) <= {"frames", "align", "depth", "tsdf", "mesh", "graph", "dynamics"}


def test_a_name_is_a_preset_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fine").mkdir()
    assert [config_path(Path(path.stem)).read_bytes() for path in PRESETS] == [path.read_bytes() for path in PRESETS]
    (tmp_path / "fast").write_text("{}")
    assert config_path(Path("fast")).read_text() == "{}"
    assert config_path(None) is None


@pytest.mark.parametrize("given", ["fats", "nowhere/fast", "fast.yaml"])
def test_an_unknown_preset_lists_the_known_ones(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = (
        rf"--config {given}: neither a file nor a preset \(fast, fine, monocular, sensor_depth\); did you mean fast\?"
    )
    with pytest.raises(ConfigError, match=message):
        config_path(Path(given))


def test_the_command_line_takes_a_preset_by_name(box_room, tmp_path):
    out = tmp_path / "run"
    result = CliRunner().invoke(main, ["predict", str(box_room), "--out", str(out), "--config", "fast"])
    assert result.exit_code == 0, result.output
    assert "stride: 3" in (out / "config.yaml").read_text()


def test_fast_is_a_tenth_of_the_work(box_room, tmp_path):
    def fused(config, name):
        manifest = run(open_sequence(box_room), tmp_path / name, config=config, until="fuse")
        return manifest["stages"]["fuse"]["summary"]

    fast, usual = fused(preset("fast"), "fast"), fused(DEFAULT, "usual")
    assert (fast["frames"], usual["frames"]) == (10, 30)
    assert fast["volume_bytes"] < 0.4 * usual["volume_bytes"]


def test_fine_resolves_two_centimetres():
    config = preset("fine")
    assert config.tsdf.voxel_size == 0.02
    assert config.tsdf.truncation_distance < DEFAULT.tsdf.truncation_distance
    assert config.graph.objects.touch_gap < DEFAULT.graph.objects.touch_gap


def weight_at(config, metres):
    camera = Intrinsics(100, 100, 9.5, 9.5, 20, 20)
    return float(depth_weight(np.full((20, 20), metres, np.float32), camera, config=config.depth)[10, 10])


def test_weights_follow_the_noise_of_the_depth():
    """The weight is one over the variance: it falls with the fourth power of the distance, or with its square."""
    assert weight_at(preset("sensor_depth"), 2.0) / weight_at(preset("sensor_depth"), 4.0) == pytest.approx(
        16, rel=1e-3
    )
    assert weight_at(preset("monocular"), 2.0) / weight_at(preset("monocular"), 4.0) == pytest.approx(4, rel=1e-3)


def test_only_predicted_depth_is_aligned():
    assert preset("monocular").align.mode == "on"
    assert preset("sensor_depth").align.mode == "off"
    assert preset("monocular").tsdf.farthest_behind > DEFAULT.tsdf.farthest_behind


@pytest.mark.parametrize("path", sorted((CONFIGS / "label_spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_label_space_files_load(path):
    space = load_label_space(str(path))
    assert space.name == path.stem
    assert {"wall", "person"} & set(space.names)
    assert space.ids_of_kind("structure")
    assert space.ids_of_kind("object")
