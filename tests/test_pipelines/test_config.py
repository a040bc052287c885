"""Settings are typed and strict; every rejection names the place, the key and what was expected."""

import pytest
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from pipelines.cli.run import shortcut_overrides
from pipelines.config import ConfigError, config_to_mapping, dump_config, load_config
from pipelines.settings import FramesConfig, PipelineConfig


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Outer:
    frames: FramesConfig = FramesConfig()
    threshold: float = 0.5


def test_defaults_file_and_overrides_in_that_order(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("frames:\n  stride: 2\n  start: 5\nthreshold: 1e-6\n")
    config = load_config(Outer, path, ["frames.stride=3"])
    assert (config.frames.stride, config.frames.start, config.threshold) == (3, 5, 1e-6)


def test_dump_and_load_are_inverse(tmp_path):
    config = load_config(Outer, None, ["frames.stop=7", "threshold=2"])
    (tmp_path / "a.yaml").write_text(dump_config(config))
    assert load_config(Outer, tmp_path / "a.yaml") == config
    assert config_to_mapping(config)["frames"]["stop"] == 7


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("frames: {strid: 2}", [], r"a\.yaml: unknown setting frames\.strid; did you mean stride\?"),
        ("tsdf: {}", [], r"unknown setting tsdf; known are frames, threshold"),
        ("frames: {stride: two}", [], r"frames\.stride: .*integer.*'two'"),
        ("frames: {stride: 0}", [], r"frames\.stride: .*greater than or equal to 1"),
        ("- 1", [], r"a\.yaml: expected settings by name"),
        ("a: [", [], r"a\.yaml: not readable as YAML"),
        ("[" * 3000, [], r"a\.yaml: not readable as YAML"),
        ("", ["threshold"], r"--set threshold: expected key\.key=value"),
        ("", ["threshold=high"], r"--set threshold=high: threshold: .*number.*'high'"),
        ("frames: {stride: 0}", ["threshold=3"], r"a\.yaml: frames\.stride: "),
        ("threshold: 3", ["frames.stride=0"], r"^--set frames\.stride=0: frames\.stride: "),
        ("", ["frames=3"], r"^--set frames=3: frames: "),
        ("threshold: 1", ["threshold.x=1"], r"threshold is a value"),
    ],
)
def test_rejections(tmp_path, text, overrides, message):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(Outer, path, overrides)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: file is missing"):
        load_config(Outer, tmp_path / "none.yaml")


def test_max_memory_is_given_in_gibibytes():
    overrides = shortcut_overrides(up=None, stride=None, frame_range=None, voxel=None, max_memory=1.5)
    assert load_config(PipelineConfig, None, (), options=overrides).tsdf.max_memory == 3 << 29
    with pytest.raises(ConfigError, match="--max-memory nan: expected a number of GiB"):
        shortcut_overrides(up=None, stride=None, frame_range=None, voxel=None, max_memory=float("nan"))


def test_the_unit_of_the_poses_is_given_in_metres():
    given = {"up": None, "stride": None, "frame_range": None, "voxel": None}
    overrides = shortcut_overrides(**given, scale=0.25)
    assert load_config(PipelineConfig, None, (), options=overrides).align.pose_scale == 0.25
    for bad in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match=f"--scale {bad}: expected metres in one unit of the poses"):
            shortcut_overrides(**given, scale=bad)
