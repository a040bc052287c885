"""The bundle of an adjustment of given poses, in pycolmap: features as observations, given positions and rotations as priors.

pycolmap has priors of positions alone. Where few features connect two parts of a walk, images leave open how one is turned
against the other, and the map bends. So each frame has a second, coarse camera in its place, which sees points in fixed
directions by the given rotation: so far away that only the rotation moves them in the image, and with a focal length at which
what one standard deviation moves them by weighs as a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.multiview.features import Features
from mapping.se3 import inverse, turn_between
from pipelines.posing.pycolmap_import import quiet_pycolmap
from pipelines.posing.tracks import TYPICAL_STEP, Tracks, typical_distance

Array = NDArray[np.float64]
PRIOR = 0.02
"""Standard deviation of given positions, as a share of the distance that the camera typically moves in 40 frames."""
PRIOR_TURN = 0.035
"""The same of given rotations, in radians."""
DIRECTIONS = np.array([[0.4, 0.3, 1.0], [-0.4, 0.3, 1.0], [0.0, -0.5, 1.0]])
"""In each camera, of the points that hold its rotation."""
TIMES_SEEN = 2
"""How often each of them is observed: pycolmap adjusts no point with a single observation."""
FAR = 1e4
"""Their distance, as a multiple of that which the camera typically moves."""
SEED, ANY_ERROR = 0, 1e6
"""Of the draws of positions by which the model is laid on the given ones, and the distance up to which these count: all do, so
that no draw decides on the result. Left to chance, no two runs found the same poses."""
ERRORS = (4.0, 2.5)
"""Pixels of reprojection error above which observations are ignored after each round."""
ITERATIONS = 30
TOLERANCE = 1e-4
"""Relative fall of the cost at which an adjustment ends; iterations beyond move poses by less than the features are off."""
LEAST_TURN_DEG = 8.0
"""Median rotation of the camera over `TYPICAL_STEP` frames from which the focal length is refined."""
CAMERA, COARSE = 1, 2
"""Numbers of the camera of the images and of the one that sees the directions."""


def deviation_of(poses: Array) -> float:
    """Standard deviation of given positions in their unit."""
    return max(PRIOR * typical_distance(poses), 1e-9)


def build_model(
    features: Sequence[Features], tracks: Tracks, camera: Intrinsics, poses: Array, used: NDArray[np.bool_]
) -> Any:
    """The pycolmap reconstruction of the used frames; image i + 1 is frame i. Pixels are square, 0.5 at the first centre."""
    model = _with_cameras(camera)
    square = camera.fx / camera.fy
    for i in map(int, np.flatnonzero(used)):
        pixels = features[i].pixels.copy()
        pixels[:, 1] = (pixels[:, 1] - camera.cy) * square + camera.cy
        _add_frame(model, i, len(poses), pixels + 0.5, inverse(poses[i]))
    pycolmap = quiet_pycolmap()
    order = np.argsort(tracks.point, kind="stable")
    order = order[used[tracks.frame[order]]]
    starts = np.flatnonzero(np.diff(tracks.point[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        if len(members) > 1:
            track = pycolmap.Track(
                [pycolmap.TrackElement(int(tracks.frame[k]) + 1, int(tracks.feature[k])) for k in members]
            )
            model.add_point3D(tracks.points[tracks.point[members[0]]], track, np.zeros(3, np.uint8))
    return model


def _with_cameras(camera: Intrinsics) -> Any:
    """A reconstruction of frames that two cameras take from one place: that of the images, and the coarse one."""
    pycolmap = quiet_pycolmap()
    model = pycolmap.Reconstruction()
    lens = [camera.fx, camera.cx + 0.5, camera.cy + 0.5, camera.distortion[0] if camera.is_distorted else 0.0]
    size = {"width": camera.width, "height": camera.height}
    model.add_camera(pycolmap.Camera(model="SIMPLE_RADIAL", **size, params=lens, camera_id=CAMERA))
    focal = _coarse_focal()
    model.add_camera(
        pycolmap.Camera(
            model="SIMPLE_PINHOLE",
            width=1 + int(2 * focal),
            height=1 + int(2 * focal),
            params=[focal] * 3,
            camera_id=COARSE,
        )
    )
    rig = pycolmap.Rig(rig_id=1)
    rig.add_ref_sensor(_sensor(pycolmap, CAMERA))
    rig.add_sensor(_sensor(pycolmap, COARSE), pycolmap.Rigid3d())
    model.add_rig(rig)
    return model


def _coarse_focal() -> float:
    """Pixels at which all observations of a frame's directions together weigh as a prior of `PRIOR_TURN`."""
    return float(1 / (PRIOR_TURN * np.sqrt(TIMES_SEEN * len(DIRECTIONS))))


