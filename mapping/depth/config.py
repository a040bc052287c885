"""Settings of what depth pixels are worth, and of the alignment of depth over a sequence."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

LEAST_AGREEMENT = 0.1
"""The share of its weight that a pixel keeps whose normal is farthest from that of the depth itself."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AlignmentConfig:
    """What may be wrong with a frame's depth, and what it is compared with.

    The correction of a frame is a smooth field of log scale over the image, and perhaps a shift of inverse depth. The deviations
    are those of a Gaussian process that says beforehand how large and how smooth corrections are.
    """

    rows: int = Field(default=5, ge=1, le=16)
    """Nodes of the field from top to bottom; rows and columns of 1 leave one scale a frame."""
    columns: int = Field(default=6, ge=1, le=16)
    """Nodes of the field across the image."""
    scale_deviation: float = Field(default=0.05, gt=0)
    """Expected error of a frame's scale (log)."""
    field_deviation: float = Field(default=0.03, ge=0)
    """Expected error across the image beside the scale (log)."""
    field_length: float = Field(default=0.25, gt=0)
    """Correlation length of that error as a share of the image's width."""
    shift_deviation: float = Field(default=0.0, ge=0)
    """Expected shift of inverse depth (1/m); 0 for none: networks that speak metres have little of it."""
    neighbours: int = Field(default=24, ge=0, le=64)
    """Other frames that each frame is compared with; 0 for none."""
    min_overlap: float = Field(default=0.1, gt=0, le=1)
    """Share of a frame's points that another must see to be compared."""
    normals: bool = True
    """Whether predicted normals, as the slope of depth, have a say."""
    normal_deviation_deg: float = Field(default=6.0, gt=0)
    """Expected error of a normal over a surface, which bounds what normals say."""
    depth_deviation: float = Field(default=0.01, gt=0)
    """Expected relative disagreement of two frames at a point, beside what the correction can mend."""
    rounds: int = Field(default=4, ge=1, le=50)
    """Times that frames are matched anew and solved for."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DepthWeightConfig:
    """How much a depth pixel is worth in fusion. Each reason for less can be switched off."""

    noise_power: float = Field(default=1.0, ge=0)
    """The deviation of depth grows as z to this power: 1 for learned depth, 2 for stereo and structured light, 0 if not."""
    reference_depth: float = Field(default=1.0, gt=0)
    """Metres up to which noise does not grow: the weight there is 1."""
    grazing: bool = True
    """Whether surfaces count less the more they are seen at a grazing angle, by the given normals."""
    min_cosine: float = Field(default=0.02, ge=0, lt=1)
    """A surface seen at a smaller cosine between its normal and the ray counts for nothing."""
    flying: bool = True
    """Whether pixels that hang in the air between two surfaces count for nothing."""
    jump: float = Field(default=0.05, gt=0)
    """The share of depth by which a pixel hangs between its neighbours to count for nothing, as flying in the air."""
    edge_strength: float = Field(default=0.5, ge=0, le=1)
    """The share of its weight that a pixel loses where the edge probability is 1; 0 for off."""
    agreement: bool = True
    """Whether pixels count less whose given normal is not that of the depth itself."""
    disagreement_deg: float = Field(default=60.0, gt=0, le=90)
    """The angle between the given normal and that of the depth itself at which a pixel has lost nine tenths of its weight."""
    confidence: bool = True
    """Whether the confidence that comes with the depth counts."""
