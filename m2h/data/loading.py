"""Batches of tensors for training: the choice, order and augmentation of images, all decided by the seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.utils.data
from torch import Tensor

from m2h.data.hints import training_hint
from m2h.data.neighbours import PosedDataset, PosedSample, ViewsConfig, posed_sample
from m2h.data.sample import UNKNOWN_EDGE, Dataset, Sample
from m2h.data.transforms import AugmentConfig, augmented, centre_crop, resized
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
    views: ViewsConfig | None = None
    stride: int = 1


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
        data, own = self.datasets[part], index - (int(self.ends[part - 1]) if part else 0)
        config = self.config
        assert config.preprocessing.size is not None
        size = config.preprocessing.size
        rng = np.random.default_rng([config.seed, epoch, index])
        if config.views is not None:
            assert config.focal is not None
            assert isinstance(data, PosedDataset)
            posed = posed_sample(data, own, size, config.focal, config.views, config.augment, rng)
            return to_tensors(posed.sample, 1.0, config) | view_tensors(posed, config, rng)
        if config.augment is None:
            return to_tensors(centre_crop(data[own], size), 1.0, config)
        return to_tensors(*augmented(data[own], size, config.augment, rng), config)


def view_tensors(posed: PosedSample, config: TargetConfig, rng: np.random.Generator) -> Batch:
    """`neighbours` [N, 3, H, W], `projections` [N, 3, 4], `valid` [N] and `hint` [2, H, W] of a sample, filled up to N."""
    assert config.views is not None
    assert config.focal is not None
    sample, count = posed.sample, config.views.count
    height, width = sample.rgb.shape[:2]
    found = len(posed.images)
    images = torch.zeros(count, 3, height, width)
    projections = torch.zeros(count, 3, 4)
    if found:
        placement = place((height, width), config.preprocessing)
        images[:found] = prepare(torch.from_numpy(posed.images), placement, config.preprocessing)
        projections[:found] = torch.from_numpy(posed.projections).float()
    hint = np.zeros((2, height, width), np.float32)
    if config.augment is not None and sample.camera is not None and rng.random() < config.views.hint:
        hint = training_hint(sample, rng)
        hint[0] *= np.float32(config.focal / sample.camera.fx)
    valid = torch.arange(count) < found
    return {"neighbours": images, "projections": projections, "valid": valid, "hint": torch.from_numpy(hint)}


def to_tensors(sample: Sample, zoom: float, config: TargetConfig) -> Batch:
    """One sample of the network's size as `image` [3, H, W] and the targets of `m2h.losses`, without batch dimension.

    Targets have 1/`config.stride` of its size. What the sample does not have is unknown everywhere; an unknown camera is NaN.
    Depth is scaled to the focal length that the network learns for, or divided by the zoom.
    """
    height, width = sample.rgb.shape[:2]
    placement = place((height, width), config.preprocessing)
    image = prepare(torch.from_numpy(sample.rgb)[None], placement, config.preprocessing)[0]
    factor = 1 / zoom
    if config.focal is not None:
        factor = config.focal / sample.camera.fx if sample.camera is not None else 0.0
    if config.stride > 1:
        height, width = height // config.stride, width // config.stride
        sample = resized(sample, height, width)
    depth = np.zeros((height, width), np.float32) if sample.depth is None else sample.depth
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
    limit: int | None = None
    """Images of an epoch where it does not take all."""

    @property
    def steps(self) -> int:
        """Optimizer steps an epoch."""
        images = self.length if self.limit is None else min(self.length, self.limit)
        return max(1, images // (self.batch_size * self.accumulation * self.processes))

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
