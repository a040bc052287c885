"""Inference: RGB images in, `Predictions` at the images' own pixels out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from m2h.backends import Network
from m2h.camera import Camera
from m2h.detection.detector import Detector
from m2h.detection.evidence import LEAST_SCORE, add_evidence
from m2h.model import M2H, Neighbours, prepare_for_inference
from m2h.model.blocks import normalize_vectors
from m2h.pixel_labels import labels_of_pixels
from m2h.predictions import GOOD_DEPTH, Predictions
from m2h.preprocess import Placement, place, prepare, restore
from m2h.record import CheckpointRecord
from m2h.runtime import keep_freed_memory, prefetched
from m2h.tasks import TaskName
from m2h.views import View, projection
from m2h.weights import load_weights

EXPORTED = (".onnx", ".xml")
SEMANTICS: tuple[TaskName, ...] = ("semantics",)
DETECTED_SPACE = "nyu40"
"""The label space for which a detector has evidence."""


class SizedCamera(Protocol):
    """What the predictor asks of the camera of a single image: its size and horizontal focal length in pixels."""

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


@dataclasses.dataclass(frozen=True, eq=False)
class MatchedView:
    """What is kept of a frame for its neighbours: what `M2H.match` gives [C, h, w], the network's input's camera, pose (4, 4)."""

    features: Tensor
    camera: Camera
    T_world_camera: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class DepthHint:
    """What a map shows in a frame: depth (H, W) float32 in metres, 0 unknown, and its confidence (H, W) float32 in [0, 1]."""

    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]


class Predictor:
    """A network with everything around it that its record asks for.

    `predictor(rgb, intrinsics)` gives the `Predictions` of one image at the image's own size: depth in metres, labels with
    their probability, unit normals towards the camera in camera axes, edge probabilities. A network with `cross_view` also takes
    neighbouring frames: `predictor.predict_view(view, [predictor.match(other) for other in neighbours])`.
    """

    def __init__(
        self,
        network: Network,
        record: CheckpointRecord,
        config: InferenceConfig | None = None,
        detector: Detector | None = None,
    ) -> None:
        """`network` runs where `config.device` says; `from_checkpoint` puts the two together.

        What `detector` sees in an image is evidence for its labels, which must be those of NYU40, where depth is computed, too.
        Raises ValueError for another label space, and for tasks that the network does not have.
        """
        if detector is not None and record.label_space != DETECTED_SPACE:
            raise ValueError(f"detector: the network's labels must be {DETECTED_SPACE}, got {record.label_space}")
        self.network = network
        self.record = record
        self.detector = detector
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
        return cls(TorchNetwork(prepare_for_inference(model), device, config), record, config)

    def __call__(self, rgb: NDArray[np.uint8], intrinsics: SizedCamera | None = None) -> Predictions:
        """Predictions of one image (H, W, 3) uint8.

        `intrinsics` (of that size, without distortion) lets a network that was trained for one focal length scale its depth to
        this camera. Raises ValueError for images of another shape or type, and for intrinsics of another size.
        """
        return self.predict_batch([rgb], intrinsics)[0]

    def predict_batch(
        self, images: Sequence[NDArray[np.uint8]], intrinsics: SizedCamera | None = None
    ) -> list[Predictions]:
        """Predictions of images of one size and camera that go through the network together; raises as a call does."""
        shape = _check_images(images, intrinsics)
        placement = self._place(shape)
        with torch.inference_mode():
            outputs = self.network(self._prepared(images, placement), self.tasks)
            self._add_detections(outputs, images, placement)
            fields = self._fields(outputs, placement, self._depth_factor(placement, intrinsics))
        return [Predictions(**{name: value[i] for name, value in fields.items()}) for i in range(len(images))]

    def stream(
        self, images: Iterable[NDArray[np.uint8]], intrinsics: SizedCamera | None = None
    ) -> Iterator[Predictions]:
        """Predictions of the images in order; the images are made, and the network runs, in threads ahead of the consumer."""

        def batches() -> Iterator[list[Predictions]]:
            source = iter(prefetched(images, depth=2 * self.config.batch_size))
            while batch := list(islice(source, self.config.batch_size)):
                yield self.predict_batch(batch, intrinsics)

        for batch in prefetched(batches()):
            yield from batch

    @property
    def sees_neighbours(self) -> bool:
        """Whether the network can be given neighbouring frames and hints."""
        return self.record.config.cross_view is not None

    def match(self, view: View) -> MatchedView:
        """What is kept of a frame for those whose neighbour it is; raises ValueError for a network that sees one image."""
        placement = self._place(view.rgb.shape[:2])
        with torch.inference_mode():
            features = self.network.match(self._prepared([view.rgb], placement))[0]
        return MatchedView(features, _placed(view.camera, placement), view.T_world_camera)

    def predict_view(
        self,
        view: View,
        neighbours: Sequence[MatchedView] = (),
        hint: DepthHint | None = None,
        *,
        tasks: tuple[TaskName, ...] | None = None,
    ) -> Predictions:
        """Predictions of a frame with known pose, from its image, its neighbours and what a map shows of it.

        The poses are in metres. `tasks` are those to compute, None: the predictor's. Raises ValueError for images of another
        shape or type, and for neighbours or a hint where the network's record has no focal length or no cross_view.
        """
        shape = _check_images([view.rgb], None)
        if self.record.focal is None:
            raise ValueError("this network's depth is tied to no focal length: poses in metres mean nothing to it")
        placement = self._place(shape)
        camera = _placed(view.camera, placement)
        factor = self.record.depth_scale * camera.fx / self.record.focal
        with torch.inference_mode():
            outputs = self.network(
                self._prepared([view.rgb], placement),
                self.tasks if tasks is None else tasks,
                self._neighbours(camera, view.T_world_camera, neighbours, factor),
                None if hint is None else self._hint(hint, placement, factor),
            )
            self._add_detections(outputs, [view.rgb], placement)
            fields = self._fields(outputs, placement, factor)
        return Predictions(**{name: value[0] for name, value in fields.items()})

    def depth_alone(self, rgb: NDArray[np.uint8], intrinsics: SizedCamera) -> NDArray[np.float32]:
        """Depth (H, W) in metres by the single image (H, W, 3), for what only the network knows: the unit of poses.

        The input has the record's `single_size`, if it names one. Raises ValueError as a call does, and where the network has no
        depth.
        """
        depth = self._alone(rgb, intrinsics).depth
        assert depth is not None
        return depth

    @cached_property
    def _alone(self) -> Predictor:
        """The predictor of `depth_alone`, which raises ValueError where the network has no depth."""
        if "depth" not in self.tasks:
            raise ValueError("this network has no depth")
        record = self.record
        if record.single_size is not None and record.preprocessing.policy != "native":
            record = dataclasses.replace(
                record, preprocessing=dataclasses.replace(record.preprocessing, size=record.single_size)
            )
        return Predictor(self.network, record, dataclasses.replace(self.config, tasks=("depth",)))

    def label_logs(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Log probabilities (classes, H, W) of the classes in one image, before the threshold for a name."""
        placement = self._place(_check_images([rgb], None))
        with torch.inference_mode():
            logits = self.network(self._prepared([rgb], placement), SEMANTICS)["semantics"]
            at_image = restore(logits.float(), placement)[0] / self.record.label_temperature
            return np.asarray(at_image.log_softmax(dim=0).cpu().numpy(), dtype=np.float32)

    def _place(self, image: tuple[int, ...]) -> Placement:
        return place((image[0], image[1]), self.record.preprocessing, turnable=not self.network.has_fixed_size)

    def _prepared(self, images: Sequence[NDArray[np.uint8]], placement: Placement) -> Tensor:
        batch = torch.from_numpy(np.stack(images)).to(self.device)
        return prepare(batch, placement, self.record.preprocessing)

    def _neighbours(
        self, camera: Camera, T_world_camera: NDArray[np.float64], matched: Sequence[MatchedView], factor: float
    ) -> Neighbours | None:
        if not matched:
            return None
        rows = [
            projection(camera, other.camera, np.linalg.inv(other.T_world_camera) @ T_world_camera, factor)
            for other in matched
        ]
        features = torch.stack([other.features for other in matched])[None]
        projections = torch.from_numpy(np.stack(rows)).to(features.device, torch.float32)[None]
        return Neighbours(features, projections, torch.ones(1, len(matched), dtype=torch.bool, device=features.device))

    def _hint(self, hint: DepthHint, placement: Placement, factor: float) -> Tensor:
        maps = torch.from_numpy(np.stack([hint.depth / np.float32(factor), hint.confidence])).to(self.device)[None]
        if placement.scaled != placement.image:
            maps = F.interpolate(maps, placement.scaled, mode="nearest-exact")
        bottom = placement.canvas[0] - placement.scaled[0] - placement.top
        right = placement.canvas[1] - placement.scaled[1] - placement.left
        return F.pad(maps, (placement.left, right, placement.top, bottom))

    def _add_detections(
        self, outputs: dict[str, Tensor], images: Sequence[NDArray[np.uint8]], placement: Placement
    ) -> None:
        """Let what the detector sees in the images change the logits of the outputs."""
        if self.detector is None or not {"depth", "semantics"} <= outputs.keys():
            return
        logits = outputs["semantics"].float() / self.record.label_temperature
        for i, rgb in enumerate(images):
            found = self.detector(rgb, LEAST_SCORE)
            add_evidence(logits[i], outputs["depth"][i, 0].float(), found.placed(placement))
        outputs["semantics"] = logits * self.record.label_temperature

    def _fields(self, outputs: dict[str, Tensor], placement: Placement, factor: float) -> dict[str, NDArray[Any]]:
        """Network outputs as fields of `Predictions` with the batch in front, at the image's pixels; `factor` makes metres."""
        at_image = {task: restore(x.float(), placement) for task, x in outputs.items()}
        fields: dict[str, Tensor] = {}
        if "depth" in at_image:
            depth = at_image["depth"][:, 0] * factor
            fields["depth"] = torch.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0).clamp_min(0)
        if "depth_error" in at_image:
            scale = torch.exp(at_image["depth_error"][:, 0]) * self.record.depth_error_scale
            fields["confidence"] = 1 - torch.exp(-GOOD_DEPTH / scale)
        if "semantics" in at_image:
            logits = at_image["semantics"] / self.record.label_temperature
            found = labels_of_pixels(logits, self.record.broader, self.record.label_threshold)
            fields["label_confidence"] = found.confidence.clamp(0, 1)
            number = torch.uint8 if self.record.config.classes <= 256 else torch.int32
            fields["labels"], fields["sampled_labels"] = found.labels.to(number), found.sampled.to(number)
        if "normals" in at_image:
            signs = at_image["normals"].new_tensor(self.record.normal_signs).view(1, 3, 1, 1)
            fields["normals"] = normalize_vectors(at_image["normals"] * signs).permute(0, 2, 3, 1)
        if "edges" in at_image:
            fields["edges"] = torch.sigmoid(at_image["edges"][:, 0])
        arrays = {name: np.ascontiguousarray(value.cpu().numpy()) for name, value in fields.items()}
        wide = {name: array.astype(np.uint16) for name, array in arrays.items() if array.dtype == np.int32}
        return arrays | wide

    def _depth_factor(self, placement: Placement, intrinsics: SizedCamera | None) -> float:
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


