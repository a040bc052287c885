"""Settings of the weights of depth pixels and of the alignment of depth over a sequence."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

MIN_AGREEMENT = 0.1
"""The share of its weight that a pixel keeps whose normal is farthest from that of the depth itself."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AlignmentConfig:
    """The errors that depth of a frame may have, and what it is compared with.

    The correction of a frame is a smooth field of log scale over the image, and perhaps a shift of inverse depth. The deviations
    are those of a Gaussian process that is the prior of corrections: how large and how smooth they are.
    """

    rows: int = Field(default=5, ge=1, le=16)
    """Nodes of the field from top to bottom; rows and columns of 1 give one scale per frame."""
    columns: int = Field(default=6, ge=1, le=16)
    """Nodes of the field across the image."""
    scale_deviation: float = Field(default=0.05, gt=0)
    """Expected error of a frame's scale (log)."""
    field_deviation: float = Field(default=0.03, ge=0)
    """Expected error across the image in addition to the scale (log)."""
    field_length: float = Field(default=0.25, gt=0)
    """Correlation length of that error as a share of the image's width."""
    shift_deviation: float = Field(default=0.0, ge=0)
    """Expected shift of inverse depth (1/m); 0 for none: networks that predict metres have little of it."""
    neighbours: int = Field(default=24, ge=0, le=64)
    """Other frames that each frame is compared with; 0 for none."""
    min_overlap: float = Field(default=0.1, gt=0, le=1)
    """Share of the points of a frame that another must see to be compared."""
    normals: bool = True
    """Whether predicted normals constrain the slope of depth."""
    normal_deviation_deg: float = Field(default=6.0, gt=0)
    """Expected error of a normal over a surface, which limits the weight of normals."""
    depth_deviation: float = Field(default=0.01, gt=0)
    """Expected relative disagreement of two frames at a point that corrections cannot remove."""
    rounds: int = Field(default=4, ge=1, le=50)
    """Rounds of matching frames and solving for the corrections."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DepthWeightConfig:
    """The weight of a depth pixel in fusion. Each reason for a lower weight can be switched off."""

    noise_power: float = Field(default=1.0, ge=0)
    """The deviation of depth grows as z to this power: 1 for learned depth, 2 for stereo and structured light, 0 for constant."""
    reference_depth: float = Field(default=1.0, gt=0)
    """Metres up to which noise does not grow: the weight there is 1."""
    grazing: bool = True
    """Whether surfaces weigh less the more grazing the angle they are seen at, by the given normals."""
    min_cosine: float = Field(default=0.02, ge=0, lt=1)
    """A surface seen at a smaller cosine between its normal and the ray gets weight 0."""
    flying: bool = True
    """Whether flying pixels, which lie in the air between two surfaces, get weight 0."""
    jump: float = Field(default=0.05, gt=0)
    """The share of depth by which a flying pixel differs from both of its neighbours."""
    edge_strength: float = Field(default=0.5, ge=0, le=1)
    """The share of its weight that a pixel loses where the edge probability is 1; 0 for off."""
    agreement: bool = True
    """Whether pixels weigh less whose given normal differs from that of the depth itself."""
    disagreement_deg: float = Field(default=60.0, gt=0, le=90)
    """The angle between the given normal and that of the depth itself at which a pixel has lost nine tenths of its weight."""
    confidence: bool = True
    """Whether the confidence that comes with the depth multiplies the weight."""
