"""Depth from posed images, on rendered rooms whose depth is known exactly."""

import numpy as np
import pytest
import torch
from helpers import box_mesh

from mapping.camera import Intrinsics
from mapping.mesh.mesh import concatenate
from mapping.mesh.raycast import MeshCaster
from mapping.multiview.multiview import PROVED, MultiviewDepth, sweep_depth
from mapping.multiview.multiview_config import MultiviewConfig, NeighbourConfig
from mapping.multiview.neighbours import choose_neighbours
from mapping.multiview.views import CalibratedImage, Prior
from mapping.se3 import from_rotation_translation, look_at

pytestmark = pytest.mark.usefixtures("one_thread")

CAMERA = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
CONFIG = MultiviewConfig(
    width=160, min_depth=0.6, max_depth=6.0, neighbours=NeighbourConfig(scene_depth=2.0), device="cpu"
)


def texture(points):
    """Grey (..., 3) uint8 of world points (..., 3): waves of many lengths in space, the same from every side."""
    rng = np.random.default_rng(7)
    waves = rng.normal(size=(40, 3))
    waves *= rng.uniform(4, 40, size=(40, 1)) / np.linalg.norm(waves, axis=1, keepdims=True)  # 16 cm and longer
    value = np.sin(points @ waves.T + rng.uniform(0, 6, 40)).sum(axis=-1) / 40**0.5
    return np.repeat((255 / (1 + np.exp(-1.5 * value)))[..., None], 3, axis=-1).astype(np.uint8)


class TexturedRoom:
    """A textured room of 4 x 4 x 2.5 m with two boxes, and a camera that moves sideways before one of its walls."""

    def __init__(self, *, blank=None):
        mesh = concatenate(
            [
                box_mesh((4, 4, 2.5), (0, 0, 1.25), inward=True),
                box_mesh((0.6, 0.6, 0.9), (0.4, 0.6, 0.45)),
                box_mesh((0.5, 0.5, 1.5), (-0.8, 1.3, 0.75)),
            ]
        )
        self.caster, self.blank = MeshCaster(mesh), blank
        x = np.linspace(-0.4, 0.4, 9)
        self.poses = np.stack([look_at((a, -1.5, 1.3 + 0.05 * np.sin(9 * a)), (0.6 * a, 1.5, 0.9)) for a in x])
        self.views = [self.view(T) for T in self.poses]

    def depth(self, T):
        return self.caster.cast(CAMERA, T)[0]

    def view(self, T):
        points = (CAMERA.rays() * self.depth(T)[..., None]) @ T[:3, :3].T + T[:3, 3]
        rgb = texture(points)
        if self.blank is not None:
            rgb[self.blank(points)] = 128
        return CalibratedImage(rgb, CAMERA, T)


@pytest.fixture(scope="module")
def room():
    return TexturedRoom()


@pytest.fixture(scope="module")
def swept(room):
    return sweep_depth(room.views[4], [room.views[i] for i in (1, 2, 6, 7)], CONFIG)


def relative_error(depth, truth):
    known = depth > 0
    return np.abs(depth[known] / truth[known] - 1)


def test_sweep_finds_the_depth_of_a_rendered_room(room, swept):
    depth, confidence = swept
    truth = room.depth(room.poses[4])
    assert depth.shape == confidence.shape == (120, 160)
    assert depth.dtype == confidence.dtype == np.float32
    error = relative_error(depth, truth)
    assert (depth > 0).all()
    assert np.median(error) < 0.01
    assert np.mean(error < 0.25) > 0.97
    assert np.mean(error < 0.05) > 0.9


def test_confidence_tells_right_from_wrong(room, swept):
    depth, confidence = swept
    error = np.abs(depth / room.depth(room.poses[4]) - 1)
    assert confidence.min() >= 0
    assert confidence.max() <= 1
    sure = confidence >= np.median(confidence)
    assert np.mean(error[sure] > 0.03) < 0.3 * np.mean(error[~sure] > 0.03)


def test_depth_is_found_between_the_planes(room):
    """With planes 12 cm apart at the far wall a whole plane is 3 %: refinement must do much better."""
    coarse = MultiviewConfig(width=160, min_depth=0.6, max_depth=6.0, planes=48, device="cpu")
    depth, _ = sweep_depth(room.views[4], [room.views[i] for i in (0, 8)], coarse)
    wall = relative_error(depth, room.depth(room.poses[4]))
    assert np.median(wall) < 0.006


def test_images_are_shrunk_and_depth_is_given_at_their_size(room):
    config = MultiviewConfig(width=80, min_depth=0.6, max_depth=6.0, device="cpu")
    depth, _ = sweep_depth(room.views[4], [room.views[i] for i in (1, 7)], config)
    assert depth.shape == (120, 160)
    assert np.median(relative_error(depth, room.depth(room.poses[4]))) < 0.03


