"""Settings of the comparison of two visits."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DiffConfig:
    """When two objects of two visits are the same, and what counts as a change."""

    same_place: float = Field(default=0.3, gt=0)
    """Metres between the centres of an object that was not moved; more for larger ones, up to a quarter of their diagonal."""
    same_overlap: float = Field(default=0.35, gt=0, le=1)
    """Share of the smaller box that the two have in common when they are the same or a part of it, whatever their centres."""
    other_label_overlap: float = Field(default=0.5, gt=0, le=1)
    """Intersection over union from which two objects of different labels are one."""
    size_ratio: float = Field(default=1.5, ge=1)
    """Largest ratio of an edge of a moved object between the visits, on top of 5 cm, where only boxes are known."""
    min_views: int = Field(default=2, ge=0)
    """Frames that must have seen an object for it to count as a change, where graphs know their frames."""
    min_diagonal: float = Field(default=0.35, ge=0)
    """Metres; smaller objects do not count as changes, since they are often found in one visit and missed in the next, except
    for those that move with what carries them."""
    reach: float = Field(default=1.0, gt=0)
    """Metres around the free places of a visit within which its observation is taken to be complete, where only graphs are
    known."""
    min_known: float = Field(default=0.3, gt=0, le=1)
    """Share of an object's surface of which the other visit must know whether it is there."""
    contradicted_share: float = Field(default=0.65, gt=0, le=1)
    """Share of what the other visit knows of an object's surface that it must have seen free, for the object to be absent."""
    shifted_share: float = Field(default=0.2, gt=0, le=1)
    """The same, in both visits, of an object that was moved by less than its own size."""
    min_shape: float = Field(default=0.45, ge=0, le=1)
    """Share of the surface that both visits saw of a moved object that must agree."""
    unmatched_cost: float = Field(default=2.4, gt=0)
    """Cost of an object that disappeared together with one that appeared, compared with that of one that was moved: four times
    the share of surface that disagrees beyond a fifth, up to 0.8 for another colour, up to 0.5 for what only one visit saw of it,
    and 0.15 for each metre."""
