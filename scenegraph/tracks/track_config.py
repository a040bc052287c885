"""Settings for moving things: detections in single views, tracks over a sequence, and presence of static objects."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class DetectionConfig:
    """Detection of moving things in one view."""

    dilation: float = Field(default=0.01, ge=0, le=0.2)
    """Share of the image width by which the mask of moving pixels is dilated before the rest is fused."""
    max_depth: float = Field(default=10.0, gt=0)
    """Metres; things farther away are not detected."""
    cell_size: float = Field(default=0.1, ge=0.01)
    """Metres; edge of the floor plan's cells in which the pixels are counted."""
    min_column: float = Field(default=0.06, ge=0)
    """Least metres of visible height in a cell of a thing; flying pixels show less."""
    join_distance: float = Field(default=0.2, gt=0)
    """Metres over the floor plan that separate two things, at least; farther away `join_share` of the distance applies."""
    join_share: float = Field(default=0.04, ge=0)
    """Share of the distance to the camera by which depth may scatter within a thing."""
    min_area: float = Field(default=0.03, ge=0)
    """Least visible square metres of a thing; those that the image border cuts may show less."""
    min_pixels: int = Field(default=8, ge=1)
    """Least visible pixels of a thing."""
    occlusion_gap: float = Field(default=0.2, gt=0)
    """Metres by which something must be nearer to count as an occluder."""
    floor_radius: float = Field(default=1.5, gt=0)
    """Metres around a thing within which its floor is searched."""
    one_distance: bool | None = None
    """Whether what is connected in the image is one thing, whatever its depth; None is yes where depth is not measured."""


@dataclass(frozen=True, config=STRICT)
class TrackingConfig:
    """Joining detections over time."""

    acceleration: float = Field(default=1.2, gt=0)
    """m / s^1.5; how quickly a thing changes its horizontal velocity (root of the spectral density)."""
    vertical_acceleration: float = Field(default=0.3, gt=0)
    """m / s^1.5; the same in the vertical direction."""
    speed: float = Field(default=1.2, gt=0)
    """m/s; standard deviation of the velocity with which a thing appears."""
    depth_noise: float = Field(default=0.03, ge=0)
    """Standard deviation of the distance to the camera, as a share of it."""
    position_noise: float = Field(default=0.05, gt=0)
    """Metres; standard deviation of a measured centre in addition to that."""
    cut_noise: float = Field(default=0.2, ge=0)
    """Metres; standard deviation of a centre that is completed because the thing is cut off on one side."""
    gate: float = Field(default=4.0, gt=0)
    """Standard deviations within which a detection can belong to a track."""
    max_gap: float = Field(default=0.5, gt=0)
    """Seconds without a detection after which a stay in view ends; later stays are then matched by path and appearance."""
    max_speed: float = Field(default=2.5, gt=0)
    """m/s; greatest speed between the last detection of a thing and its reappearance."""
    return_odds: float = Field(default=1.5)
    """Prior log odds that a thing coming into view was in view before; 0 is even."""
    absence_cost: float = Field(default=0.3, ge=0)
    """Decrease of these log odds with the length of an absence: this times log(1 + absence / 10 s)."""
    join_margin: float = Field(default=1.0, ge=0)
    """Log odds by which a stay must fit one thing better than another to be assigned to it."""
    max_interpolation: float = Field(default=0.5, ge=0)
    """Seconds; frames in shorter gaps have an interpolated position."""
    min_detections: int = Field(default=3, ge=1)
    """Least detections of a track."""


@dataclass(frozen=True, config=STRICT)
class PresenceConfig:
    """Presence of static objects."""

    frames: int = Field(default=400, ge=0)
    """Evenly spaced frames that are used; 0 leaves presence unknown."""
    points: int = Field(default=64, ge=1)
    """Points on each object's surface that a frame is compared with."""
    max_depth: float = Field(default=5.0, gt=0)
    """Metres; farther points are ignored."""
    tolerance: float = Field(default=0.08, gt=0)
    """Metres by which measured depth and the map may differ; a ray that ends farther behind a point than 1.5 times that has
    passed through it."""
    tolerance_share: float = Field(default=0.02, ge=0)
    """Addition to that, as a share of the depth."""
    least_points: int = Field(default=4, ge=1)
    """Least points of an object for which a frame has evidence."""
    least_share: float = Field(default=0.1, ge=0, le=1)
    """The same as a share of the object's points."""
    certainty: float = Field(default=2.0, gt=0)
    """Log odds from a frame when all of its points agree."""
    change_cost: float = Field(default=6.0, ge=0)
    """Least log odds gained by an appearance or disappearance to be accepted."""
    transient: Literal["auto", "on", "off"] = "auto"
    """Whether what was there only for a time gets its surface back, which rays through its place take out of the map; auto: where
    depth is measured."""
    free_share: float = Field(default=0.35, gt=0, lt=1)
    """Distance from the map's surface, in truncations, from which measured depth ends in what the map takes for free space."""
    transient_frames: float = Field(default=1.5, gt=0)
    """Frames that saw such surface, in the mean of its corners, from which it counts."""
    transient_area: float = Field(default=0.01, ge=0)
    """Least square metres of such surface."""


@dataclass(frozen=True, config=STRICT)
class DynamicsConfig:
    """Things that move, and objects that appear and disappear."""

    motion: bool | None = None
    """Whether things without a label of a dynamic class are found to move, by depth that ends where others saw free space; None
    is where depth is measured: errors of predicted depth that follow the view look like motion."""
    detection: DetectionConfig = DetectionConfig()
    tracking: TrackingConfig = TrackingConfig()
    presence: PresenceConfig = PresenceConfig()