def test_neighbours_of_other_cameras_are_understood(room):
    other = CAMERA.resized(128, 96)
    T = room.poses[7]
    points = (other.rays() * room.caster.cast(other, T)[0][..., None]) @ T[:3, :3].T + T[:3, 3]
    views = [CalibratedImage(texture(points), other, T), room.views[1]]
    depth, _ = sweep_depth(room.views[4], views, CONFIG)
    assert np.median(relative_error(depth, room.depth(room.poses[4]))) < 0.01


def test_surfaces_without_texture_take_the_prior():
    blank_room = TexturedRoom(blank=lambda points: (points[..., 0] < 0) & (points[..., 1] > 1.9))
    truth = blank_room.depth(blank_room.poses[4])
    neighbours = [blank_room.views[i] for i in (1, 7)]
    plain, _ = sweep_depth(blank_room.views[4], neighbours, CONFIG)
    noisy = (truth * 1.04).astype(np.float32)
    helped, _ = sweep_depth(blank_room.views[4], neighbours, CONFIG, prior_depth=noisy)
    rgb = blank_room.views[4].rgb
    blank = (rgb == 128).all(axis=-1)
    off = [np.mean(np.abs(depth[blank] / truth[blank] - 1) > 0.1) for depth in (plain, helped)]
    assert off[1] <= off[0]
    assert off[1] < 0.1  # what is left lies next to the boxes
    seen = ~blank
    assert np.median(np.abs(helped[seen] / truth[seen] - 1)) < 0.01  # the images correct the prior where they can


def test_prior_normals_do_no_harm_and_are_used(room):
    truth = room.depth(room.poses[4])
    from mapping.depth.depth_weights import normals_from_depth

    normals = normals_from_depth(truth, CAMERA)
    neighbours = [room.views[i] for i in (1, 7)]
    plain, _ = sweep_depth(room.views[4], neighbours, CONFIG)
    helped, _ = sweep_depth(room.views[4], neighbours, CONFIG, prior_normals=normals)
    assert not np.array_equal(plain, helped)
    assert np.median(relative_error(helped, truth)) <= np.median(relative_error(plain, truth)) * 1.05


def test_a_sequence_takes_priors_frame_by_frame(room):
    asked = []

    def prior(i):
        asked.append(i)
        return Prior(room.depth(room.poses[i])) if i == 4 else Prior()

    poses = room.poses[[2, 4, 6]]
    views = [room.views[i] for i in (2, 4, 6)]
    plain = MultiviewDepth(views.__getitem__, poses, CAMERA, CONFIG)(1)[0]
    helped = MultiviewDepth(views.__getitem__, poses, CAMERA, CONFIG, prior=lambda i: prior(2 * i + 2))(1)[0]
    assert sorted(asked) == [2, 4, 6]
    truth = room.depth(room.poses[4])
    assert np.median(relative_error(helped, truth)) <= np.median(relative_error(plain, truth)) + 1e-3


def test_no_neighbour_means_no_depth(room):
    depth, confidence = sweep_depth(room.views[4], [], CONFIG)
    assert not depth.any()
    assert not confidence.any()


def test_the_same_input_gives_the_same_bytes(room):
    twice = [sweep_depth(room.views[4], [room.views[i] for i in (2, 6)], CONFIG) for _ in range(2)]
    assert np.array_equal(twice[0][0], twice[1][0])
    assert np.array_equal(twice[0][1], twice[1][1])


@pytest.mark.parametrize(
    ("name", "shape"), [("prior_depth", (60, 80)), ("prior_normals", (120, 160)), ("prior_depth", (120, 160, 1))]
)
def test_priors_of_another_shape_are_rejected(room, name, shape):
    with pytest.raises(ValueError, match=name):
        sweep_depth(room.views[4], [room.views[2]], CONFIG, **{name: np.ones(shape, np.float32)})


def test_images_that_do_not_fit_their_camera_are_rejected(room):
    wrong = CalibratedImage(room.views[2].rgb[:50], CAMERA, room.poses[2])
    with pytest.raises(ValueError, match=r"neighbours\[0\].*rgb must have shape"):
        sweep_depth(room.views[4], [wrong], CONFIG)


def test_distorted_images_are_rejected(room):
    lens = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120, (0.1, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match=r"reference.*distortion"):
        sweep_depth(CalibratedImage(room.views[4].rgb, lens, room.poses[4]), [room.views[2]], CONFIG)


def test_frames_prove_each_other(room):
    depths = MultiviewDepth(lambda i: room.views[i], room.poses, CAMERA, CONFIG)
    depth, confidence = depths(4)
    error = relative_error(depth, room.depth(room.poses[4]))
    assert np.mean(depth > 0) > 0.85
    assert np.mean(error < 0.05) > 0.85
    assert np.mean(error < 0.25) > 0.99
    assert np.array_equal(depth > 0, confidence > 0)


