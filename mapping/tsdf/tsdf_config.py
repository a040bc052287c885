"""Settings of fusion."""

from __future__ import annotations

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

TRUNCATION_VOXELS = 4.0
BEHIND_VOXELS = 3.0


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TSDFConfig:
    """How a volume samples space and how a depth pixel contributes to it."""

    voxel_size: float = Field(default=0.04, ge=1e-5, le=1e4)
    """Metres between neighbouring voxels."""
    truncation: float | None = Field(default=None, gt=0)
    """Metres in front of a surface that are measured, and the limit of distances on either side; None means four voxels."""
    behind: float | None = Field(default=None, gt=0)
    """Metres behind a surface that are measured; None means three voxels, but not more than in front.

    Less keeps the two sides of a thin wall apart; more keeps walls whole when depth differs by more than that between frames.
    """
    behind_per_meter: float = Field(default=0.0, ge=0, le=1)
    """Metres measured behind a surface for each metre of its depth, where that is more than `behind`; 0 for a constant band.

    Three to four times the relative deviation of depth between frames keeps far walls whole: about 0.05 for a network's depth
    that was aligned, 0.2 for one that was not. It costs memory, and the far side of objects thinner than that.
    """
    max_depth: float = Field(default=5.0, gt=0, le=1e6)
    """Metres along camera z; a farther pixel only marks the space up to here as free."""
    min_depth: float = Field(default=0.1, gt=0)
    """Metres along camera z; nearer pixels are ignored."""
    surface_band: float | None = Field(default=None, gt=0)
    """Metres around the surface that receive colour and label; None means half the truncation."""
    range_weight: bool = False
    """Multiply weights by 1 / max(z, 1 m)^4, ray density times depth noise; keep it off when the given weights model noise."""
    carve: bool = True
    """Record free space along the whole ray, in cells of two voxels, not only in the blocks around surfaces."""
    threads: int | None = Field(default=None, ge=1, le=256)
    """Threads that fuse; None means one per core, at most four. The result is the same bytes for any number."""
    max_memory: int | None = Field(default=None, gt=0)
    """Bytes of the map that stay in memory while fusing; the least recently used part moves to unnamed files in the folder for
    temporary files (TMPDIR). None means all of it. The result is the same bytes; reading the map as a whole still loads it.
    """

    @model_validator(mode="after")
    def _check_together(self) -> TSDFConfig:
        if self.min_depth >= self.max_depth:
            raise ValueError(f"min_depth must be below max_depth, got {self.min_depth} and {self.max_depth}")
        if self.truncation_distance < self.voxel_size:
            raise ValueError(f"truncation must be at least one voxel of {self.voxel_size} m, got {self.truncation}")
        if self.surface_distance > self.truncation_distance:
            raise ValueError(f"surface_band must not exceed the truncation, got {self.surface_band}")
        if not self.voxel_size <= self.behind_distance <= self.truncation_distance:
            raise ValueError(f"behind must be between one voxel and the truncation, got {self.behind}")
        return self

    @property
    def truncation_distance(self) -> float:
        """The truncation in metres."""
        return TRUNCATION_VOXELS * self.voxel_size if self.truncation is None else self.truncation

    @property
    def behind_distance(self) -> float:
        """How far behind a surface space is measured, in metres."""
        return min(BEHIND_VOXELS * self.voxel_size, self.truncation_distance) if self.behind is None else self.behind

    @property
    def farthest_behind(self) -> float:
        """How far behind the farthest surface space is measured, in metres."""
        return max(self.behind_distance, self.behind_per_meter * self.max_depth)

    @property
    def surface_distance(self) -> float:
        """Half the width in metres of the band that receives colour and label."""
        return 0.5 * self.truncation_distance if self.surface_band is None else self.surface_band
