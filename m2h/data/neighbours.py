"""Training samples with neighbouring frames and depth hints, corrupted as they are in use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as config_dataclass

from m2h.camera import Camera
from m2h.data.sample import Dataset, Sample
from m2h.data.transforms import AugmentConfig, centre_crop, degraded, flipped, recolored, zoomed
from m2h.views import projection, view_score

Array = NDArray[np.float64]

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ViewsConfig:
    """Neighbouring frames and hints of the training samples."""

    count: int = 4
    """Neighbours of a sample."""
    drop: float = 0.15
    """Share of the samples that get none, so that the network answers for single images too."""
    hint: float = 0.4
    """Share of the samples that get a depth hint."""
    turn_deg: float = 0.15
    """Standard deviation in degrees of the errors of the neighbours' rotations about each axis."""
    shift: float = 0.004
    """Standard deviation in metres of the errors of their positions along each axis."""
    focal: float = 0.007
    """Relative standard deviation of the error of the focal length."""
    through_neighbours: bool = False
    """Let gradients reach the backbone from the neighbours' features too: half as fast a step."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"ViewsConfig.count must be at least 1, got {self.count}")
        for name in ("drop", "hint"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"ViewsConfig.{name} must lie in 0-1, got {getattr(self, name)}")


@runtime_checkable
class PosedDataset(Dataset, Protocol):
    """Annotated images that belong to sequences with known poses."""

    def view(self, index: int) -> Sample: ...
    def sequence(self, index: int) -> range: ...
    def poses(self, index: int) -> Array: ...


@dataclass(frozen=True, eq=False)
class PosedSample:
    """A sample of the network's size with its neighbours' images (N, H, W, 3) uint8 and their projections (N, 3, 4)."""

    sample: Sample
    images: NDArray[np.uint8]
    projections: Array


def choose_neighbours(data: PosedDataset, index: int, sample: Sample, count: int, rng: Generator | None) -> list[int]:
    """Up to `count` frames that can serve as neighbours of frame `index`: the best ones, or random ones of the usable.

    `sample` is that frame as the data gives it.
    """
    frames, poses = data.sequence(index), data.poses(index)
    if sample.camera is None or not np.isfinite(poses[index - frames.start]).all():
        return []
    score = view_score(poses, index - frames.start, sample.camera, (sample.rgb.shape[0], sample.rgb.shape[1]))
    usable = np.flatnonzero(score > 0)
    if rng is None:
        chosen = usable[np.argsort(-score[usable], kind="stable")][:count]
    else:
        number = min(count, len(usable))
        share = score[usable] / score[usable].sum() if number else None
        chosen = rng.choice(usable, number, replace=False, p=share) if number else usable
    return [frames.start + int(i) for i in chosen]


def posed_sample(
    data: PosedDataset,
    index: int,
    size: tuple[int, int],
    focal: float,
    views: ViewsConfig,
    augment: AugmentConfig | None,
    rng: Generator,
) -> PosedSample:
    """A sample at the network's size (H, W), augmented if wanted, with its neighbours; `focal` makes depth canonical.

    Without augmentation the best neighbours are taken and nothing is corrupted.
    """
    sample = data[index]
    if augment is None:
        chosen = choose_neighbours(data, index, sample, views.count, None)
    else:
        dropped = rng.random() < views.drop
        chosen = [] if dropped else choose_neighbours(data, index, sample, views.count, rng)
    neighbours = [centre_crop(data.view(i), size) for i in chosen]
    if augment is not None:
        sample, _ = zoomed(sample, size, augment, rng)
        if rng.random() < augment.flip:
            sample, neighbours = _mirrored(sample), [_mirrored(view) for view in neighbours]
        sample, neighbours = _recolored([sample, *neighbours], augment, rng)
    else:
        sample = centre_crop(sample, size)
    images, projections = np.zeros((len(neighbours), *size, 3), np.uint8), np.zeros((len(neighbours), 3, 4))
    for number, view in enumerate(neighbours):
        images[number] = view.rgb
        projections[number] = _projection(sample, view, focal, views, None if augment is None else rng)
    return PosedSample(sample, images, projections)


def _mirrored(sample: Sample) -> Sample:
    """The sample mirrored left to right, in a world that is mirrored with it."""
    pose = None if sample.T_world_camera is None else MIRROR @ sample.T_world_camera @ MIRROR
    return replace(flipped(sample), T_world_camera=pose)


def _recolored(samples: list[Sample], augment: AugmentConfig, rng: Generator) -> tuple[Sample, list[Sample]]:
    """All with one change of colour, as one camera makes it, and faults of their own."""
    seed = int(rng.integers(1 << 62))
    changed = []
    for sample in samples:
        rgb = recolored(sample.rgb, augment, np.random.default_rng(seed))
        changed.append(replace(sample, rgb=degraded(rgb, augment.degrade, rng)))
    return changed[0], changed[1:]


def _projection(sample: Sample, view: Sample, focal: float, config: ViewsConfig, rng: Generator | None) -> Array:
    """(3, 4) as `Neighbours.projections`, with errors of pose and focal length when there is a generator."""
    assert sample.camera is not None
    assert view.camera is not None
    assert sample.T_world_camera is not None
    assert view.T_world_camera is not None
    own, other = sample.camera, view.camera
    T_other_own = np.linalg.inv(view.T_world_camera) @ sample.T_world_camera
    if rng is not None:
        error = np.eye(4)
        error[:3, :3] = cv2.Rodrigues(np.deg2rad(rng.normal(0, config.turn_deg, 3)))[0]
        error[:3, 3] = rng.normal(0, config.shift, 3)
        T_other_own = error @ T_other_own
        factor = 1 + float(rng.normal(0, config.focal))
        own = Camera(own.fx * factor, own.fy * factor, own.cx, own.cy)
        other = Camera(other.fx * factor, other.fy * factor, other.cx, other.cy)
    return projection(own, other, T_other_own, own.fx / focal)