def test_a_hint_has_what_is_proved_and_the_sweep_elsewhere(room):
    depths = MultiviewDepth(lambda i: room.views[i], room.poses, CAMERA, CONFIG)
    depth, confidence = depths(4)
    said, belief = depths.hint(4)
    proved = belief >= PROVED
    assert np.array_equal(proved, depth > 0)
    np.testing.assert_array_equal(said[proved], depth[proved])
    np.testing.assert_allclose(belief[proved], PROVED + (1 - PROVED) * confidence[proved], rtol=1e-5)
    assert np.mean(said > 0) > np.mean(proved)
    assert np.array_equal(said > 0, belief > 0)
    alone = MultiviewDepth(lambda i: room.views[i] if i == 4 else None, room.poses, CAMERA, CONFIG)
    assert not alone.hint(4)[0].any()


def test_each_frame_is_loaded_once_and_the_order_of_asking_does_not_matter(room):
    loaded = []

    def load(i):
        loaded.append(i)
        return room.views[i]

    forward = MultiviewDepth(load, room.poses, CAMERA, CONFIG)
    a = [forward(i)[0] for i in (4, 5)]
    assert sorted(loaded) == sorted(set(loaded))
    backward = MultiviewDepth(load, room.poses, CAMERA, CONFIG)
    b = [backward(i)[0] for i in (5, 4)][::-1]
    for one, other in zip(a, b, strict=True):  # sweeps that run together in other groups add in another order
        assert np.mean(np.abs(one - other) > 1e-3) < 1e-3


def test_frames_that_cannot_be_read_or_are_lost_help_nobody(room):
    poses = room.poses.copy()
    poses[1] = np.nan
    depths = MultiviewDepth(lambda i: None if i in (2, 6) else room.views[i], poses, CAMERA, CONFIG)
    assert not depths(1)[0].any()
    assert not depths(2)[0].any()
    depth, _ = depths(4)
    assert np.mean(depth > 0) > 0.5


def line_of_poses(positions):
    return from_rotation_translation(np.broadcast_to(np.eye(3), (len(positions), 3, 3)), positions)


def test_neighbours_have_the_wanted_baseline():
    """2 m away, 6 degrees are 21 cm: of cameras every 3 cm the seventh to each side is the best."""
    poses = line_of_poses([(0.03 * i, 0, 0) for i in range(41)])
    config = NeighbourConfig(count=2, best_angle_deg=6.0, scene_depth=2.0)
    assert sorted(choose_neighbours(poses, CAMERA, 20, config)) == [13, 27]


def test_frames_that_look_elsewhere_or_have_no_pose_are_never_chosen():
    turned = look_at((0.2, 0, 0), (0.2, 0, -5), up=(0, -1, 0))
    poses = np.stack([*line_of_poses([(0, 0, 0), (0.2, 0, 0), (0, 0, 0)]), turned, np.full((4, 4), np.nan)])
    assert choose_neighbours(poses, CAMERA, 0) == [1]


def test_neighbours_stand_around_rather_than_together():
    places = [(0, 0, 0), (0.2, 0, 0), (0.201, 0, 0), (0.199, 0, 0), (-0.19, 0.02, 0), (0, 0.19, 0)]
    chosen = choose_neighbours(line_of_poses(places), CAMERA, 0, NeighbourConfig(count=3, best_angle_deg=6.0))
    assert len({1, 2, 3} & set(chosen)) == 1
    assert {4, 5} <= set(chosen)


def test_wrong_poses_are_rejected():
    with pytest.raises(ValueError, match="shape"):
        choose_neighbours(np.eye(4), CAMERA, 0)
    with pytest.raises(ValueError, match="not finite"):
        choose_neighbours(np.full((2, 4, 4), np.nan), CAMERA, 0)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("min_depth", {"min_depth": 9.0, "max_depth": 8.0}),
        ("radii_px", {"radii_px": ()}),
        ("radii_px", {"radii_px": (0,)}),
        ("planes", {"planes": 2}),
    ],
)
def test_settings_that_make_no_sense_are_rejected(field, wrong):
    with pytest.raises(ValueError, match=field):
        MultiviewConfig(**wrong)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_gpu_finds_the_same_depth(room, swept):
    config = MultiviewConfig(width=160, min_depth=0.6, max_depth=6.0, device="cuda")
    depth, _ = sweep_depth(room.views[4], [room.views[i] for i in (1, 2, 6, 7)], config)
    assert np.mean(np.abs(depth / swept[0] - 1) > 1e-2) < 0.01
