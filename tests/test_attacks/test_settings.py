"""Hostile settings are refused in one line; those that are accepted are finite numbers."""

import math
from dataclasses import fields, is_dataclass

import pytest
from attacks import HOSTILE_YAML, LONG, SHORT, SPECIAL, counted, make_special, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import dump_config, load_config
from pipelines.settings import PipelineConfig


def leaves(config, path=""):
    """Dotted names and values of all settings."""
    if is_dataclass(config):
        for field in fields(config):
            yield from leaves(getattr(config, field.name), f"{path}.{field.name}".lstrip("."))
    elif isinstance(config, tuple):
        for value in config:
            yield path, value
    else:
        yield path, config


NAMES = sorted({name for name, _ in leaves(PipelineConfig())})
VALUES = st.one_of(
    st.sampled_from(HOSTILE_YAML),
    st.floats(width=64).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.text(max_size=20),
)


def attack(name, value, path=None):
    def load():
        config = load_config(PipelineConfig, path, [] if path else [f"{name}={value}"])
        for setting, number in leaves(config):
            assert not isinstance(number, float) or math.isfinite(number), setting
        assert load_text(dump_config(config)) == config

    line = counted(refused(load))
    assert len(line) <= 500
    assert not line or "--set" in line or "config" in line or str(path) in line


def load_text(text):
    import yaml

    from pipelines.config import config_from_mapping

    return config_from_mapping(PipelineConfig, yaml.safe_load(text), "dumped")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tsdf.voxel_size=" + "9" * 400, "does not fit into 64 bits"),
        ("tsdf.voxel_size=" + "9" * 5000, "does not fit into 64 bits"),
        ("frames.stride=" + "9" * 400, "does not fit into 64 bits"),
        ("tsdf.voxel_size=2001-99-99", "not readable as YAML (month must be in 1..12"),
        ("tsdf.voxel_size=1e-6", "tsdf.voxel_size: Input should be greater than or equal to 0.00001"),
        ("tsdf.threads=100000", "tsdf.threads: Input should be less than or equal to 256"),
        ("multiview.min_depth=.inf", "multiview.min_depth: Input should be less than or equal to 1000000"),
        ("multiview.jump=.inf", "multiview.jump: expected a number up to 1e+12, got inf"),
        ("multiview.small_step=1e308", "multiview.small_step"),
        ("multiview.edge_contrast=.nan", "multiview.edge_contrast"),
        ("multiview.neighbours.scene_depth=1e308", "multiview.neighbours.scene_depth"),
        ("multiview.radii_px=[1000000]", "radii_px must be one to 8 whole numbers from 1 to 64"),
        ("multiview.smoothing=1000000000", "multiview.smoothing: Input should be less than or equal to 100"),
    ],
)
def test_settings_of_the_table(setting, message):
    line = refused(lambda: load_config(PipelineConfig, None, [setting]))
    assert line.startswith(f"--set {setting[:60]}")
    assert message in line


def test_anchors_in_a_file_are_shown_short(tmp_path):
    names = "abcdefgh"
    path = tmp_path / "c.yaml"
    bomb = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    bomb += [f"{names[i]}: &{names[i]} [{', '.join(['*' + names[i - 1]] * 9)}]" for i in range(1, 5)]
    path.write_text("\n".join([*bomb, "tsdf: {voxel_size: *e}"]))
    line = refused(lambda: load_config(PipelineConfig, path))
    assert line.startswith(f"{path}: ")
    assert len(line) < 500


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_file_of_settings_that_is_none(tmp_path, kind):
    path = tmp_path / "c.yaml"
    make_special(path, kind)
    assert refused(lambda: load_config(PipelineConfig, path)).startswith(f"{path}: ")


@settings(SHORT, max_examples=60)
@given(name=st.sampled_from(NAMES), value=VALUES)
def test_hostile_settings(name, value):
    attack(name, value)


@settings(SHORT, max_examples=20)
@given(name=st.sampled_from(NAMES), value=VALUES)
def test_hostile_settings_in_a_file(name, value, tmp_path):
    groups = name.split(".")
    path = tmp_path / "c.yaml"
    text = "".join(f"{'  ' * i}{group}:\n" for i, group in enumerate(groups))[:-1] + f" {value}\n"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    attack(name, value, path)


@pytest.mark.full
@settings(LONG)
@given(name=st.sampled_from(NAMES), value=VALUES)
def test_many_hostile_settings(name, value):
    attack(name, value)
