"""Settings of the scene graph's stages."""

from __future__ import annotations

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class PlaceConfig:
    """Voronoi skeleton of free space and its sparsification."""

    cell_size: float = Field(default=0.1, ge=0.01)
    """Metres; edge of the cells in which free space is counted."""
    min_clearance: float = Field(default=0.3, gt=0)
    """Metres; least distance of the skeleton to the nearest surface."""
    parent_separation: float = Field(default=2.0, gt=0)
    """Metres (sum over axes); least distance between the nearest surfaces of neighbouring cells for a skeleton cell ..."""
    parent_cos: float = Field(default=0.2, ge=-1, le=1)
    """... or the cosine below which the angle between the directions to them must lie."""
    compression: float = Field(default=0.9, gt=0)
    """Metres; connected skeleton cells in one cube of this size become one place."""
    min_place_clearance: float = Field(default=0.4, gt=0)
    """Metres; smaller spheres are dropped."""
    min_edge_clearance: float = Field(default=0.25, gt=0)
    """Metres of clearance along the line between two connected places."""
    max_bridge: float = Field(default=2.0, ge=0)
    """Metres; separate pieces of the skeleton are connected by straight lines up to this long ..."""
    min_bridge_clearance: float = Field(default=0.4, gt=0)
    """... that keep this clearance (metres)."""
    min_component: int = Field(default=3, ge=1)
    """Places; smaller pieces are dropped."""


@dataclass(frozen=True, config=STRICT)
class RoomConfig:
    """Rooms of a storey from the walls over the floor plan and from the place graph."""

    plan_cell: float = Field(default=0.05, ge=0.01)
    """Metres; cells of the floor plan."""
    wall_share: float = Field(default=0.4, gt=0, le=1)
    """Share of the heights between railings and door lintels that must contain surface for a cell to be wall."""
    railing_height: float = Field(default=1.0, gt=0)
    """Metres above the floor; what ends below does not bound a room."""
    lintel_height: float = Field(default=2.1, gt=0)
    """Metres above the floor; surface above this and below the ceiling bounds a doorway."""
    wall_thickness: float = Field(default=0.4, gt=0)
    """Metres; the thickest wall that a doorway runs through."""
    merge_ratio: float = Field(default=0.9, gt=0, le=1)
    """Ratio of an opening's width to that of the narrower room above which the two are certainly one room ..."""
    split_ratio: float = Field(default=0.5, gt=0, le=1)
    """... and below which they are certainly two; between, lintels, door labels, jambs and the place graph decide."""
    min_area: float = Field(default=1.2, gt=0)
    """Square metres; smaller pieces are merged into a neighbour."""
    min_width: float = Field(default=0.7, gt=0)
    """Metres; narrower pieces are merged into a neighbour."""
    fill_distance: float = Field(default=0.8, ge=0)
    """Metres by which a room is extended into unobserved space and under furniture."""
    min_dilation: float = Field(default=0.4, ge=0)
    """Metres; least dilation of the obstacles in the place graph's filtration."""
    max_dilation: float = Field(default=1.2, gt=0)
    """Metres; greatest dilation."""
    min_component: int = Field(default=5, ge=1)
    """Places of a piece of the filtered graph that count as a room."""
    plateau_ratio: float = Field(default=0.25, gt=0, le=1)
    """Lifetimes of at least this share of the longest one are considered; of these the one with the most rooms is chosen."""

    @model_validator(mode="after")
    def _check_order(self) -> RoomConfig:
        for low, high in (
            ("split_ratio", "merge_ratio"),
            ("min_dilation", "max_dilation"),
            ("railing_height", "lintel_height"),
        ):
            if getattr(self, low) >= getattr(self, high):
                raise ValueError(f"{low} must be below {high}, got {getattr(self, low)} and {getattr(self, high)}")
        return self


@dataclass(frozen=True, config=STRICT)
class StoreyConfig:
    """Storeys from the heights of floors."""

    min_height: float = Field(default=2.0, gt=0)
    """Metres between two floors, and the least height of a ceiling."""
    default_height: float = Field(default=2.4, gt=0)
    """Metres; height of a storey whose ceiling was not observed."""
    min_floor_area: float = Field(default=1.0, gt=0)
    """Least square metres of level surface of a floor."""
    min_floor_share: float = Field(default=0.15, gt=0, le=1)
    """A floor has at least this share of the area of the largest one."""
    ground: float | None = None
    """Height of the lowest floor in metres; None is that by which the map was levelled, if enough of it was seen."""