def _sensor(pycolmap: Any, number: int) -> Any:
    return pycolmap.sensor_t(type=pycolmap.SensorType.CAMERA, id=number)


def _add_frame(model: Any, i: int, count: int, pixels: Array, T_camera_world: Array) -> None:
    """Frame i of `count`: image i + 1 with its pixels (n, 2), and image i + 1 + count, in which the directions are seen."""
    pycolmap = quiet_pycolmap()
    focal = _coarse_focal()
    directions = np.repeat(DIRECTIONS[:, :2] * focal + focal, TIMES_SEEN, axis=0)
    seen = {CAMERA: (i + 1, pixels), COARSE: (i + 1 + count, directions)}
    frame = pycolmap.Frame(frame_id=i + 1, rig_id=1, rig_from_world=pycolmap.Rigid3d(T_camera_world[:3]))
    for number, (image_id, _) in seen.items():
        frame.add_data_id(pycolmap.data_t(sensor_id=_sensor(pycolmap, number), id=image_id))
    model.add_frame(frame)
    for number, (image_id, keypoints) in seen.items():
        image = pycolmap.Image(name=f"{image_id:06d}", keypoints=keypoints, camera_id=number, image_id=image_id)
        image.frame_id = i + 1
        model.add_image(image)
    model.register_frame(i + 1)


def solve_model(model: Any, poses: Array, used: NDArray[np.bool_]) -> None:
    """Adjust poses, points, focal length and distortion of the model, in rounds between which wrong observations are dropped.

    `poses` (N, 4, 4) are the given `T_world_camera`.
    """
    pycolmap = quiet_pycolmap()
    options, priors = _options(poses), _position_priors(model, poses, used)
    for limit in ERRORS:
        config = pycolmap.BundleAdjustmentConfig()
        for image_id in model.images:
            config.add_image(image_id)
        config.set_constant_cam_intrinsics(COARSE)
        ends = _add_directions(model, poses, used)
        for end in ends:
            config.add_constant_point(end)
        settings = pycolmap.PosePriorBundleAdjustmentOptions()
        settings.alignment_ransac.random_seed, settings.alignment_ransac.max_error = SEED, ANY_ERROR
        pycolmap.create_pose_prior_bundle_adjuster(options, settings, config, priors, model).solve()
        for end in ends:
            model.delete_point3D(end)
        pycolmap.ObservationManager(model).filter_all_points3D(limit, 1.0)


def _options(poses: Array) -> Any:
    pycolmap = quiet_pycolmap()
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_principal_point = options.refine_sensor_from_rig = False
    options.refine_focal_length = options.refine_extra_params = _tells_focal_length(poses)
    options.print_summary = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = 1.0
    options.ceres.solver_options.max_num_iterations = ITERATIONS
    options.ceres.solver_options.function_tolerance = TOLERANCE
    options.ceres.solver_options.num_threads = 1  # sums in one order: the same result every time
    return options


def _tells_focal_length(poses: Array) -> bool:
    """Whether the camera turns enough: of one that only moves along, any focal length goes with other depths."""
    step = min(TYPICAL_STEP, len(poses) - 1)
    return bool(np.median(turn_between(poses[step:], poses[:-step])) > LEAST_TURN_DEG)


def _position_priors(model: Any, poses: Array, used: NDArray[np.bool_]) -> list[Any]:
    pycolmap = quiet_pycolmap()
    deviation, priors = deviation_of(poses), []
    for i in np.flatnonzero(used):
        prior = pycolmap.PosePrior()
        prior.pose_prior_id = int(i) + 1
        prior.corr_data_id = model.image(int(i) + 1).data_id
        prior.position = poses[i, :3, 3]
        prior.position_covariance = np.eye(3) * deviation**2
        prior.coordinate_system = pycolmap.PosePriorCoordinateSystem.CARTESIAN
        priors.append(prior)
    return priors


def _add_directions(model: Any, poses: Array, used: NDArray[np.bool_]) -> list[int]:
    """The points at the ends of the directions by the given poses; their numbers in the model."""
    pycolmap = quiet_pycolmap()
    distance, ends = FAR * max(typical_distance(poses), 1e-9), []
    for i in map(int, np.flatnonzero(used)):
        for k, direction in enumerate(DIRECTIONS):
            observed = [pycolmap.TrackElement(i + 1 + len(poses), TIMES_SEEN * k + time) for time in range(TIMES_SEEN)]
            end = poses[i, :3, :3] @ (distance * direction) + poses[i, :3, 3]
            ends.append(model.add_point3D(end, pycolmap.Track(observed), np.zeros(3, np.uint8)))
    return ends
