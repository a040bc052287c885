"""What the shipped network says of single images that have no poses yet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics, undistort
from mapping.evenly import evenly
from pipelines.images import read_rgb
from pipelines.levelling import floor_ids
from pipelines.posing.upright import PROBES, recognised_turns, shipped_uncertainty
from pipelines.turning import turned_array, turned_camera
from scenegraph.labels import load_label_space

if TYPE_CHECKING:
    from m2h.infer import Predictor


class SingleImages:
    """What the shipped network says of images, by their names in a folder, without the lens of a camera and shown upright."""

    def __init__(self, images: Path, names: Sequence[str]) -> None:
        self._images, self._names = images, names

    def depth(self, name: str, camera: Intrinsics) -> NDArray[np.float32]:
        """(H, W) in metres."""
        seen = turned_camera(camera.undistorted(), self.turns)
        return turned_array(self._predictor.depth_alone(self._upright(name, camera), seen), -self.turns)

    def floor(self, name: str, camera: Intrinsics) -> NDArray[np.bool_]:
        """(H, W), where the image shows floor."""
        labels = self._predictor(self._upright(name, camera)).labels
        assert labels is not None
        return np.isin(turned_array(labels, -self.turns), self._floor_ids)

    def _upright(self, name: str, camera: Intrinsics) -> NDArray[np.uint8]:
        return turned_array(undistort(read_rgb(self._images / name), camera), self.turns)

    @cached_property
    def turns(self) -> int:
        """Quarter turns counter-clockwise that bring the images upright, as far as the network recognises what they show."""
        uncertainty = shipped_uncertainty()
        assert uncertainty is not None
        probes = evenly(self._names, PROBES)
        return recognised_turns((read_rgb(self._images / name) for name in probes), uncertainty)

    @cached_property
    def _predictor(self) -> Predictor:
        from m2h.infer import InferenceConfig, Predictor
        from m2h.weights import DEFAULT_NAME

        return Predictor.from_checkpoint(DEFAULT_NAME, InferenceConfig(tasks=("depth", "semantics")))

    @cached_property
    def _floor_ids(self) -> list[int]:
        return floor_ids(load_label_space(self._predictor.record.label_space))
