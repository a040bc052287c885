"""Batches of tensors for training: which images, in which order, changed how - all from the seed alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.utils.data
from torch import Tensor

from m2h.data.sample import UNKNOWN_EDGE, Dataset, Sample
from m2h.data.transforms import AugmentConfig, augmented, cropped, resized
from m2h.preprocess import place, prepare
from m2h.record import Preprocessing

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class TargetConfig:
    """How a sample becomes tensors: see the fields of the same names in TrainConfig."""

    preprocessing: Preprocessing
    augment: AugmentConfig | None
    focal: float | None
    seed: int


class TrainingSet(torch.utils.data.Dataset[Batch]):
    """Several datasets as one; an item is asked for by (epoch, index), on which alone its augmentation depends."""

    def __init__(self, datasets: list[Dataset], config: TargetConfig) -> None:
        self.datasets, self.config = datasets, config
        self.ends = np.cumsum([len(dataset) for dataset in datasets])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, item: tuple[int, int]) -> Batch:  # type: ignore[override]
        epoch, index = item
        part = int(np.searchsorted(self.ends, index, side="right"))
        sample = self.datasets[part][index - (int(self.ends[part - 1]) if part else 0)]
        assert self.config.preprocessing.size is not None
        size, zoom = self.config.preprocessing.size, 1.0
        if self.config.augment is None:
            sample = centre_crop(sample, size)
        else:
            rng = np.random.default_rng([self.config.seed, epoch, index])
            sample, zoom = augmented(sample, size, self.config.augment, rng)
        return to_tensors(sample, zoom, self.config)


def centre_crop(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample scaled until it fills `size` (H, W), and its middle."""
    rows, columns = sample.rgb.shape[:2]
    scale = max(size[0] / rows, size[1] / columns)
    height, width = (max(part, round(n * scale)) for n, part in zip((rows, columns), size, strict=True))
    return cropped(resized(sample, height, width), (width - size[1]) // 2, (height - size[0]) // 2, *size)


def to_tensors(sample: Sample, zoom: float, config: TargetConfig) -> Batch:
    """One sample of the network's size as `image` [3, H, W] and the targets of `m2h.losses`, without batch dimension.

    What the sample does not have is unknown everywhere; an unknown camera is NaN. Depth is scaled to the focal length that the
    network learns for, or divided by the zoom.
    """
    height, width = sample.rgb.shape[:2]
    placement = place((height, width), config.preprocessing)
    image = prepare(torch.from_numpy(sample.rgb)[None], placement, config.preprocessing)[0]
    depth = np.zeros((height, width), np.float32) if sample.depth is None else sample.depth
    factor = 1 / zoom
    if config.focal is not None:
        factor = config.focal / sample.camera.fx if sample.camera is not None else 0.0
    labels = np.zeros((height, width), np.uint8) if sample.labels is None else sample.labels
    normals = np.zeros((height, width, 3), np.float32) if sample.normals is None else sample.normals
    edges = np.full((height, width), UNKNOWN_EDGE, np.float32) if sample.edges is None else sample.edges
    c = sample.camera
    camera = (np.nan,) * 4 if c is None else (c.fx, c.fy, c.cx, c.cy)
    return {
        "image": image,
        "depth": torch.from_numpy(depth * np.float32(factor))[None],
        "semantics": torch.from_numpy(labels.astype(np.int64)),
        "normals": torch.from_numpy(np.ascontiguousarray(normals.transpose(2, 0, 1))),
        "edges": torch.from_numpy(edges)[None],
        "camera": torch.tensor(camera, dtype=torch.float32),
    }


def collate(samples: list[Batch]) -> Batch:
    """Samples stacked to a batch; without `camera` when any of theirs is unknown."""
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
    if not bool(torch.isfinite(batch["camera"]).all()):
        del batch["camera"]
    return batch


@dataclass(frozen=True)
class Order:
    """The order of an epoch's images over processes and passes.

    Pass m of process r takes the chunk m * processes + r of the epoch's permutation: any number of processes, and any
    accumulation, sees the same images in the same step as long as their product is the same. What does not fill a step is left
    out of the epoch (all of it is used when the data has less than one step: then it is repeated).
    """

    length: int
    batch_size: int
    accumulation: int
    processes: int
    seed: int

    @property
    def steps(self) -> int:
        """Optimizer steps an epoch."""
        return max(1, self.length // (self.batch_size * self.accumulation * self.processes))

    def batches(self, epoch: int, rank: int, first_step: int = 0) -> Iterator[list[tuple[int, int]]]:
        """The (epoch, index) items of each forward pass of one process, from a step on."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
        chunks = self.steps * self.accumulation * self.processes
        order = np.resize(order, chunks * self.batch_size).reshape(chunks, self.batch_size)
        for chunk in range(first_step * self.accumulation * self.processes + rank, chunks, self.processes):
            yield [(epoch, int(index)) for index in order[chunk]]


def make_loader(
    data: TrainingSet, batches: Iterable[list[tuple[int, int]]], workers: int
) -> torch.utils.data.DataLoader[Batch]:
    """Batches of the items, read ahead by so many processes."""
    return torch.utils.data.DataLoader(
        data,
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )
