"""A small world to learn: coloured boxes in front of a wall on a floor, with exact truth, in the canonical layout."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2h.config import M2HConfig
from m2h.data.transforms import AugmentConfig
from m2h.record import Preprocessing
from m2h.train_config import OptimizerConfig, TrainConfig

HEIGHT, WIDTH, FOCAL = 48, 64, 55.0


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    path.write_bytes(cv2.imencode(".png", stored)[1].tobytes())


def render(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Wall (1), floor (2) and two boxes' fronts (7): colour, depth, labels, normals and edges of one view."""
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    x, y = (u - (WIDTH - 1) / 2) / FOCAL, (v - (HEIGHT - 1) / 2) / FOCAL
    wall, height = rng.uniform(2.5, 4.0), rng.uniform(0.8, 1.2)
    with np.errstate(divide="ignore"):
        floor = np.where(y > 0, height / y, np.inf)
    depth, labels = np.minimum(floor, wall), np.where(floor < wall, 2, 1)
    normals = np.where((labels == 2)[..., None], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0])
    surfaces = labels.copy()
    for number in range(2):
        z, left = rng.uniform(1.2, 2.2), rng.uniform(-0.8, 0.4)
        width, tall = rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.9)
        inside = (x * z > left) & (x * z < left + width) & (y * z < height) & (y * z > height - tall) & (z < depth)
        depth, labels = np.where(inside, z, depth), np.where(inside, 7, labels)
        normals, surfaces = (
            np.where(inside[..., None], [0.0, 0.0, -1.0], normals),
            np.where(inside, 10 + number, surfaces),
        )
    edges = np.zeros((HEIGHT, WIDTH), bool)
    edges[:, :-1] |= surfaces[:, 1:] != surfaces[:, :-1]
    edges[:-1] |= surfaces[1:] != surfaces[:-1]
    palette = {1: (200, 200, 220), 2: (140, 100, 60), 7: (200, 60, 60)}
    rgb = np.zeros((HEIGHT, WIDTH, 3))
    for label, color in palette.items():
        rgb[labels == label] = color
    rgb = rgb * (1.2 - 0.12 * depth[..., None]) + rng.normal(0, 4, rgb.shape)
    return {
        "rgb": np.clip(rgb, 0, 255).astype(np.uint8),
        "depth": depth,
        "labels": labels,
        "normals": normals,
        "edges": edges,
    }


def write_world(path: Path, count: int, seed: int = 0) -> Path:
    """A canonical sequence of `count` such views."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(count):
        view = render(rng)
        write_image(path / f"images/{i:06d}.png", view["rgb"])
        write_image(path / f"depth/{i:06d}.png", np.rint(view["depth"] * 1000).astype(np.uint16))
        write_image(path / f"semantics/{i:06d}.png", view["labels"].astype(np.uint8))
        write_image(path / f"normals/{i:06d}.png", np.rint((view["normals"] + 1) * 127.5).astype(np.uint8))
        write_image(path / f"edges/{i:06d}.png", view["edges"].astype(np.uint8) * 255)
        layers = {f"{layer}_file_path": f"{layer}/{i:06d}.png" for layer in ("depth", "semantics", "normals", "edges")}
        frames.append({"file_path": f"images/{i:06d}.png", **layers})
    camera = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2, "w": WIDTH, "h": HEIGHT}
    header = {
        "format": "m2h-sequence",
        "version": 1,
        **camera,
        "label_space": "nyu40",
        "depth_unit_scale_factor": 0.001,
        "frames": frames,
    }
    (path / "transforms.json").write_text(json.dumps(header))
    return path


def tiny_training(**changes: Any) -> TrainConfig:
    """A run of seconds on `world/` and `unseen/`: a minute network, every image as it is."""
    model = M2HConfig(
        backbone="vit_tiny_patch16_224",
        backbone_width=48,
        backbone_depth=4,
        backbone_heads=3,
        image_size=64,
        channels=16,
        head_channels=(16,),
        separable=True,
    )
    fields: dict[str, Any] = {
        "train": ("folder:world",),
        "model": model,
        "preprocessing": Preprocessing(size=(48, 64)),
        "augment": AugmentConfig(zoom=(0.8, 1.5)),
        "optimizer": OptimizerConfig(learning_rate=2e-3, backbone_factor=1.0, warmup_steps=4),
        "epochs": 2,
        "batch_size": 2,
        "workers": 0,
    }
    return TrainConfig(**{**fields, **changes})


def train_in_processes(
    config: TrainConfig, out: Path, base: Path, stop_after: int | None = None, count: int = 2
) -> None:
    """Trains in processes that find each other as under torchrun, forked from one that has loaded torch: it takes long."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "m2h.train", "timm"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": str(count)}
    arguments = (config, out, base, stop_after)
    processes = [context.Process(target=_train_as, args=(rank, place, *arguments)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
    ended = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert ended == [0] * count


def _train_as(
    rank: int, place: dict[str, str], config: TrainConfig, out: Path, base: Path, stop_after: int | None
) -> None:
    import torch

    from m2h.train import train

    torch.set_num_threads(1)
    os.environ |= {**place, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
    train(config, out, base=base, stop_after=stop_after)
