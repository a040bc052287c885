"""Settings of depth from several posed images."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

MOST_NEIGHBOURS, MOST_RADII, LARGEST_RADIUS = 8, 8, 64
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class NeighbourConfig:
    """Which other frames a frame is compared with."""

    count: int = Field(default=4, ge=1, le=MOST_NEIGHBOURS)
    """Neighbours per frame, at most."""
    best_angle_deg: float = Field(default=7.0, gt=0)
    """Preferred angle between the two rays to a surface at `scene_depth`: less is imprecise, more is hard to match."""
    max_turn_deg: float = Field(default=40.0, gt=0, lt=180)
    """Frames whose viewing directions differ by more are not compared."""
    min_overlap: float = Field(default=0.4, gt=0, le=1)
    """Share of the frame that the other must see, over depths around `scene_depth`."""
    scene_depth: float | None = Field(default=None, ge=1e-6, le=1e6)
    """Depth of a typical surface in the unit of the poses, for angle and overlap; None estimates it from the images."""


@dataclass(frozen=True, config=STRICT)
class MultiviewConfig:
    """How depth is estimated from a frame and its neighbours."""

    neighbours: NeighbourConfig = NeighbourConfig()
    """Which frames are compared."""
    width: int = Field(default=270, ge=32, le=4096)
    """Pixels of the long side of the images that are compared; larger images are reduced, and the depth is enlarged again."""
    planes: int = Field(default=64, ge=8, le=512)
    """Planes of the coarse sweep, evenly spaced in inverse depth."""
    min_depth: float | None = Field(default=None, ge=1e-6, le=1e6)
    """Depth of the nearest plane in the unit of the poses; None estimates it from the images."""
    max_depth: float | None = Field(default=None, ge=1e-6, le=1e6)
    """Depth of the farthest plane; None estimates it from the images."""
    radii_px: tuple[int, ...] = (1, 3)
    """Half widths of the matching windows; 1 is 3 x 3 pixels. The coarse sweep works at half the size of the images."""
    best_share: float = Field(default=0.75, gt=0, le=1)
    """Share of the neighbours, those that match best, whose costs count."""
    small_step: float = Field(default=0.1, gt=0)
    """Penalty of a step by one plane between adjacent pixels; a matching cost lies in [0, 1]."""
    jump: float = Field(default=1.6, gt=0)
    """Penalty of a larger step where the image has no edge."""
    edge_contrast: float = Field(default=0.1, gt=0)
    """The step of grey, white being 1, at which the penalty of a jump has halved."""
    smoothing: int = Field(default=3, ge=0, le=100)
    """Rounds of averaging depth with the surrounding pixels of the same surface."""
    prior_strength: float = Field(default=0.3, ge=0)
    """Cost of a depth that differs from the prior, where one is given, by much more than `prior_deviation`."""
    prior_deviation: float = Field(default=0.1, gt=0)
    """Expected relative error of the prior depth."""
    witnesses: int = Field(default=8, ge=1, le=16)
    """Frames whose own depth is compared with a frame's, at most."""
    agreement: float = Field(default=0.05, gt=0)
    """Relative difference of depth up to which two frames agree on a surface."""
    min_agreeing: int = Field(default=2, ge=0)
    """Neighbours that must find the same surface for a pixel to be known at all; all of them where there are fewer."""
    min_confidence: float = Field(default=0.02, ge=0, lt=1)
    """Pixels of less confidence become unknown."""
    speckle_px: int = Field(default=60, ge=0, le=1 << 26)
    """Isolated patches of fewer pixels are removed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the sweep runs; auto takes the GPU if there is one."""

    @model_validator(mode="after")
    def _check_together(self) -> MultiviewConfig:
        if self.min_depth is not None and self.max_depth is not None and self.min_depth >= self.max_depth:
            raise ValueError(f"min_depth must be below max_depth, got {self.min_depth} and {self.max_depth}")
        if (
            not 1 <= len(self.radii_px) <= MOST_RADII
            or not 1 <= min(self.radii_px) <= max(self.radii_px) <= LARGEST_RADIUS
        ):
            raise ValueError(
                f"radii_px must be one to {MOST_RADII} whole numbers from 1 to {LARGEST_RADIUS}, got {len(self.radii_px)} of them"
            )
        return self
