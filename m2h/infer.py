"""Inference: RGB images in, `Predictions` at the images' own pixels out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from m2h.backends import Network
from m2h.model import prepare_for_inference
from m2h.model.blocks import normalize_vectors
from m2h.predictions import Predictions
from m2h.preprocess import Placement, place, prepare, restore
from m2h.record import CheckpointRecord
from m2h.runtime import keep_freed_memory, prefetched
from m2h.tasks import TaskName
from m2h.weights import load_weights

EXPORTED = (".onnx", ".xml")


class Camera(Protocol):
    """What the predictor asks of a camera: its size and horizontal focal length in pixels."""

    @property
    def fx(self) -> float: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class InferenceConfig:
    """How a network is run. The defaults give the checkpoint's own numbers on the best device there is."""

    device: str = "auto"
    """torch device, or auto: CUDA when there is one."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the network; the half types change the outputs by some percent of their deviation at the worst pixel."""
    tasks: tuple[TaskName, ...] | None = None
    """Outputs to compute; None: all that the network has."""
    batch_size: int = 1
    """Images that go through the network together in `stream`."""
    compile: bool = False
    """torch.compile the network: minutes at the first image of each size."""
    keep_memory: bool = True
    """On a CPU, keep freed memory in the process (see `m2h.runtime.keep_freed_memory`)."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"InferenceConfig.batch_size must be at least 1, got {self.batch_size}")


class Predictor:
    """A network with everything around it that its record asks for.

    `predictor(rgb, intrinsics)` gives the `Predictions` of one image at the image's own size: depth in metres, labels with
    their probability, unit normals towards the camera in camera axes, edge probabilities.
    """

    def __init__(self, network: Network, record: CheckpointRecord, config: InferenceConfig | None = None) -> None:
        """`network` runs where `config.device` says; `from_checkpoint` puts the two together."""
        self.network = network
        self.record = record
        self.config = config or InferenceConfig()
        self.device = choose_device(self.config.device)
        wanted = record.config.tasks if self.config.tasks is None else self.config.tasks
        missing = set(wanted) - set(record.config.tasks)
        if missing:
            raise ValueError(f"InferenceConfig.tasks: the network has no {', '.join(sorted(missing))}")
        self.tasks = wanted

    @classmethod
    def from_checkpoint(cls, name_or_path: str | Path, config: InferenceConfig | None = None) -> Predictor:
        """A predictor of a checkpoint file, a named checkpoint, or a network exported to ONNX or OpenVINO.

        Raises WeightsError or CheckpointError when there is no such checkpoint.
        """
        config = config or InferenceConfig()
        if Path(name_or_path).suffix in EXPORTED:
            from m2h.backends import open_exported

            network, record = open_exported(Path(name_or_path))
            return cls(network, record, config)
        model, record = load_weights(name_or_path)
        device = choose_device(config.device)
        if device.type == "cpu" and config.keep_memory:
            keep_freed_memory()
        return cls(torch_network(prepare_for_inference(model), device, config), record, config)

    def __call__(self, rgb: NDArray[np.uint8], intrinsics: Camera | None = None) -> Predictions:
        """Predictions of one image (H, W, 3) uint8.

        `intrinsics` (of that size, without distortion) lets a network that was trained for one focal length scale its depth to
        this camera. Raises ValueError for images of another shape or type, and for intrinsics of another size.
        """
        return self.predict_batch([rgb], intrinsics)[0]

    def predict_batch(self, images: Sequence[NDArray[np.uint8]], intrinsics: Camera | None = None) -> list[Predictions]:
        """Predictions of images of one size and camera that go through the network together; raises as a call does."""
        shape = _check_images(images, intrinsics)
        placement = place(shape, self.record.preprocessing)
        batch = torch.from_numpy(np.stack(images)).to(self.device)
        with torch.inference_mode():
            outputs = self.network(prepare(batch, placement, self.record.preprocessing), self.tasks)
            fields = self._fields(outputs, placement, intrinsics)
        return [Predictions(**{name: value[i] for name, value in fields.items()}) for i in range(len(images))]

    def stream(self, images: Iterable[NDArray[np.uint8]], intrinsics: Camera | None = None) -> Iterator[Predictions]:
        """Predictions of the images in order; the images are made, and the network runs, in threads ahead of the consumer."""

        def batches() -> Iterator[list[Predictions]]:
            source = iter(prefetched(images, depth=2 * self.config.batch_size))
            while batch := list(islice(source, self.config.batch_size)):
                yield self.predict_batch(batch, intrinsics)

        for batch in prefetched(batches()):
            yield from batch

    def _fields(
        self, outputs: dict[str, Tensor], placement: Placement, intrinsics: Camera | None
    ) -> dict[str, NDArray[Any]]:
        """Network outputs as fields of `Predictions` with the batch in front, at the image's pixels."""
        at_image = {task: restore(x.float(), placement) for task, x in outputs.items()}
        fields: dict[str, Tensor] = {}
        if "depth" in at_image:
            depth = at_image["depth"][:, 0] * self._depth_factor(placement, intrinsics)
            fields["depth"] = torch.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0).clamp_min(0)
        if "semantics" in at_image:
            confidence, labels = at_image["semantics"].softmax(dim=1).max(dim=1)
            fields["label_confidence"] = confidence.clamp(0, 1)
            fields["labels"] = labels.to(torch.uint8 if self.record.config.classes <= 256 else torch.int32)
        if "normals" in at_image:
            signs = at_image["normals"].new_tensor(self.record.normal_signs).view(1, 3, 1, 1)
            fields["normals"] = normalize_vectors(at_image["normals"] * signs).permute(0, 2, 3, 1)
        if "edges" in at_image:
            fields["edges"] = torch.sigmoid(at_image["edges"][:, 0])
        arrays = {name: np.ascontiguousarray(value.cpu().numpy()) for name, value in fields.items()}
        if "labels" in arrays and arrays["labels"].dtype != np.uint8:
            arrays["labels"] = arrays["labels"].astype(np.uint16)
        return arrays

    def _depth_factor(self, placement: Placement, intrinsics: Camera | None) -> float:
        """Metres per unit of the network's depth for this camera: a longer lens makes things look nearer than they are."""
        if self.record.focal is None or intrinsics is None:
            return self.record.depth_scale
        focal = intrinsics.fx * placement.scaled[1] / placement.image[1]
        return self.record.depth_scale * focal / self.record.focal


