"""Small networks with rough weights, and the plain reference network of the benchmarks."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from m2h.checkpoint import save_checkpoint
from m2h.config import CrossViewConfig
from m2h.model import M2H, M2HConfig, build_model
from m2h.record import CheckpointRecord, Preprocessing

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"


def load_module(path: Path) -> ModuleType:
    """A module from a file that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


plain_network = load_module(Path(__file__).parents[1] / "benchmarks" / "plain_network.py")


def tiny_model(*, separable: bool = True, published: bool = False, **changes: object) -> M2H:
    """A tiny network with rough weights; `published` squeezes padding and leaves normals as the published one does."""
    config = M2HConfig.tiny(separable=separable, classes=7)
    if published:
        config = replace(config, crop_padding=False, unit_normals=False, detail_channels=0)
    return plain_network.roughen(build_model(replace(config, **changes)))


def write_cross_checkpoint(path: Path) -> Path:
    """A checkpoint of a small network that matches neighbouring frames, with rough weights and the labels of NYU40."""
    torch.manual_seed(0)
    cross = CrossViewConfig(channels=8, planes=12, far=4.0, widths=(16, 16, 16, 16))
    config = replace(M2HConfig.cross(), channels=16, head_channels=(8,), cross_view=cross)
    record = CheckpointRecord(config=config, preprocessing=Preprocessing(policy="fit", size=(64, 96)), focal=80.0)
    save_checkpoint(path, plain_network.roughen(build_model(config)), record)
    return path


def random_images(batch: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Normalised noise [B, 3, H, W]."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(batch, 3, height, width)).astype(np.float32))


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference in standard deviations of b."""
    return float((a - b).abs().max() / b.std())
