"""Networks of others, by the package transformers: depth, semantic classes and normals of one image."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.sources.hf_files import INSTALL, HubCheckpoint
from pipelines.sources.source import SourceError

NAMED = 0.5
"""Least probability of a class at which a pixel gets its name."""
LARGEST_SCORES = 640
"""Longer side in pixels at which the probabilities of all classes are computed."""
NYU40_COUNT = 41
UNIVERSAL = ("detr", "eomt", "eomt_dinov3", "mask2former", "maskformer")
"""Architectures that answer with masks and classes of masks instead of classes of pixels."""
UNSUPPORTED = {
    "oneformer": "it is asked by text",
    "videomt": "it takes videos",
    "prompt_depth_anything": "it takes a depth image",
}
FARTHEST = 1e5
"""Metres; what networks give beyond counts as unknown."""


class HubNetwork:
    """A network of the hub, loaded when it is first asked."""

    def __init__(self, checkpoint: HubCheckpoint, kind: str) -> None:
        """`kind` is the class of transformers that loads it. Raises SourceError for architectures that cannot be asked so."""
        self.checkpoint, self._kind = checkpoint, kind
        self._model: Any = None
        self._processor: Any = None
        if checkpoint.model_type in UNSUPPORTED:
            why = UNSUPPORTED[checkpoint.model_type]
            raise SourceError(f"--source hf: {checkpoint.name}: {checkpoint.model_type} is not supported: {why}")

    def __call__(self, rgb: NDArray[np.uint8]) -> Any:
        """The outputs for an image (H, W, 3)."""
        import torch

        if self._model is None:
            self._load()
        inputs = self._processor(images=rgb, return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            return self._model(**inputs.to(self._model.device))

    def processed(self, name: str, outputs: Any, size: tuple[int, int], frame: tuple[int, int], **more: Any) -> Any:
        """What the checkpoint's own function for outputs of one image makes of them, at a size (h, w); `frame` is the image's."""
        function = getattr(self._processor, f"post_process_{name}", None)
        if function is None:
            raise SourceError(f"--source hf: {self.checkpoint.name}: gives no {name.replace('_', ' ')}")
        if "source_sizes" in inspect.signature(function).parameters:
            more["source_sizes"] = [frame]
        return function(outputs, target_sizes=[size], **more)[0]

    def _load(self) -> None:
        try:
            import transformers
        except ImportError as error:
            raise SourceError(f"--source hf needs transformers: {INSTALL}") from error
        from m2h.infer import choose_device

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        where = {"local_files_only": True, "trust_remote_code": False}
        try:
            model, found = getattr(transformers, self._kind).from_pretrained(
                self.checkpoint.folder, use_safetensors=True, output_loading_info=True, **where
            )
            self._processor = transformers.AutoImageProcessor.from_pretrained(self.checkpoint.folder, **where)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise SourceError(
                f"--source hf: {self.checkpoint.name}: cannot be loaded by {self._kind} ({reason})"
            ) from error
        missing = sorted(found["missing_keys"])
        if missing:
            raise SourceError(
                f"--source hf: {self.checkpoint.name}: has no weights for {len(missing)} parts of {self._kind} "
                f"({missing[0]}, ...): it was trained for something else"
            )
        self._model = model.float().eval().to(choose_device("auto"))


class HubDepth:
    """Depth of one image."""

    def __init__(self, checkpoint: HubCheckpoint) -> None:
        self.network = HubNetwork(checkpoint, "AutoModelForDepthEstimation")

    def __call__(self, rgb: NDArray[np.uint8], camera: Intrinsics) -> NDArray[np.float32]:
        """What the network says of the depth (H, W), not negative; in metres if it is metric."""
        import torch

        outputs = self.network(rgb)
        size = rgb.shape[:2]
        if getattr(outputs, "field_of_view", None) is not None:  # it guesses the focal length, which is known
            degrees = 2 * np.degrees(np.arctan(0.5 * camera.width / camera.fx))
            outputs.field_of_view = torch.full_like(outputs.field_of_view, float(degrees))
        found = self.network.processed("depth_estimation", outputs, size, size)["predicted_depth"]
        depth = found.reshape(size).float().cpu().numpy()
        return np.where(np.isfinite(depth) & (depth > 0) & (depth < FARTHEST), depth, 0).astype(np.float32)


class HubLabels:
    """Classes of NYU40 of the pixels of an image; `table` (n,) has the id of each of the network's n classes, 0 none."""

    def __init__(self, checkpoint: HubCheckpoint, table: NDArray[np.uint8]) -> None:
        self._universal = checkpoint.model_type in UNIVERSAL
        kind = "AutoModelForUniversalSegmentation" if self._universal else "AutoModelForSemanticSegmentation"
        self.network, self._table = HubNetwork(checkpoint, kind), table

    def __call__(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Labels (H, W), 0 where no class is more probable than not, and the probability (H, W) of the most probable class.

        The probabilities of classes that are one in NYU40 are added up.
        """
        import torch

        height, width = rgb.shape[:2]
        factor = min(1.0, LARGEST_SCORES / max(height, width))
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        outputs = self.network(rgb)
        found = self.network.processed(
            "semantic_segmentation", outputs, size, (height, width), return_segmentation_scores=True
        )
        scores = found.segmentation_scores.float()
        if len(scores) != len(self._table):
            raise SourceError(
                f"--source hf: {self.network.checkpoint.name}: gives {len(scores)} classes and names {len(self._table)}"
            )
        # Scores of masks that overlap may add up to more than one.
        shares = scores / scores.sum(0).clamp_min(1) if self._universal else scores.softmax(0)
        merged = shares.new_zeros(NYU40_COUNT, *size)
        merged.index_add_(0, torch.from_numpy(self._table.astype(np.int64)).to(shares.device), shares)
        if size != (height, width):
            merged = torch.nn.functional.interpolate(merged[None], (height, width), mode="bilinear")[0]
        confidence, label = merged[1:].max(dim=0)
        labels = torch.where(confidence >= NAMED, label + 1, 0).to(torch.uint8)
        return labels.cpu().numpy(), confidence.clamp(0, 1).cpu().numpy()


class HubNormals:
    """Surface normals of one image, in whatever axes the network was trained with."""

    def __init__(self, checkpoint: HubCheckpoint) -> None:
        self.network = HubNetwork(checkpoint, "AutoModelForNormalEstimation")

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) of unit length, 0 where the network says nothing."""
        size = rgb.shape[:2]
        found = self.network.processed("normal_estimation", self.network(rgb), size, size)["normals"]
        normals = found.float().cpu().numpy().transpose(1, 2, 0)
        length = np.linalg.norm(normals, axis=-1, keepdims=True)
        said = np.isfinite(length) & (length > 0.1)
        return np.divide(normals, length, out=np.zeros(normals.shape, np.float32), where=said)
