"""Settings of what moves: detections in single views, tracks over a sequence, and when static objects were there."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class DetectionConfig:
    """Finding things that may move in one view."""

    dilation: float = Field(default=0.01, ge=0, le=0.2)
    """Share of the image width by which moving pixels are widened before the rest is fused."""
    max_depth: float = Field(default=10.0, gt=0)
    """Metres; what is farther is not detected."""
    cell_size: float = Field(default=0.1, gt=0)
    """Metres; edge of the floor plan's cells in which the pixels are counted."""
    min_column: float = Field(default=0.06, ge=0)
    """Metres of visible height that a cell must show to belong to a thing; flying pixels show less."""
    join_distance: float = Field(default=0.2, gt=0)
    """Metres over the floor plan that separate two things, at least; farther away `join_share` of the distance counts."""
    join_share: float = Field(default=0.04, ge=0)
    """Share of the distance to the camera by which depth may scatter within a thing."""
    min_area: float = Field(default=0.03, ge=0)
    """Square metres that must be visible."""
    min_pixels: int = Field(default=20, ge=1)
    """Pixels that must be visible."""
    occlusion_gap: float = Field(default=0.2, gt=0)
    """Metres by which something must be nearer to count as hiding a part."""
    floor_radius: float = Field(default=1.5, gt=0)
    """Metres around a thing within which its floor is looked for."""


@dataclass(frozen=True, config=STRICT)
class TrackingConfig:
    """Joining detections over time."""

    acceleration: float = Field(default=1.2, gt=0)
    """m / s^1.5; how quickly a thing changes its velocity over the floor (root of the spectral density)."""
    vertical_acceleration: float = Field(default=0.3, gt=0)
    """m / s^1.5; the same upwards and downwards."""
    speed: float = Field(default=1.2, gt=0)
    """m/s; standard deviation of the velocity with which a thing appears."""
    depth_noise: float = Field(default=0.03, ge=0)
    """Standard deviation of the distance to the camera, as a share of it."""
    position_noise: float = Field(default=0.05, gt=0)
    """Metres; standard deviation of a measured centre on top of that."""
    cut_noise: float = Field(default=0.2, ge=0)
    """Metres; standard deviation of a centre that is completed because the thing is cut off on one side."""
    gate: float = Field(default=4.0, gt=0)
    """Standard deviations within which a detection can belong to a track."""
    max_gap: float = Field(default=0.5, gt=0)
    """Seconds without a detection after which a stay in view ends; who comes next is then found by way and look."""
    max_speed: float = Field(default=2.5, gt=0)
    """m/s; the fastest way from where a thing was last seen to where it is seen again."""
    return_odds: float = Field(default=1.5)
    """Log odds that what comes into view was in view before, rather than somebody new; 0 is even."""
    absence_cost: float = Field(default=0.3, ge=0)
    """What is taken off these log odds as an absence grows: this times log(1 + absence / 10 s)."""
    join_margin: float = Field(default=1.0, ge=0)
    """Log odds by which a stay must fit one thing better than another before it is given to it."""
    max_interpolation: float = Field(default=0.5, ge=0)
    """Seconds; frames in shorter gaps get a position as well."""
    min_detections: int = Field(default=3, ge=1)
    """Detections that make a track."""


@dataclass(frozen=True, config=STRICT)
class PresenceConfig:
    """When static objects were there."""

    frames: int = Field(default=400, ge=0)
    """Frames, evenly chosen, that are asked; 0 leaves presence open."""
    points: int = Field(default=64, ge=1)
    """Points on each object's surface that a frame is compared with."""
    max_depth: float = Field(default=5.0, gt=0)
    """Metres; what is farther is not asked for."""
    tolerance: float = Field(default=0.08, gt=0)
    """Metres by which measured depth and the map may differ; twice that behind a point, a ray has passed through it."""
    tolerance_share: float = Field(default=0.02, ge=0)
    """What is added to that, as a share of the depth."""
    least_points: int = Field(default=4, ge=1)
    """Points of an object that a frame must tell something about."""
    least_share: float = Field(default=0.1, ge=0, le=1)
    """The same as a share of the object's points."""
    certainty: float = Field(default=2.0, gt=0)
    """Log odds that a frame gives when all of its points agree."""
    change_cost: float = Field(default=6.0, ge=0)
    """Log odds that an appearing or disappearing must gain to be believed."""


@dataclass(frozen=True, config=STRICT)
class DynamicsConfig:
    """Things that move, and things that come and go."""

    detection: DetectionConfig = DetectionConfig()
    tracking: TrackingConfig = TrackingConfig()
    presence: PresenceConfig = PresenceConfig()
