"""Everything that decides a training run, and reading it from a YAML file."""

from __future__ import annotations

import json
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from m2h.config import M2HConfig
from m2h.data.neighbours import ViewsConfig
from m2h.data.transforms import AugmentConfig
from m2h.losses import LossConfig
from m2h.record import Preprocessing
from m2h.tasks import TaskName
from m2h.weighting import WeightingName


class TrainError(ValueError):
    """A training run that cannot start or resume; the message names the file and the field."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OptimizerConfig:
    """AdamW and its learning rate over the steps."""

    learning_rate: float = 2e-4
    """Highest learning rate of the decoder."""
    backbone_factor: float = 0.1
    """The backbone's learning rate in units of the decoder's; 0 freezes it, as the published network is trained."""
    weight_decay: float = 1e-2
    """Decoupled weight decay of matrices and kernels; norms and biases have none."""
    schedule: Literal["poly", "cosine", "step", "constant"] = "poly"
    """poly: (1 - t)^0.9 as in the field's NYUDv2 protocol; cosine to 0; step: halved five times over the run."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0."""
    clip_norm: float = 10.0
    """Largest norm of the gradient; 0 does not clip."""

    def __post_init__(self) -> None:
        for name in ("backbone_factor", "weight_decay", "warmup_steps", "clip_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"OptimizerConfig.{name} must not be negative, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"OptimizerConfig.learning_rate must be positive, got {self.learning_rate}")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TrainConfig:
    """One training run."""

    train: tuple[str, ...]
    """Datasets to learn from, `FORMAT:PATH[#SPLIT]`; relative paths are below the configuration's folder."""
    validation: tuple[str, ...] = ()
    """Datasets to measure on."""
    model: M2HConfig = field(default_factory=M2HConfig)
    """The network."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    """Input of the network; its size is that of the training crops."""
    augment: AugmentConfig | None = field(default_factory=AugmentConfig)
    """Random changes of the training images; null for none."""
    losses: LossConfig = field(default_factory=LossConfig)
    """Terms of the loss and their base weights."""
    weighting: WeightingName = "dwa"
    """How the terms are balanced on top of their base weights."""
    dwa_temperature: float = 2.0
    """Temperature of dynamic weight averaging."""
    focal: float | None = None
    """Focal length in pixels of the network's input that depth is learnt for; images with another one have their depth scaled.
    Null: depth as the data has it, divided by the zoom of the augmentation, whatever the camera."""
    views: ViewsConfig | None = None
    """Neighbouring frames and depth hints, for a model with cross_view; null for single images."""
    trained: Literal["all", "matching", "fine"] = "all"
    """Which part is trained. matching: matching features and the filter of the planes, on `losses.depth_planes` alone, a fraction
    of a whole step's time; fine: what follows the planes on the path to depth."""
    target_stride: int = 1
    """The loss is taken at 1 / this of the crops' size."""
    freeze_norms: bool = False
    """Batch norms of the backbone keep the statistics that it came with."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Learning rates."""
    epochs: int = 100
    """Passes over the training data."""
    epoch_samples: int | None = None
    """Images of a pass, drawn anew for each; null for all."""
    batch_size: int = 8
    """Images a process and forward pass."""
    accumulation: int = 1
    """Forward passes whose gradients are summed for one step."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the network; parameters and losses stay float32."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is then what is measured and kept; 0 for none."""
    backbone_weights: str | None = None
    """A file of weights (.pth or .safetensors) to start the backbone from: DINOv2's, or a convolutional network's, by timm's or
    the original names."""
    backbone_origin: str = ""
    """Where those weights come from and their licence, for the checkpoint's record."""
    init: str | None = None
    """A checkpoint, by path or name, to start all weights from."""
    validate_every: int = 1
    """Epochs between measurements."""
    validation_tasks: tuple[TaskName, ...] = ("depth", "semantics", "normals")
    """What is measured; matching the edges of a large validation set takes longer than an epoch."""
    validation_limit: int | None = None
    """Images measured at most."""
    save_every: int = 500
    """Steps between saved states; one is saved after each epoch anyway."""
    workers: int = 2
    """Processes that read images."""
    seed: int = 0
    """Seed of initial weights, order and augmentation."""
    device: str = "auto"
    """torch device."""
    licence: str = ""
    """Licence of the weights, for the checkpoint's record."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulation", "validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"TrainConfig.{name} must be at least 1, got {getattr(self, name)}")
        if self.epoch_samples is not None and self.epoch_samples < 1:
            raise ValueError(f"TrainConfig.epoch_samples must be at least 1, got {self.epoch_samples}")
        if self.views is not None and (self.model.cross_view is None or self.focal is None):
            raise ValueError("TrainConfig.views needs model.cross_view and focal: the network's depth is canonical")
        if self.target_stride < 1 or (self.target_stride > 1 and any(n % 32 for n in self.preprocessing.size or ())):
            raise ValueError(
                f"TrainConfig.target_stride above 1 needs sides divisible by 32 in preprocessing.size, got "
                f"{self.preprocessing.size}"
            )
        if not self.train:
            raise ValueError("TrainConfig.train must name at least one dataset")
        if self.preprocessing.size is None:
            raise ValueError("TrainConfig.preprocessing.size must be given: crops of a batch have one size")
        if not 0 <= self.ema < 1 or self.workers < 0 or self.seed < 0:
            raise ValueError("TrainConfig: ema must lie in 0-1 and workers and seed must not be negative")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the training crops."""
        assert self.preprocessing.size is not None
        return self.preprocessing.size

    def to_mapping(self) -> dict[str, Any]:
        """The configuration as JSON-ready values."""
        return TypeAdapter(TrainConfig).dump_python(self, mode="json")

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(self.to_mapping(), indent=1, sort_keys=True)


def train_config_from_mapping(data: dict[str, Any], path: Path) -> TrainConfig:
    """The configuration from the parsed content of the file `path`; `model` may be a mapping or one of the names tiny, cross,
    full, light, small. Raises TrainError naming the file and the field."""
    if isinstance(data.get("model"), str):
        data = {**data, "model": _named_model(data["model"], path)}
    try:
        return TypeAdapter(TrainConfig).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise TrainError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _named_model(name: str, path: Path) -> M2HConfig:
    if name == "tiny":
        return M2HConfig.tiny()
    if name == "cross":
        return M2HConfig.cross()
    try:
        return M2HConfig.published(name)  # type: ignore[arg-type]
    except ValueError as error:
        raise TrainError(f"{path}: model: {error}, tiny or cross") from error
