"""Structure from motion with pycolmap: one camera, poses and sparse points of images in order, in a unit of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.files import make_folder, write_text_atomic
from pipelines.frame import SequenceError
from pipelines.posing.scale import SparseView

Array = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

OFFSETS = (*range(1, 9), 10, 12, 16, 24, 32)
"""Distances in the order of the images at which pairs are matched."""
LOOP_IMAGES = 50
"""Images, spread over all, that are matched with each other, so that a place is recognised when the camera comes back."""
LEAST_TRACK = 3
MOST_ERROR = 2.0
"""Of a point that is used for the scale: observing images, and pixels of reprojection error."""
MOST_MODELS = 4
"""Parts that do not connect; each further one costs time and only its size is reported."""
FOCAL_RANGE = (0.3, 5.0)
"""Focal lengths over the longer side of the image that a camera may have; a reconstruction with another one is wrong."""
SEED = 0


class MissingExtraError(ValueError):
    """Raised where pycolmap is not installed; the message has the commands to type."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What structure from motion found, in a unit and a world of its own.

    camera is that of all images, with its lens; poses (4, 4) are `T_world_camera` by the image's name; views have by name the
    points in the image without distortion. other_models are the sizes of the models that do not connect to this one.
    """

    camera: Intrinsics
    poses: dict[str, Array]
    views: dict[str, SparseView]
    other_models: tuple[int, ...]


def import_pycolmap(command: str) -> Any:
    """The module pycolmap, silent; raises MissingExtraError with what to type, of which `command` is the last line."""
    try:
        import pycolmap
    except ImportError as error:
        raise MissingExtraError(
            f"images without poses need the extra sfm ({error}). Type: pip install 'm2h-mapping[sfm]' and then: {command}"
        ) from error
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    return pycolmap


def reconstruct(
    folder: Path, names: Sequence[str], work: Path, *, focal: float | None, command: str, progress: Progress
) -> Reconstruction:
    """Poses and sparse points of the images `names` in `folder`, which are in the order of the recording and of one size.

    Features and matches are kept in `work`/database.db, and found there by a second call. `focal` is a first value in pixels;
    None guesses one. Raises SequenceError where no two images connect or the result cannot be right, and MissingExtraError.
    """
    pycolmap = import_pycolmap(command)
    database = work / "database.db"
    _extract(pycolmap, folder, names, database, focal=focal, progress=progress)
    _match(pycolmap, names, database, work, progress=progress)
    models = _map(pycolmap, folder, len(names), database, work, progress=progress)
    if not models:
        raise SequenceError(
            f"{folder}: structure from motion connects no two of {len(names)} frames: the camera must move sideways, slowly, "
            "past surfaces with texture"
        )
    best, *others = sorted(models, key=lambda model: -model.num_reg_images())
    return Reconstruction(
        _camera(best, folder),
        {image.name: _pose(image) for image in _registered(best)},
        {image.name: _view(best, image) for image in _registered(best)},
        tuple(model.num_reg_images() for model in others),
    )


def image_pairs(count: int) -> list[tuple[int, int]]:
    """The pairs (i, j), i < j, of images in order that are matched: neighbours at `OFFSETS`, and all of `LOOP_IMAGES`."""
    near = {(i, i + offset) for offset in OFFSETS for i in range(count - offset)}
    loop = np.unique(np.linspace(0, count - 1, LOOP_IMAGES).astype(int)).tolist()
    return sorted(near | {(i, j) for i in loop for j in loop if i < j})


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


def _match(pycolmap: Any, names: Sequence[str], database: Path, work: Path, *, progress: Progress) -> None:
    pairs = image_pairs(len(names))
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


def _map(pycolmap: Any, folder: Path, count: int, database: Path, work: Path, *, progress: Progress) -> list[Any]:
    """All models; incremental, since global mapping registers more frames of real walks but puts many of them at wrong places."""
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = SEED
    options.extract_colors = False
    options.max_num_models = MOST_MODELS
    options.mapper.init_min_num_inliers = 50
    options.mapper.abs_pose_min_num_inliers = 20
    options.ba_global_frames_ratio = options.ba_global_points_ratio = 1.2  # half the time, the same error
    options.ba_global_max_refinements = 3
    out = work / "models"
    make_folder(out)
    registered = 2

    def advance() -> None:
        nonlocal registered
        registered = min(registered + 1, count - 1)  # frames that join no model are tried again for others
        progress("camera poses", registered, count)

    models = pycolmap.incremental_mapping(database, folder, out, options, next_image_callback=advance)
    progress("camera poses", count, count)
    return list(models.values())


def _registered(model: Any) -> list[Any]:
    return [model.images[number] for number in model.reg_image_ids()]


def _camera(model: Any, folder: Path) -> Intrinsics:
    """The camera with integer pixel centres; raises SequenceError where it cannot be right."""
    camera = next(iter(model.cameras.values()))
    focal, k1 = float(camera.params[0]), float(camera.params[3])  # SIMPLE_RADIAL: f, cx, cy, k1
    cx, cy = float(camera.params[1]), float(camera.params[2])
    share = focal / max(camera.width, camera.height)
    if not FOCAL_RANGE[0] < share < FOCAL_RANGE[1] or abs(k1) > 1:
        raise SequenceError(
            f"{folder}: structure from motion found a camera that cannot be right (focal length {share:.2g} image widths, "
            f"k1 {k1:.2g}): the camera must move sideways past surfaces at several distances"
        )
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
