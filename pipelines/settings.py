"""All settings of `m2h run`: the packages' own configurations in one tree, with a default for everything."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from mapping.depth.depth_config import AlignmentConfig, DepthWeightConfig
from mapping.multiview.multiview_config import MultiviewConfig, NeighbourConfig
from mapping.tsdf.tsdf_config import TSDFConfig
from scenegraph.graph_config import SceneGraphConfig
from scenegraph.tracks.track_config import DynamicsConfig

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class SpacingConfig:
    """Which frames are left out because the camera hardly moved since the last one that was used."""

    mode: Literal["auto", "on", "off"] = "auto"
    """`auto` leaves frames out where depth or labels have to be predicted and the unit of the poses is known."""
    metres: float = Field(default=0.04, ge=0, le=1e9)
    """Distance from the last one at which a frame is used; with `on` in the unit of the poses."""
    degrees: float = Field(default=4.0, ge=0, le=180)
    """Turn since the last one at which a frame is used."""
    seconds: float = Field(default=0.35, ge=0)
    """Time since the last one after which a frame is used however the camera stands: what moves is seen often enough."""


@dataclass(frozen=True, config=STRICT)
class FramesConfig:
    """Which frames of the sequence are used."""

    stride: int = Field(default=1, ge=1)
    """Every n-th usable frame."""
    start: int = 0
    """First frame index."""
    stop: int | None = None
    """One past the last frame index; None is the end."""
    spacing: SpacingConfig = SpacingConfig()
    """How far apart frames are."""
    longest_side: Annotated[int, Field(ge=64)] | Literal["auto"] | None = "auto"
    """Longer side in pixels to which larger images are reduced; `auto` is 640 where depth or labels are predicted, null never."""
    max_broken: float = Field(default=0.05, ge=0, le=1)
    """Share of unreadable frames above which the run stops."""


@dataclass(frozen=True, config=STRICT)
class CheckConfig:
    """The check of the input before it is mapped: conventions, times of poses, focal length."""

    trust: bool = False
    """Whether a sequence is mapped as it is read although its own frames contradict that."""


@dataclass(frozen=True, config=STRICT)
class PosesConfig:
    """Refinement of the given poses by the images."""

    refine: Literal["auto", "on", "off"] = "auto"
    """`auto` refines where depth is found by means of the poses, the images show that these are off, and it is found to help."""
    most_frames: int = Field(default=600, ge=10)
    """Most frames that are adjusted themselves; of more, every n-th is, and those between are moved with their neighbours."""


@dataclass(frozen=True, config=STRICT)
class PosingConfig:
    """How a recording without poses gets them."""

    max_frames: int = Field(default=300, ge=5, le=10000)
    """Most frames that are picked from a video or a folder of images."""
    image_size: int = Field(default=1024, ge=128, le=8192)
    """Longer side in pixels of the images in which features are found; larger images are reduced."""


@dataclass(frozen=True, config=STRICT)
class NetworkConfig:
    """How a network that matches neighbouring frames is asked."""

    passes: int = Field(default=1, ge=1, le=2)
    """With 2, the map of a first pass is shown to the network in every frame, which then predicts again."""
    neighbours: NeighbourConfig = NeighbourConfig()
    """Which frames are matched with each."""
    wide_neighbours: NeighbourConfig = NeighbourConfig(best_angle_deg=14.0)
    """Which further frames, seen under a larger angle: they say more exactly where a point lies, and find it less surely."""
    detector: bool = True
    """Whether what a detector of objects in photographs finds is evidence for the labels, where these are of NYU40."""


@dataclass(frozen=True, config=STRICT)
class AlignConfig:
    """Alignment of the depth of all frames to one scale before fusion."""

    mode: Literal["auto", "on", "off"] = "auto"
    """`auto` aligns predicted depth, and does not change depth from a sensor or from the images themselves."""
    points: bool = True
    """Whether depth is compared with the sparse points of a COLMAP reconstruction, where the sequence has them."""
    pose_scale: float | None = Field(default=None, ge=1e-9, le=1e9)
    """Metres in one unit of the sequence's poses; None is metres, or for COLMAP estimated from predicted depth."""
    solver: AlignmentConfig = AlignmentConfig()
    """The error model of the depth of a frame, and its comparison."""


@dataclass(frozen=True, config=STRICT)
class MeshConfig:
    """The part of the volume that becomes surface."""

    min_weight: float = Field(default=0.005, gt=0)
    """Least summed weight of all eight corners of a cell; 1 is one certain observation."""
    min_share: float | None = Field(default=None, ge=0, le=1)
    """Least weight as a share of that of the best seen tenth of the surface around; None is 0.04 for a network that matches
    neighbouring frames, which is sure of some pixels and guesses others, and 0 elsewhere."""


@dataclass(frozen=True, config=STRICT)
class PipelineConfig:
    """All settings of `m2h run`."""

    frames: FramesConfig = FramesConfig()
    """Which frames are used."""
    check: CheckConfig = CheckConfig()
    """The check of the input."""
    poses: PosesConfig = PosesConfig()
    """Refinement of the poses."""
    posing: PosingConfig = PosingConfig()
    """Poses of a plain video or of plain images."""
    up: tuple[float, float, float] | None = None
    """Up direction in the sequence's world; None is that of the format or of the floor."""
    multiview: MultiviewConfig = MultiviewConfig()
    """Depth from images and poses, for --source multiview and --refine."""
    network: NetworkConfig = NetworkConfig()
    """The network, for --source m2h."""
    align: AlignConfig = AlignConfig()
    """The scale of depth, frame by frame."""
    planes: Literal["auto", "on", "off"] = "auto"
    """Whether depth of floors, ceilings, walls and tables is placed on planes that all frames together show; `auto` does so where
    depth and labels are predicted."""
    depth: DepthWeightConfig = DepthWeightConfig()
    """The weight of each depth pixel."""
    tsdf: TSDFConfig = TSDFConfig()
    """The volume."""
    mesh: MeshConfig = MeshConfig()
    """The extracted surface."""
    dynamics: DynamicsConfig = DynamicsConfig()
    """What moves."""
    graph: SceneGraphConfig = SceneGraphConfig()
    """Objects, places, rooms and storeys."""

    @model_validator(mode="after")
    def _up_is_a_direction(self) -> PipelineConfig:
        if self.up is not None and not (all(map(math.isfinite, self.up)) and any(self.up)):
            raise ValueError(f"up must be three finite numbers that are not all zero, got {self.up}")
        return self
