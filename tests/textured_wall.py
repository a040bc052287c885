"""A slanted textured wall in front of a moving camera, for tests of depth from images."""

from pathlib import Path

import numpy as np

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.multiview.multiview_config import MultiviewConfig, NeighbourConfig
from pipelines.frame import Frame, FrameInfo, SequenceError
from pipelines.settings import PipelineConfig

CAMERA = Intrinsics(60.0, 60.0, 39.5, 29.5, 80, 60)
CONFIG = PipelineConfig(
    multiview=MultiviewConfig(
        width=80, min_depth=1.0, max_depth=6.0, neighbours=NeighbourConfig(scene_depth=2.0), speckle_px=9, device="cpu"
    )
)
SLOPE = 0.3


class Wall:
    """Images of a slanted textured wall by a camera that moves sideways; frames in `broken` cannot be read."""

    name, path, format = "wall", Path("wall"), "fake"
    world_up = label_space = None
    is_metric = True

    def __init__(self, count=9, *, spacing=0.08, lost=(), broken=(), camera=lambda i: CAMERA):
        self.camera, self.broken, self.read = camera, broken, []
        self.infos = tuple(
            FrameInfo(
                i, i / 10, f"{i}.png", i not in lost, "lost" if i in lost else "", self.pose(i * spacing), camera(i)
            )
            for i in range(count)
        )

    def pose(self, x):
        T = np.eye(4)
        T[0, 3] = x
        return T

    def __len__(self):
        return len(self.infos)

    def depth(self, i):
        rays, x = self.camera(i).rays(), self.infos[i].T_world_camera[0, 3]
        return ((2.0 + SLOPE * x) / (1 - SLOPE * rays[..., 0])).astype(np.float32)

    def __getitem__(self, i):
        self.read.append(i)
        if i in self.broken:
            raise SequenceError(f"{i}.png: is truncated")
        camera, T = self.camera(i), self.infos[i].T_world_camera
        points = (camera.rays() * self.depth(i)[..., None]) + T[:3, 3]
        waves = np.random.default_rng(3).normal(size=(30, 3)) * 12
        grey = np.sin(points @ waves.T + np.arange(30)).sum(axis=-1) / 30**0.5
        rgb = np.repeat((127 + 60 * grey.clip(-2, 2)).astype(np.uint8)[..., None], 3, axis=-1)
        return Frame(i, i / 10, rgb, camera, T, Predictions())


def error(answer, truth):
    """Relative errors of the known pixels."""
    known = answer.depth > 0
    return np.abs(answer.depth[known] / truth[known] - 1)
