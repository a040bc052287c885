"""Structure from motion with pycolmap: one camera, poses and sparse points of images in order, in a unit of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.evenly import evenly
from mapping.files import make_folder, remove_folder, write_text_atomic
from mapping.packages import require_networks
from pipelines.frame import SequenceError
from pipelines.posing.joining import DepthOf, JoinedPart, Links, SparseModel, best_attempt, join_models
from pipelines.posing.pycolmap_import import quiet_pycolmap
from pipelines.posing.scale_estimate import SparseView
from pipelines.sequences.masks import MASKS

Array = NDArray[np.float64]
CameraDepth = Callable[[str, Intrinsics], NDArray[np.float32]]
Progress = Callable[[str, int, int], None]

OFFSETS = (*range(1, 9), 10, 12, 16, 24, 32)
"""Distances in the order of the images at which pairs are matched."""
LOOP_IMAGES = 50
"""Images, spread over all, that are matched with each other, so that a place is recognised when the camera comes back."""
LEAST_TRACK = 3
MOST_ERROR = 2.0
"""Of a point that is used for the scale: observing images, and pixels of reprojection error."""
STARTS = ((8.0, 0), (16.0, 1), (4.0, 2))
"""Least angles in degrees between the rays to the points of the first two images, and seeds: attempts, of which the first that no
matched images contradict is taken."""
MOST_MODELS = 4
"""Parts that do not connect; each further one costs time, and small ones are hardly ever proved to belong."""
FOCAL_RANGE = (0.3, 5.0)
"""Focal lengths over the longer side of the image that a camera may have; a reconstruction with another one is wrong."""
SPREAD, MOST_ACROSS = 10, 400
"""Images of each of two models that are matched with each other, and most pairs that are matched to join models."""
SEED = 0


class MissingExtraError(ValueError):
    """Raised where pycolmap is not installed; the message has the commands to type."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What structure from motion found, in a unit and a world of its own.

    camera is that of all images, with its lens; poses (4, 4) are `T_world_camera` by the image's name; views have by name the
    points in the image without distortion. parts are what became of the models besides the largest.
    """

    camera: Intrinsics
    poses: Mapping[str, Array]
    views: Mapping[str, SparseView]
    parts: tuple[JoinedPart, ...] = ()


def import_pycolmap(command: str) -> Any:
    """The module pycolmap, silent; raises MissingExtraError with what to type, of which `command` is the last line, and
    MissingPackageError without torch."""
    try:
        pycolmap = quiet_pycolmap()
    except ImportError as error:
        raise MissingExtraError(
            f"images without poses need the extra sfm ({error}). Type: pip install 'm2h-mapping[sfm]' and then: {command}"
        ) from error
    require_networks("the scale of images without poses")  # minutes later it would be too late
    return pycolmap


def reconstruct(
    folder: Path,
    names: Sequence[str],
    work: Path,
    *,
    focal: float | None,
    depth_of: CameraDepth,
    command: str,
    progress: Progress,
) -> Reconstruction:
    """Poses and sparse points of the images `names` in `folder`, which are in the order of the recording and of one size.

    Features and matches are kept in `work`/database.db, and found there by a second call. No features are found where a mask in
    `work`/masks, named NAME.png, is black. `focal` is a first value in pixels;
    None guesses one. `depth_of` predicts the depth (H, W) of an image without the lens of a camera; it is asked only where models
    do not connect. Raises SequenceError where no two images connect or the result cannot be right, and MissingExtraError.
    """
    pycolmap = import_pycolmap(command)
    database = work / "database.db"
    _extract(pycolmap, folder, names, database, focal=focal, progress=progress)
    _match(pycolmap, image_pairs(len(names)), names, database, work, progress=progress)
    models = _best_models(pycolmap, folder, names, (database, work), progress)
    if not models:
        raise SequenceError(
            f"{folder}: structure from motion connects no two of {len(names)} frames: the camera must move sideways, slowly, "
            "past surfaces with texture"
        )
    camera = models[0].camera
    _check_camera(camera, folder)
    whole, parts = _joined(pycolmap, models, names, (database, work), lambda name: depth_of(name, camera), progress)
    return Reconstruction(camera, whole.poses, whole.views, parts)


def image_pairs(count: int) -> list[tuple[int, int]]:
    """The pairs (i, j), i < j, of images in order that are matched: neighbours at `OFFSETS`, and all of `LOOP_IMAGES`."""
    near = {(i, i + offset) for offset in OFFSETS for i in range(count - offset)}
    loop = np.unique(np.linspace(0, count - 1, LOOP_IMAGES).astype(int)).tolist()
    return sorted(near | {(i, j) for i in loop for j in loop if i < j})


def pairs_across(models: Sequence[Sequence[int]], count: int) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of images of different models, each a list of places in the order, that `image_pairs` has not: those
    nearest in the order and, between any two models, `SPREAD` of each with each; at most `MOST_ACROSS`."""
    matched = set(image_pairs(count))
    spread: set[tuple[int, int]] = set()
    near: set[tuple[int, int]] = set()
    for first, second in combinations(models, 2):
        near |= {(min(i, j), max(i, j)) for i in first for j in second if i != j}
        chosen = [evenly(sorted(places), SPREAD) for places in (first, second)]
        spread |= {(min(i, j), max(i, j)) for i in chosen[0] for j in chosen[1] if i != j}
    ordered = sorted(near - matched, key=lambda pair: (pair[1] - pair[0], pair))
    mixed = [*sorted(spread - matched)[: MOST_ACROSS // 2]]
    return sorted({*mixed, *ordered[: MOST_ACROSS - len(mixed)]})


def focal_from_exif(path: Path) -> float | None:
    """The focal length in pixels of the image as it is stored, from its EXIF data; None where it has none."""
    pycolmap = import_pycolmap("")
    try:
        camera = pycolmap.infer_camera_from_image(path)
    except (RuntimeError, ValueError):
        return None
    return float(camera.mean_focal_length()) if camera.has_prior_focal_length else None


def _extract(
    pycolmap: Any, folder: Path, names: Sequence[str], database: Path, *, focal: float | None, progress: Progress
) -> None:
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "SIMPLE_RADIAL"
    if (masks := database.parent / MASKS).is_dir():
        reader.mask_path = masks
    if focal is not None:
        width, height = _size(folder / names[0])
        reader.camera_params = f"{focal},{width / 2},{height / 2},0"
    options = pycolmap.FeatureExtractionOptions()
    options.sift.max_num_features = 4096
    options.sift.peak_threshold = 0.002  # walls and furniture have less contrast than the façades of the default
    progress("features", 0, len(names))
    pycolmap.extract_features(
        database,
        folder,
        image_names=list(names),
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=reader,
        extraction_options=options,
        device=pycolmap.Device.cpu,
    )
    progress("features", len(names), len(names))


def _match(
    pycolmap: Any,
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str],
    database: Path,
    work: Path,
    *,
    progress: Progress,
) -> None:
    listed = work / "pairs.txt"
    write_text_atomic(listed, "".join(f"{names[i]} {names[j]}\n" for i, j in pairs))
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = listed
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = SEED
    progress("matches", 0, len(pairs))
    pycolmap.match_image_pairs(
        database, pairing_options=pairing, verification_options=verification, device=pycolmap.Device.cpu
    )
    progress("matches", len(pairs), len(pairs))


def _best_models(
    pycolmap: Any, folder: Path, names: Sequence[str], places: tuple[Path, Path], progress: Progress
) -> Sequence[SparseModel]:
    """All models, the largest first, from that of the `STARTS` whose poses the matches agree with best."""
    pairs = [(names[i], names[j]) for i, j in image_pairs(len(names))]
    with pycolmap.Database.open(places[0]) as stored:

        def models_of(start: tuple[float, int]) -> list[SparseModel]:
            mapped = _map(pycolmap, folder, len(names), places, start, progress)
            return [_arrays(model, stored) for model in sorted(mapped, key=lambda model: -model.num_reg_images())]

        return best_attempt(map(models_of, STARTS), pairs, _links(stored))


def _map(
    pycolmap: Any,
    folder: Path,
    count: int,
    places: tuple[Path, Path],
    start: tuple[float, int],
    progress: Progress,
) -> list[Any]:
    """All models from one of the `STARTS`; incremental, since global mapping registers more frames of real walks but puts many of
    them at wrong places."""
    database, work = places
    options = pycolmap.IncrementalPipelineOptions()
    options.mapper.init_min_tri_angle, options.random_seed = start
    options.extract_colors = False
    options.max_num_models = MOST_MODELS
    options.mapper.init_min_num_inliers = 50
    options.mapper.abs_pose_min_num_inliers = 20
    options.ba_global_frames_ratio = options.ba_global_points_ratio = 1.2  # half the time, the same error
    options.ba_global_max_refinements = 3
    out = work / "models"
    remove_folder(out)
    make_folder(out)
    registered = 2

    def advance() -> None:
        nonlocal registered
        registered = min(registered + 1, count - 1)  # frames that join no model are tried again for others
        progress("camera poses", registered, count)

    models = pycolmap.incremental_mapping(database, folder, out, options, next_image_callback=advance)
    progress("camera poses", count, count)
    return list(models.values())


def _joined(
    pycolmap: Any,
    models: Sequence[SparseModel],
    names: Sequence[str],
    places: tuple[Path, Path],
    depth_of: DepthOf,
    progress: Progress,
) -> tuple[SparseModel, tuple[JoinedPart, ...]]:
    """The largest model, first of `models`, with those that more matches between their images prove to belong to it."""
    database, work = places
    place = {name: i for i, name in enumerate(names)}
    held = [[place[name] for name in model.poses] for model in models]
    if pairs := pairs_across(held, len(names)):
        _match(pycolmap, pairs, names, database, work, progress=progress)
    with pycolmap.Database.open(database) as stored:
        return join_models(models, names, _links(stored), depth_of)


def _links(stored: Any) -> Links:
    """The features (M, 2) that two images have in common, by their names, from an open database."""
    numbers = {image.name: image.image_id for image in stored.read_all_images()}

    def links(a: str, b: str) -> NDArray[np.int64]:
        if not stored.exists_two_view_geometry(numbers[a], numbers[b]):
            return np.zeros((0, 2), np.int64)
        geometry = stored.read_two_view_geometry(numbers[a], numbers[b])
        return np.asarray(geometry.inlier_matches, dtype=np.int64).reshape(-1, 2)

    return links


def _arrays(model: Any, stored: Any) -> SparseModel:
    """A model of pycolmap as arrays, of the features that are stored in the database."""
    images = _registered(model)
    features, shown = {}, {}
    for image in images:
        features[image.name] = stored.read_keypoints(image.image_id)[:, :2].astype(np.float64) - 0.5
        points = np.full((len(features[image.name]), 3), np.nan)
        for number in image.get_observation_point2D_idxs():
            point = model.points3D[image.points2D[number].point3D_id]
            if point.error <= MOST_ERROR:
                points[number] = point.xyz
        shown[image.name] = points
    return SparseModel(
        _intrinsics(next(iter(model.cameras.values()))),
        {image.name: _pose(image) for image in images},
        features,
        shown,
        {image.name: _view(model, image) for image in images},
    )


def _registered(model: Any) -> list[Any]:
    return [model.images[number] for number in model.reg_image_ids()]


def _check_camera(camera: Intrinsics, folder: Path) -> None:
    """Raises SequenceError where the camera cannot be right."""
    share = camera.fx / max(camera.width, camera.height)
    k1 = camera.distortion[0] if camera.is_distorted else 0.0
    if not FOCAL_RANGE[0] < share < FOCAL_RANGE[1] or abs(k1) > 1:
        raise SequenceError(
            f"{folder}: structure from motion found a camera that cannot be right (focal length {share:.2g} image widths, "
            f"k1 {k1:.2g}): the camera must move sideways past surfaces at several distances"
        )


def _intrinsics(camera: Any) -> Intrinsics:
    """A camera of pycolmap with integer pixel centres."""
    focal, cx, cy, k1 = (float(value) for value in camera.params)
    return Intrinsics(focal, focal, cx - 0.5, cy - 0.5, camera.width, camera.height, (k1, 0.0, 0.0, 0.0) if k1 else ())


def _pose(image: Any) -> Array:
    T = np.eye(4)
    T[:3] = image.cam_from_world().inverse().matrix()
    return T


def _view(model: Any, image: Any) -> SparseView:
    """The reliable points that an image observed, where a camera without distortion sees them."""
    numbers = [point.point3D_id for point in image.get_observation_points2D()]
    points = [model.points3D[number] for number in dict.fromkeys(numbers)]
    kept = [point.xyz for point in points if point.track.length() >= LEAST_TRACK and point.error <= MOST_ERROR]
    seen = np.array(kept, dtype=np.float64).reshape(-1, 3) @ image.cam_from_world().rotation.matrix().T
    seen = seen + image.cam_from_world().translation
    seen = seen[seen[:, 2] > 0]
    camera = next(iter(model.cameras.values()))
    pixels = camera.focal_length * seen[:, :2] / seen[:, 2:]
    centre = [camera.principal_point_x - 0.5, camera.principal_point_y - 0.5]
    return SparseView(pixels + centre, seen[:, 2])


def _size(path: Path) -> tuple[int, int]:
    from pipelines.images import image_size

    return image_size(path)