def choose_device(name: str) -> torch.device:
    """The torch device of that name; `auto` is CUDA when there is one. Raises ValueError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"InferenceConfig.device: {name!r} is no torch device") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"InferenceConfig.device: {name} asked for, but torch sees no CUDA device")
    return device


def torch_network(model: torch.nn.Module, device: torch.device, config: InferenceConfig) -> Network:
    """The model on the device as a function, in the wanted arithmetic."""
    model = model.to(device)
    run: Callable[..., dict[str, Tensor]] = torch.compile(model) if config.compile else model
    dtype = getattr(torch, config.dtype)

    def network(images: Tensor, tasks: Collection[TaskName]) -> dict[str, Tensor]:
        if dtype == torch.float32:
            return run(images, tasks)
        with torch.autocast(device.type, dtype):
            return run(images, tasks)

    return network


def _check_images(images: Sequence[NDArray[np.uint8]], intrinsics: Camera | None) -> tuple[int, int]:
    """The common (H, W) of the images; raises ValueError when they have none or are no RGB images."""
    if not images:
        raise ValueError("images: expected at least one")
    shape = images[0].shape
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.shape != shape:
            raise ValueError(
                f"images must be uint8 (H, W, 3), all of one size, got {image.dtype} {image.shape} beside {shape}"
            )
    if intrinsics is not None and (intrinsics.height, intrinsics.width) != shape[:2]:
        raise ValueError(f"intrinsics are of {intrinsics.height}x{intrinsics.width} pixels, the image of {shape[:2]}")
    return shape[0], shape[1]