@dataclass(frozen=True, config=STRICT)
class ObjectConfig:
    """Objects from connected surface of one class."""

    smoothing: int = Field(default=2, ge=0, le=1000)
    """Rounds in which a vertex takes the label of most of its neighbours."""
    min_area: float = Field(default=0.008, gt=0)
    """Least square metres of surface of an object."""
    min_vertices: int = Field(default=12, ge=1)
    """Least number of vertices of an object."""
    touch_gap: float = Field(default=0.06, ge=0)
    """Metres between pieces of one class that are merged unless the result would be too large for its class."""
    max_gap: float = Field(default=0.3, ge=0)
    """The same where one of the pieces is too small to be a whole object."""
    max_cut: float = Field(default=0.3, ge=0, le=2)
    """Largest normalised cut at which an object too large for its class is cut in two."""
    trim: float = Field(default=0.004, ge=0, lt=0.5)
    """Share of the vertices at either end of a box axis that may be outliers."""
    sample_trim: float = Field(default=0.002, ge=0, lt=0.5)
    """The same for the pixels to which boxes are fitted where depth is measured."""
    flat_trim: float = Field(default=0.04, ge=0, lt=0.5)
    """The same for pictures, mirrors and similar objects, whose labels spill onto the wall."""
    leg_gap: float = Field(default=0.8, ge=0)
    """Metres by which the box of furniture with legs may be extended down to its support."""
    support_gap: float = Field(default=0.12, ge=0)
    """Metres by which any box may be extended down to the surface below it."""
    wall_gap: float = Field(default=0.06, ge=0)
    """Metres by which any box may be extended back to the wall behind it."""
    flat_depth: float = Field(default=0.03, ge=0)
    """Metres; least thickness of pictures, mirrors and similar objects, whose back is never observed."""
    least_extent: float | None = Field(default=None, ge=0)
    """Metres; of predicted labels, objects that are smaller than this in all directions are dropped. None is 0.2 for depth that
    is not measured, whose errors are of that size, and 0 elsewhere."""
    unnamed_extent: float = Field(default=0.3, ge=0)
    """Metres; of predicted labels, objects without a name are reported where they are at least this large in all directions."""


@dataclass(frozen=True, config=STRICT)
class StructureConfig:
    """Floor, walls and ceiling by geometry, and the objects between them, for maps without labels or with doubtful ones."""

    corrects_labels: bool | None = None
    """Whether labels give way where geometry contradicts them; None is yes for those that a network predicts in a run, no
    elsewhere."""
    plane_distance: float = Field(default=0.08, gt=0)
    """Metres from a plane within which surface belongs to it."""
    below_floor: float = Field(default=0.3, ge=0)
    """Metres below the floor in which surface counts as floor too: reflections and noise."""
    min_wall_area: float = Field(default=0.6, gt=0)
    """Least square metres of a connected wall."""
    min_wall_length: float = Field(default=0.9, gt=0)
    """Least length of a wall in metres."""
    min_wall_height: float = Field(default=0.7, gt=0)
    """Least metres from the lowest to the highest observed part of a wall."""
    wall_top: float = Field(default=1.7, gt=0)
    """Metres above the floor that a wall must reach (or 80 % of the storey where that is less)."""
    wall_bottom: float = Field(default=1.25, gt=0)
    """Metres above the floor below which a wall must begin, unlike hung cupboards."""
    wall_continuation: float = Field(default=1.2, ge=0)
    """Metres along its plane over which a wall continues beyond doors and windows."""
    rim_vertices: int = Field(default=30, ge=0)
    """Pieces of fewer vertices next to structure are part of it."""
    smoothness_deg: float = Field(default=60.0, gt=0)
    """How readily patches of 6 cm are merged into smooth pieces: degrees divided by the number of patches of a piece."""
    min_patches: int = Field(default=6, ge=1)
    """Smooth pieces of fewer patches are merged into a neighbour."""
    concavity_deg: float = Field(default=20.0, gt=0)
    """Degrees by which the surface must turn inwards between two smooth pieces for them to stay separate."""
    min_area: float = Field(default=0.03, gt=0)
    """Least square metres of an unlabelled object."""


@dataclass(frozen=True, config=STRICT)
class AgentConfig:
    """The layer of camera poses."""

    min_distance: float = Field(default=0.5, ge=0)
    """Metres moved (plus the weighted turn) between two poses that become nodes."""
    turn_weight: float = Field(default=0.1, ge=0)
    """Metres for a difference of 1 in the Frobenius norm of the rotations."""
    min_time: float = Field(default=0.2, ge=0)
    """Longest time in seconds between two poses that become nodes."""
    view_distance: float = Field(default=5.0, gt=0)
    """Metres; farther objects are not counted as seen."""


@dataclass(frozen=True, config=STRICT)
class RelationConfig:
    """Relations between objects."""

    margin: float = Field(default=0.08, ge=0)
    """Metres around an object's footprint in which its supporting surface is searched."""
    max_gap: float = Field(default=0.08, gt=0)
    """Metres between the base of an object and its support."""
    min_touch: float = Field(default=0.3, ge=0, le=1)
    """How well base and support must meet: 1 at no gap, 0.37 at `max_gap`; or the support's share of the surface around."""
    min_overlap: float = Field(default=0.5, ge=0, le=1)
    """Share of an object's footprint that lies over its support."""
    min_inside: float = Field(default=0.85, ge=0, le=1)
    """Share of an object's box that lies in the box of its container."""
    next_distance: float = Field(default=0.3, gt=0)
    """Horizontal metres between objects that are next to each other."""
    min_beside: float = Field(default=0.5, ge=0, le=1)
    """Share of the lower object's height over which two objects next to each other overlap in height."""


@dataclass(frozen=True, config=STRICT)
class SceneGraphConfig:
    """All settings from a map to a scene graph."""

    objects: ObjectConfig = Field(default_factory=ObjectConfig)
    """Objects of a labelled map."""
    structure: StructureConfig = Field(default_factory=StructureConfig)
    """Structure and objects of a map without labels."""
    places: PlaceConfig = Field(default_factory=PlaceConfig)
    """Places."""
    rooms: RoomConfig = Field(default_factory=RoomConfig)
    """Rooms."""
    storeys: StoreyConfig = Field(default_factory=StoreyConfig)
    """Storeys."""
    agents: AgentConfig = Field(default_factory=AgentConfig)
    """Camera poses."""
    relations: RelationConfig = Field(default_factory=RelationConfig)
    """Relations between objects."""
