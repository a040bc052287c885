"""Metrics of a mesh against ground truth: position and normals of its surface, its labels, and doubled walls.

Protocol. Both surfaces are sampled uniformly by area and measured to the other *surface*, not to its samples, so that the
sampling density does not show in the distances. Accuracy and precision compare the whole predicted surface with the whole
truth: invented surface lowers them even where no camera looked. Completeness, recall and labels are measured on the part
of the truth that some frame could see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh, sample_surface
from mapping.mesh.raycast import MeshCaster

Array = NDArray[np.float64]
Visibility = Callable[[Array, Array], NDArray[np.bool_]]
"""Which of the surface points (N, 3) with normals (N, 3) some frame could see."""

SAMPLES = 200_000
LABEL_REACH = 0.10
"""Metres; labels are not compared at truth samples without predicted surface this near: recall already counts those."""

SHEET_MIN, SHEET_MAX = 0.05, 0.30  # metres between two sheets of a doubled wall
SHEET_SHIFT = 0.05  # metres; the truth is searched for sheets this much further, for a map that is slightly displaced
SHEET_COS = float(np.cos(np.deg2rad(30)))  # sheets whose normals differ by more are not parallel
DOUBLE_WALL_SAMPLES = 50_000

MESH_SCORES = (
    *("accuracy_m", "completeness_m", "precision_5cm", "recall_5cm", "f_5cm", "f_10cm"),
    *("normal_consistency", "label_accuracy", "label_miou", "double_wall_rate"),
)


class TruthError(ValueError):
    """A ground-truth mesh that nothing can be compared with."""


@dataclass(frozen=True, eq=False)
class SurfaceSamples:
    """Points (N, 3) on a mesh, the unit normals (N, 3) of the faces they lie on, and their labels (N,), 0 where unknown."""

    points: Array
    normals: Array
    labels: NDArray[np.uint16]

    def chosen(self, mask: NDArray[np.bool_]) -> SurfaceSamples:
        """The samples where the mask is true."""
        return SurfaceSamples(self.points[mask], self.normals[mask], self.labels[mask])


def mesh_metrics(
    predicted: Mesh,
    truth: Mesh,
    rng: np.random.Generator,
    *,
    is_visible: Visibility | None = None,
    samples: int = SAMPLES,
) -> dict[str, float | None]:
    """All metrics of the comparison; None where one is undefined (nothing predicted, no labels).

    accuracy_m, completeness_m : mean metres from predicted samples to the truth, from visible truth samples to the prediction.
    precision_5cm, recall_5cm, f_5cm, f_10cm : share of samples within the distance, and their harmonic mean.
    normal_consistency : mean absolute cosine between the normals at a sample and at the nearest point of the other surface,
        averaged over both directions (Mescheder et al., CVPR 2019).
    label_accuracy, label_miou : at the visible truth samples of known label that have predicted surface within 10 cm; an unknown
        prediction is wrong; the mean IoU is over the classes that these truth samples have.
    double_wall_rate : see `double_wall_rate`.

    Raises TruthError when the truth has no surface or none that is visible.
    """
    if not truth.face_areas().sum() > 0:
        raise TruthError("the true mesh has no surface")
    truth_samples = sample_with_labels(truth, samples, rng)
    if is_visible is not None:
        truth_samples = truth_samples.chosen(is_visible(truth_samples.points, truth_samples.normals))
    if len(truth_samples.points) == 0:
        raise TruthError("no frame sees any of the true surface")
    if not predicted.face_areas().sum() > 0:
        nothing = dict.fromkeys(("precision_5cm", "recall_5cm", "f_5cm", "f_10cm"), 0.0)
        return dict.fromkeys(MESH_SCORES) | nothing
    predicted_samples = sample_with_labels(predicted, samples, rng)
    to_truth, truth_normals, _ = _nearest(MeshCaster(truth), predicted_samples.points)
    to_predicted, predicted_normals, predicted_labels = _nearest(MeshCaster(predicted), truth_samples.points)
    precision, recall = ({d: _share(to <= d) for d in (0.05, 0.10)} for to in (to_truth, to_predicted))
    consistency = (
        _mean_cosine(predicted_samples.normals, truth_normals) + _mean_cosine(truth_samples.normals, predicted_normals)
    ) / 2
    known = (truth_samples.labels > 0) & (to_predicted <= LABEL_REACH) & (predicted.labels is not None)
    label_accuracy, label_miou = label_scores(truth_samples.labels[known], predicted_labels[known])
    return {
        "accuracy_m": float(to_truth.mean()),
        "completeness_m": float(to_predicted.mean()),
        "precision_5cm": precision[0.05],
        "recall_5cm": recall[0.05],
        "f_5cm": harmonic_mean(precision[0.05], recall[0.05]),
        "f_10cm": harmonic_mean(precision[0.10], recall[0.10]),
        "normal_consistency": consistency,
        "label_accuracy": label_accuracy,
        "label_miou": label_miou,
        "double_wall_rate": double_wall_rate(predicted, truth, rng, samples=min(samples, DOUBLE_WALL_SAMPLES)),
    }


def sample_with_labels(mesh: Mesh, count: int, rng: np.random.Generator) -> SurfaceSamples:
    """`count` area-weighted samples; each takes the label of the nearest corner of its face.

    Raises ValueError when the mesh has no area.
    """
    points, faces = sample_surface(mesh, count, rng)
    return SurfaceSamples(points, mesh.face_normals()[faces], _labels_at(mesh, faces, points))


def label_scores(truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> tuple[float, float] | tuple[None, None]:
    """Accuracy and mean IoU of labels (N,) at the same points, over the classes of `truth`; None without any."""
    if len(truth) == 0:
        return None, None
    ious = [
        np.sum((truth == label) & (predicted == label)) / np.sum((truth == label) | (predicted == label))
        for label in np.unique(truth)
    ]
    return _share(truth == predicted), float(np.mean(ious))


def double_wall_rate(
    predicted: Mesh, truth: Mesh, rng: np.random.Generator, *, samples: int = DOUBLE_WALL_SAMPLES
) -> float:
    """Share of the predicted surface that is doubled: where frames disagree, one wall becomes two parallel sheets.

    A line along the normal is intersected with the prediction at every sample of its surface. Intersections within 30 cm with
    the same orientation (within 30 degrees) are sheets; those less than 5 cm apart are one rough sheet. The sample is doubled
    when there are at least two sheets, and more than the truth has on the same line, up to 5 cm further. The two faces of a
    wall have opposite orientations and are never a pair; neither are shelves that the truth also has; both sheets of a doubled
    wall count. 0 for an empty prediction.
    """
    if not predicted.face_areas().sum() > 0:
        return 0.0
    points, faces = sample_surface(predicted, samples, rng)
    normals = predicted.face_normals()[faces]
    sheets = _count_sheets(predicted, points, normals, SHEET_MAX)
    true_sheets = _count_sheets(truth, points, normals, SHEET_MAX + SHEET_SHIFT)
    return _share((sheets >= 2) & (sheets > true_sheets))


def doubled_share(mesh: Mesh, rng: np.random.Generator, *, samples: int = DOUBLE_WALL_SAMPLES) -> float:
    """Share of a surface with a second sheet of the same orientation 5 to 30 cm before or behind it; needs no truth.

    Sheets are those of `double_wall_rate`, but real parallel surfaces (shelves, a seat below a table) count too: a map of
    furnished rooms has a few percent, and one with doubled walls several times that. 0 for an empty mesh.
    """
    if not mesh.face_areas().sum() > 0:
        return 0.0
    points, faces = sample_surface(mesh, samples, rng)
    return _share(_count_sheets(mesh, points, mesh.face_normals()[faces], SHEET_MAX) >= 2)


def rim_per_area(mesh: Mesh) -> float:
    """Metres of open edge per square metre of surface, a measure of ragged borders and holes; 0 for a closed surface."""
    area = float(mesh.face_areas().sum())
    if not area > 0:
        return 0.0
    edges = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    rim = mesh.vertices[unique[count == 1]]
    return float(np.linalg.norm(rim[:, 1] - rim[:, 0], axis=1).sum()) / area


def harmonic_mean(precision: float, recall: float) -> float:
    """F1; 0 when both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _count_sheets(mesh: Mesh, points: Array, normals: Array, reach: float) -> NDArray[np.int64]:
    """Sheets (N,) of the mesh on the line through each point, `reach` metres to both sides, with about the same normal."""
    rays, t, faces = MeshCaster(mesh).all_hits(points - reach * normals, normals)
    parallel = np.einsum("ij,ij->i", mesh.face_normals()[faces], normals[rays]) >= SHEET_COS
    keep = parallel & (t <= 2 * reach)
    rays, t = rays[keep], t[keep]
    order = np.lexsort((t, rays))
    rays, t = rays[order], t[order]
    # The first of a run of intersections on one line, each less than 5 cm from the previous one.
    starts = np.ones(len(rays), dtype=bool)
    starts[1:] = (rays[1:] != rays[:-1]) | (np.diff(t) >= SHEET_MIN)
    return np.bincount(rays[starts], minlength=len(points))


def _nearest(caster: MeshCaster, points: Array) -> tuple[Array, Array, NDArray[np.uint16]]:
    """Distance (N,), unit normal (N, 3) and label (N,) of the nearest surface."""
    distance, faces, weights = caster.closest(points)
    mesh = caster.mesh
    on_surface = np.einsum("ij,ijk->ik", weights, mesh.vertices[mesh.faces[faces]])
    return distance, mesh.face_normals()[faces], _labels_at(mesh, faces, on_surface)


def _labels_at(mesh: Mesh, faces: NDArray[np.integer], points: Array) -> NDArray[np.uint16]:
    """Labels (N,) of points on faces: that of the nearest corner; 0 for a mesh without labels."""
    if mesh.labels is None:
        return np.zeros(len(points), np.uint16)
    corners = mesh.faces[faces]
    distance = np.linalg.norm(mesh.vertices[corners] - points[:, None], axis=2)
    return mesh.labels[corners[np.arange(len(corners)), np.argmin(distance, axis=1)]]


def _mean_cosine(a: Array, b: Array) -> float:
    return float(np.abs(np.einsum("ij,ij->i", a, b)).mean())


def _share(mask: NDArray[np.bool_]) -> float:
    return float(np.mean(mask))
