"""How far the frames of a run agree on what a piece of surface is, where labels are predicted.

A network that names a class only where that is right more often than not leaves most pixels of what it does not know without a
name. In the map the few frames that did name one would decide alone, so pixels without a name are evidence too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from mapping.mesh.mesh import Mesh
from mapping.tsdf.label_evidence import LabelEvidence
from scenegraph.labels import LabelSpace
from scenegraph.objects.samples import PixelSamples

MORE_OFTEN_THAN_NOT = 0.5


@dataclass(frozen=True, eq=False)
class NameEvidence:
    """The evidence (V, number of label ids) of each label at a mesh's vertices, in columns by id; column 0 is that of no name.

    sampled, of the same shape, is how often frames sampled each label with its probability (`SampledLabels`), where they did.
    """

    weights: csr_matrix
    sampled: csr_matrix | None = None

    @staticmethod
    def of(evidence: LabelEvidence, count: int, label_space: LabelSpace) -> NameEvidence:
        """From the evidence at `count` vertices; ids that the label space lacks, `unnamed` among them, count as no name."""
        known = np.isin(evidence.label, sorted(label_space.by_id))
        labels = np.where(known, evidence.label, 0).astype(np.int64)
        shape = (count, max(label_space.by_id) + 1)
        return NameEvidence(csr_matrix((evidence.weight, (evidence.point, labels)), shape=shape))

    def smoothed(self, faces: NDArray[np.int32]) -> NameEvidence:
        """The evidence of each vertex, twice, with that of its neighbours in a mesh of these faces (F, 3).

        What is seen well speaks for what is seen badly next to it, unlike in a vote, in which all vertices count alike.
        """
        count = self.weights.shape[0]
        a, b, c = faces.astype(np.int64).T
        ends = np.concatenate([a, b, c, b, c, a]), np.concatenate([b, c, a, a, b, c])
        neighbours = csr_matrix((np.ones(len(ends[0])), ends), shape=(count, count))
        neighbours.data[:] = 1.0  # an edge between two faces was added twice
        return replace(self, weights=(2 * self.weights + neighbours @ self.weights).tocsr())

    def labelled(self, mesh: Mesh, label_space: LabelSpace) -> Mesh:
        """The mesh with the label of most evidence at each vertex, 0 without a name.

        Structure needs half of the evidence: less of it is mostly at an object without a name. Which object labels hold is
        decided by the evidence of whole objects.
        """
        names = self.weights.tocsc(copy=True)
        names.data[: names.indptr[1]] = 0
        names = names.tocsr()
        most = np.asarray(names.max(axis=1).todense(), dtype=np.float64).ravel()
        total = np.asarray(self.weights.sum(axis=1), dtype=np.float64).ravel()
        labels = np.where(most > 0, np.asarray(names.argmax(axis=1)).ravel(), 0)
        doubtful = label_space.mask_of_kind("structure", labels) & (most < MORE_OFTEN_THAN_NOT * total)
        return replace(mesh, labels=np.where(doubtful, 0, labels).astype(np.uint16))

    def share_of(self, labels: NDArray[np.integer]) -> NDArray[np.float64]:
        """(V,) share of one label (V,) in the evidence at each vertex; 0 without evidence."""
        total = np.asarray(self.weights.sum(axis=1), dtype=np.float64).ravel()
        weight = np.asarray(self.weights[np.arange(len(labels)), labels.astype(np.int64)], dtype=np.float64).ravel()
        return np.divide(weight, total, out=np.zeros_like(total), where=total > 0)

    def shares(self, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(number of label ids,) share of each label in the evidence of vertices (N,), which count by `weights` (N,), such as
        their areas; column 0 is the share of no name. All 0 without evidence."""
        return _shares(self.weights, vertices, weights)

    def probabilities(self, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """(number of label ids,) mean probability of each label at vertices (N,), which count by `weights` (N,); column 0 is that
        of none. All 0 where no frame saw them, None where labels were not sampled."""
        return None if self.sampled is None else _shares(self.sampled, vertices, weights)


def _shares(counts: csr_matrix, vertices: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.asarray(counts[vertices].T @ weights, dtype=np.float64)
    return sums / max(float(sums.sum()), 1e-12)


@dataclass(frozen=True, eq=False)
class EvidentMesh:
    """A mesh with what else is known of it.

    Where labels are predicted, that is the evidence behind them, and how sure their source was of each label on average, by id,
    where that is known; where depth is measured, the pixels of objects.
    """

    mesh: Mesh
    evidence: NameEvidence | None = None
    certainty: Mapping[int, float] = field(default_factory=dict)
    samples: PixelSamples | None = None
