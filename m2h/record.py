"""The record inside a checkpoint: its network, the input that it expects, the meaning of its outputs, its origin."""

from __future__ import annotations

import json
import math
from dataclasses import field
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from m2h.config import M2HConfig
from mapping.reading.documents import parse_json

RECORD_VERSION = 1
RECORD_KEY = "m2h_checkpoint"
"""Key of the record in a file's metadata."""


LARGEST, LARGEST_SIDE = 1e6, 8192
"""Of numbers of a record, and of the sides of a network's input in pixels."""


class CheckpointError(ValueError):
    """Weights that cannot be used; the message names the file or entry and what was expected."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Preprocessing:
    """From an RGB image to the network's input: resize by a policy, then `(rgb / 255 - mean) / std`.

    Policies: `squash` resizes to `size` whatever the aspect ratio; `fit` keeps the aspect ratio, so that the image just fits into
    `size`, and pads the rest about the centre with zeros after normalisation; `native` leaves the size alone.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of the red, green and blue values in [0, 1]; ImageNet's by default."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of the same."""
    policy: Literal["squash", "fit", "native"] = "squash"
    """How the image comes to the network's size."""
    size: tuple[int, int] | None = (224, 224)
    """Height and width in pixels of the network's input; None with `native` only."""
    antialias: bool = True
    """Low-pass when shrinking; the published network samples without."""

    def __post_init__(self) -> None:
        if not all(0 < value <= LARGEST for value in self.std):
            raise ValueError(f"Preprocessing.std must be positive, got {self.std}")
        if not all(abs(value) <= LARGEST for value in self.mean):
            raise ValueError(f"Preprocessing.mean must be finite, got {self.mean}")
        if (self.size is None) != (self.policy == "native"):
            raise ValueError(f"Preprocessing.size must be given unless the policy is native, got {self.size}")
        if self.size is not None and not 1 <= min(self.size) <= max(self.size) <= LARGEST_SIDE:
            raise ValueError(f"Preprocessing.size must be 1-{LARGEST_SIDE} pixels, got {self.size}")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckpointRecord:
    """Everything that is needed to use a checkpoint's weights and to cite them."""

    config: M2HConfig
    """The network."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    """What it expects as input."""
    label_space: str = "nyu40"
    """Name of the label space of the class channels; channel i is label i, channel 0 unknown."""
    normal_signs: tuple[int, int, int] = (1, 1, 1)
    """Signs that turn the network's normals into camera axes (x right, y down, z forward), towards the camera."""
    depth_scale: float = 1.0
    """Metres per unit of the network's depth."""
    focal: float | None = None
    """Horizontal focal length, in pixels of the network's input, for which depth is metric; other cameras' depth is scaled in
    proportion. None: trained without regard to it, depth is taken as it comes."""
    single_size: tuple[int, int] | None = None
    """Height and width in pixels of the input at which depth of single images has the best scale; None: that of the rest."""
    depth_error_scale: float = 1.0
    """Factor on the predicted scale of the depth error that makes it true on held-out data."""
    label_temperature: float = 1.0
    """Divisor of the class logits that makes their probabilities true on held-out data (Guo et al., ICML 2017)."""
    label_threshold: float = 0.0
    """Probability below which a pixel's label is unknown."""
    broader: tuple[int, ...] | None = None
    """For each class the one that stands for its group, to be named where only the group is sure; None without groups."""
    calibrated_on: str = ""
    """Data that these three were found on."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Validation results, by the names of `m2h.metrics`."""
    trained_on: str = ""
    """Data that the weights come from."""
    licence: str = ""
    """Licence of the weights."""
    source: str = ""
    """Where the weights come from, for citation."""
    notes: str = ""
    """What else a user should know."""

    def __post_init__(self) -> None:
        if any(sign not in (-1, 1) for sign in self.normal_signs):
            raise ValueError(f"CheckpointRecord.normal_signs must be 1 or -1, got {self.normal_signs}")
        if self.single_size is not None and not 1 <= min(self.single_size) <= max(self.single_size) <= LARGEST_SIDE:
            raise ValueError(f"CheckpointRecord.single_size must lie in 1-{LARGEST_SIDE}, got {self.single_size}")
        for name in ("depth_scale", "focal", "depth_error_scale", "label_temperature"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= LARGEST:
                raise ValueError(f"CheckpointRecord.{name} must be positive and at most {LARGEST:g}, got {value}")
        if not 0 <= self.label_threshold <= 1:
            raise ValueError(f"CheckpointRecord.label_threshold must lie in 0-1, got {self.label_threshold}")
        classes = self.config.classes
        if self.broader is not None and (
            len(self.broader) != classes or not all(0 <= label < classes for label in self.broader)
        ):
            raise ValueError(
                f"CheckpointRecord.broader must have {classes} classes below {classes}, got {self.broader}"
            )
        if not all(map(math.isfinite, self.metrics.values())):
            raise ValueError(f"CheckpointRecord.metrics must be finite, got {self.metrics}")

    def to_json(self) -> str:
        """The record as JSON text with a format name and version."""
        return json.dumps(self.to_mapping(), sort_keys=True)

    def to_mapping(self) -> dict[str, Any]:
        """The record as JSON-ready values with a format name and version."""
        body = TypeAdapter(CheckpointRecord).dump_python(self, mode="json")
        return {"format": "m2h-checkpoint", "version": RECORD_VERSION, **body}

    @classmethod
    def from_json(cls, text: str, where: str) -> CheckpointRecord:
        """Read what `to_json` wrote; raises CheckpointError naming `where` and the field."""
        data: Any = parse_json(text, f"{where}: record", CheckpointError)
        if not isinstance(data, dict) or data.pop("format", None) != "m2h-checkpoint":
            raise CheckpointError(f"{where}: record must have format m2h-checkpoint")
        version = data.pop("version", None)
        if version != RECORD_VERSION:
            raise CheckpointError(f"{where}: record version {version} is not supported, expected {RECORD_VERSION}")
        try:
            return TypeAdapter(CheckpointRecord).validate_python(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise CheckpointError(f"{where}: record field {place}: {first['msg']}") from error