class TorchNetwork:
    """The model on the device, in the wanted arithmetic."""

    has_fixed_size = False

    def __init__(self, model: M2H, device: torch.device, config: InferenceConfig) -> None:
        self.model = model.to(device)
        self.device, self.dtype = device, getattr(torch, config.dtype)
        self.run: Callable[..., dict[str, Tensor]] = torch.compile(self.model) if config.compile else self.model

    def __call__(
        self,
        images: Tensor,
        tasks: Collection[TaskName],
        neighbours: Neighbours | None = None,
        hint: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As `m2h.backends.Network`."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.run(images, neighbours, hint, tasks)

    def match(self, images: Tensor) -> Tensor:
        """As `m2h.backends.Network`."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.model.match(images)


def _placed(camera: Camera, placement: Placement) -> Camera:
    """The camera of the network's input, padding included, for the camera of an image."""
    scale = (placement.scaled[1] / placement.image[1], placement.scaled[0] / placement.image[0])
    return camera.resized(*scale).cropped(-placement.left, -placement.top)


def _check_images(images: Sequence[NDArray[np.uint8]], intrinsics: SizedCamera | None) -> tuple[int, int]:
    """The common (H, W) of the images; raises ValueError when they have none or are no RGB images."""
    if not images:
        raise ValueError("images: expected at least one")
    shape = images[0].shape
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.shape != shape:
            raise ValueError(
                f"images must be uint8 (H, W, 3), all of one size, got {image.dtype} {image.shape} and {shape}"
            )
    if intrinsics is not None and (intrinsics.height, intrinsics.width) != shape[:2]:
        raise ValueError(f"intrinsics are of {intrinsics.height}x{intrinsics.width} pixels, the image of {shape[:2]}")
    return shape[0], shape[1]
