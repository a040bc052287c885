"""The surface of which a graph is built: that of a volume, and of what was there only for a time, which the volume lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from mapping.mesh.mesh import Mesh, concatenate
from scenegraph.files import json_values as values
from scenegraph.labels import LabelSpace
from scenegraph.objects.evidence import EvidentMesh, NameEvidence

if TYPE_CHECKING:
    from mapping.tsdf.volume import TSDFVolume


@dataclass(frozen=True, eq=False)
class TransientSurface:
    """Surface that was there only for a time: its mesh in the world of the graph, and where its vertices (V, 3) lie in the volume
    that saw it."""

    mesh: Mesh
    volume: TSDFVolume
    vertices: NDArray[np.float64]


@dataclass(frozen=True)
class PredictedLabels:
    """The space of predicted labels, and how sure their source was of each on average, by id, where that is known."""

    space: LabelSpace
    certainty: dict[int, float]

    @staticmethod
    def of(space: LabelSpace, noted: object, where: str) -> PredictedLabels:
        """With what a run noted of its labels, by their ids as text; raises GraphFormatError that begins with `where`."""
        known = {str(label): label for label in space.by_id}
        found = values.mapping(noted, where)
        sure = {known[name]: values.at_least_zero(found[name], where, most=1.0) for name in found if name in known}
        return PredictedLabels(space, sure)


def labelled_mesh(
    volume: TSDFVolume,
    mesh: Mesh,
    predicted: PredictedLabels | None,
    transient: Sequence[TransientSurface] = (),
    sampled: csr_matrix | None = None,
) -> EvidentMesh:
    """The mesh of a volume with the transient surfaces; where labels are predicted, with those that the evidence of all frames
    is for, and that evidence, to which belongs how often labels were `sampled` (V, number of label ids) at the volume's own."""
    whole = concatenate([mesh, *(surface.mesh for surface in transient)])
    if predicted is None:
        return EvidentMesh(whole)
    seen = [(volume, mesh.vertices), *((surface.volume, surface.vertices) for surface in transient)]
    weights = [NameEvidence.of(one.label_evidence(at), len(at), predicted.space).weights for one, at in seen]
    if sampled is not None:
        sampled = sampled.copy()
        sampled.resize(len(whole.vertices), sampled.shape[1])  # none at transient surface
    evidence = NameEvidence(vstack(weights).tocsr(), sampled).smoothed(whole.faces)
    return EvidentMesh(evidence.labelled(whole, predicted.space), evidence, predicted.certainty)
