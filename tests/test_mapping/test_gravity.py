from pathlib import Path

import cv2
import numpy as np
import pytest
from apartments import Apartment, box, patch, table, two_rooms
from helpers import random_se3, sphere_mesh

from mapping import Intrinsics, TSDFConfig, TSDFVolume
from mapping.gravity import estimate_up, level
from mapping.histogram_planes import dominant_yaw
from mapping.mesh.mesh import Mesh, concatenate
from mapping.se3 import from_rotation_translation, inverse, is_se3, look_at, rotation_from_quat_xyzw, transform_points

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def furnished():
    flat = two_rooms().furnish(table((1.5, 1.2, 0))).furnish(box((5, 0.1, 0), (6.2, 0.6, 1.9), "cabinet"))
    return flat.mesh(step=0.15), flat.cameras()


def angle_deg(a, b):
    return np.rad2deg(np.arccos(np.clip(np.dot(a, b), -1, 1)))


def shaken(mesh, rng, sigma=0.004):
    return Mesh(mesh.vertices + rng.normal(0, sigma, mesh.vertices.shape), mesh.faces, labels=mesh.labels)


@pytest.mark.parametrize("seed", range(4))
def test_any_world_is_levelled_from_surfaces_and_cameras_alone(seed):
    rng = np.random.default_rng(seed)
    mesh, poses = furnished()
    T_input_true = random_se3(rng)
    found = level(shaken(mesh, rng).transformed(T_input_true), T_input_true @ poses)
    assert is_se3(found.T_input_world)
    assert found.up.source == "level surfaces"
    assert angle_deg(found.up.up, T_input_true[:3, 2]) < 0.3
    back = (
        found.T_world_input @ T_input_true
    )  # true world to levelled world: a turn by a multiple of 90 degrees and a shift
    assert abs(back[2, 3]) < 0.01
    assert np.abs(back[:3, :3] - np.round(back[:3, :3])).max() < 0.01
    assert found.warnings == ()
    assert found.wall_share > 0.8


def rough(normals, rng, degrees=30.0):
    """Normals as those of predicted depth: hardly one is within 5 degrees of the truth."""
    turned = normals + np.tan(np.deg2rad(degrees)) * rng.normal(0, 0.5, normals.shape)
    return turned / np.linalg.norm(turned, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(4))
def test_labels_that_are_wrong_do_not_tilt_a_rough_map(seed):
    """A fifth of the walls and of what stands in the room is labelled as floor, and little of the floor."""
    rng = np.random.default_rng(seed)
    mesh, poses = furnished()
    T = random_se3(rng)
    normals, areas = rough(mesh.face_normals(), rng) @ T[:3, :3].T, mesh.face_areas()
    up, poses = T[:3, 2], T @ poses
    is_level = normals @ up > 0.8
    wrong = rng.random(len(areas)) < np.where(is_level, 0.05, 0.3)
    wrong &= normals @ T[:3, 0] > -0.3  # more on one side
    assert areas[wrong].sum() > 5
    labelled = areas[wrong] @ normals[wrong]
    assert angle_deg(labelled / np.linalg.norm(labelled), up) > 35
    found = estimate_up(normals, areas, poses, floor_faces=wrong)
    assert found.support < 0.25
    assert angle_deg(found.up, up) < 3
    right = is_level & (rng.random(len(areas)) < 0.7)
    assert estimate_up(normals, areas, poses, floor_faces=right).source == "floor labels"


def test_of_surfaces_without_a_common_direction_the_cameras_say_what_is_up():
    rng = np.random.default_rng(5)
    _, poses = furnished()
    normals = rng.normal(size=(20000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert estimate_up(normals, rng.random(20000), poses).source == "cameras"


def test_the_transform_is_invertible_and_deterministic():
    mesh, poses = furnished()
    T = random_se3(np.random.default_rng(9))
    first, second = (level(mesh.transformed(T), T @ poses) for _ in range(2))
    assert np.allclose(first.T_world_input @ first.T_input_world, np.eye(4), atol=1e-12)
    assert first.T_input_world.tobytes() == second.T_input_world.tobytes()


def test_a_level_world_keeps_its_axes_and_gets_its_floor_at_zero():
    mesh, poses = furnished()
    shift = from_rotation_translation(np.eye(3), [0.0, 0.0, 0.37])
    found = level(mesh.transformed(shift), shift @ poses)
    assert np.allclose(found.T_input_world, shift, atol=2e-3)


def test_walls_come_to_lie_along_the_axes():
    mesh, poses = furnished()
    turn = from_rotation_translation(rotation_from_quat_xyzw([0, 0, np.sin(0.15), np.cos(0.15)]), [1, 2, 3])
    found = level(mesh.transformed(turn), turn @ poses)
    levelled = mesh.transformed(found.T_world_input @ turn)
    assert abs(dominant_yaw(levelled.face_normals(), levelled.face_areas())[0]) < 1e-3


def test_the_floor_is_the_lowest_large_surface_not_the_largest():
    flat = Apartment([(0, 0, 2, 2)])
    boxes = box((0.2, 0.2, 0.3), (1.9, 1.9, 0.8), "bed")
    floor_strip = box((0, 0, -0.1), (2, 0.5, 0), "floor", without="b")
    mesh = concatenate([boxes, floor_strip])
    found = level(mesh, flat.cameras())
    assert abs(found.T_world_input[2, 3]) < 0.005


def test_only_a_table_top_is_used_with_a_warning():
    mesh = box((0, 0, 0.7), (1.4, 0.8, 0.75), "desk", without="b")
    poses = np.array([look_at([0.7, -0.5, 1.2], [0.7, 0.4, 0.75])])
    found = level(mesh, poses)
    assert angle_deg(found.up.up, [0, 0, 1]) < 1
    assert len(found.warnings) == 1
    assert "table top" in found.warnings[0]


def test_a_given_up_is_kept_when_it_fits_and_corrected_when_it_nearly_fits():
    mesh, poses = furnished()
    for tilt_deg, expected, words in ((0.5, 0.5, "as given"), (6.0, 0.0, "corrected")):
        tilted = [0.0, np.sin(np.deg2rad(tilt_deg)), np.cos(np.deg2rad(tilt_deg))]
        found = estimate_up(mesh.face_normals(), mesh.face_areas(), poses, world_up=tilted)
        assert (found.source, found.state, found.warning) == ("given", "given", "")
        assert words in found.evidence
        assert angle_deg(found.up, [0, 0, 1]) == pytest.approx(expected, abs=0.1)


def test_an_up_that_the_surfaces_contradict_is_replaced_or_kept_with_a_warning():
    mesh, poses = furnished()
    normals, areas = mesh.face_normals(), mesh.face_areas()
    tilted = [0.0, 0.5, np.sqrt(0.75)]
    found = estimate_up(normals, areas, poses, world_up=tilted)
    assert (found.state, found.source) == ("contradicted", "level surfaces")
    assert angle_deg(found.up, [0, 0, 1]) < 0.5
    assert "stated up (0.00, 0.50, 0.87) contradicts" in found.warning
    assert "taken as +z" in found.warning
    kept = estimate_up(normals, areas, poses, world_up=tilted, keep_up=True)
    assert (kept.state, kept.source) == ("contradicted", "given")
    assert angle_deg(kept.up, tilted) < 1e-6
    assert "+z" in kept.warning
    assert "kept" in kept.warning
    assert level(mesh, poses, world_up=tilted, keep_up=True).warnings[0] == kept.warning


def test_another_axis_of_a_room_as_up_is_doubted_unless_cameras_on_their_side_explain_it():
    mesh, poses = furnished()
    normals, areas = mesh.face_normals(), mesh.face_areas()
    wrong = estimate_up(normals, areas, poses, world_up=[0, 1, 0])
    assert wrong.state == "contradicted"
    assert angle_deg(wrong.up, [0, 1, 0]) < 0.5
    assert "up +y is kept, but the cameras are held as if up were +z" in wrong.warning
    assert "+z" in estimate_up(normals, areas, poses, world_up=[0, 0, -1]).warning
    on_their_side = poses @ np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    right = estimate_up(normals, areas, on_their_side, world_up=[0, 0, 1])
    assert (right.state, right.warning) == ("given", "")


def test_a_floor_below_a_table_top_of_which_more_is_in_view():
    desk = box((0, 0, 0.7), (1.6, 1.0, 0.74), "desk", without="b")
    strip = patch(np.array([0, -0.35, 0.0]), np.array([0.5, 0, 0]), np.array([0, 0.3, 0]), "floor", 0.05)
    poses = np.array([look_at([0.7, -0.5, 1.4], [0.7, 0.4, 0.75])])
    found = level(concatenate([desk, strip]), poses)
    assert found.T_world_input[2, 3] == pytest.approx(0.0, abs=0.005)  # 9 % of the table's area is the floor
    assert found.warnings == ()
    # Without level surface below it, what reaches down says that the table top is no floor, also from high above.
    leg = patch(np.array([0, 0, 0.1]), np.array([1.6, 0, 0]), np.array([0, 0, 0.6]), "desk", 0.05)
    (warning,) = level(concatenate([desk, leg]), np.array([look_at([0.7, -0.5, 1.8], [0.7, 0.4, 0.75])])).warnings
    assert "surface reaches 0.6 m below the floor at z = 0" in warning


def test_floor_labels_decide_even_when_the_cameras_hang_upside_down():
    mesh, poses = furnished()
    upside_down = poses @ np.diag([-1.0, -1.0, 1.0, 1.0])
    floor = (mesh.labels[mesh.faces] == 2).all(axis=1)
    found = level(mesh, upside_down, floor_faces=floor)
    assert found.up.source == "floor labels"
    assert angle_deg(found.up.up, [0, 0, 1]) < 0.1
    assert abs(found.T_world_input[2, 3]) < 0.005


def test_without_any_level_surface_the_cameras_decide_and_say_so():
    mesh = sphere_mesh(subdivisions=4)
    poses = np.array([look_at([3 * np.cos(a), 3 * np.sin(a), -0.8], [0, 0, 0]) for a in np.arange(8) * np.pi / 4])
    found = level(mesh, poses)
    assert found.up.source == "cameras"
    assert any("--up" in warning for warning in found.warnings)
    assert angle_deg(found.up.up, [0, 0, 1]) < 1


def test_an_empty_mesh_is_levelled_by_the_cameras():
    found = level(Mesh.empty(), np.array([look_at([0, 0, 1.5], [1, 0, 1.1])]))
    assert is_se3(found.T_input_world)
    assert found.warnings


@pytest.mark.parametrize("bad", [[0, 0, 0], [0, np.nan, 1], [1, 2]])
def test_an_up_vector_without_direction_is_refused(bad):
    mesh, poses = furnished()
    with pytest.raises(ValueError, match="up must be three finite numbers"):
        estimate_up(mesh.face_normals(), mesh.face_areas(), poses, world_up=bad)


def recorded_map(frames, intrinsics, voxel_size):
    volume = TSDFVolume(TSDFConfig(voxel_size=voxel_size, max_depth=4.5, carve=False))
    for depth, pose in frames:
        volume.integrate(depth, intrinsics, pose)
    return volume.extract_mesh(min_weight=1.0), np.array([pose for _, pose in frames])


def read_depth(path, scale, step):
    depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert depth is not None
    depth = np.where(depth == 65535, 0, depth)[step // 2 :: step, step // 2 :: step]
    return (depth / scale).astype(np.float32)


def small_camera(fx, fy, cx, cy, width, height, step):
    return Intrinsics(
        fx / step, fy / step, (cx - step // 2) / step, (cy - step // 2) / step, width // step, height // step
    )


@pytest.mark.skipif(not (DATA / "tum_fr1_desk").is_dir(), reason="recorded data not there")
def test_the_tum_desk_has_z_up_although_its_floor_is_hardly_seen():
    folder = DATA / "tum_fr1_desk"
    truth = np.loadtxt(folder / "groundtruth.txt")
    frames = []
    for path in sorted((folder / "depth").glob("*.png")):
        row = truth[np.argmin(np.abs(truth[:, 0] - float(path.stem)))]
        frames.append(
            (read_depth(path, 5000, 4), from_rotation_translation(rotation_from_quat_xyzw(row[4:]), row[1:4]))
        )
    mesh, poses = recorded_map(frames, small_camera(517.3, 516.5, 318.6, 255.3, 640, 480, 4), 0.03)
    found = level(mesh, poses)
    assert angle_deg(found.up.up, [0, 0, 1]) < 5
    heights = transform_points(found.T_world_input, poses[:, :3, 3])[:, 2]
    assert ((heights > 1.2) & (heights < 1.8)).all()


@pytest.mark.skipif(not (DATA / "hololens_office").is_dir(), reason="recorded data not there")
def test_the_hololens_office_has_y_up_and_its_floor_at_head_height_below():
    folder = DATA / "hololens_office"
    poses = np.loadtxt(folder / "poses.txt").reshape(-1, 4, 4)
    paths = sorted((folder / "depth").glob("*.png"))
    frames = [(read_depth(paths[i], 1000, 4), poses[i]) for i in range(0, len(paths), 10)]
    mesh, used = recorded_map(frames, small_camera(495.57, 495.48, 269.5, 169.19, 540, 360, 4), 0.06)
    found = level(mesh, used)
    assert angle_deg(found.up.up, [0, 1, 0]) < 1.5
    heights = transform_points(found.T_world_input, used[:, :3, 3])[:, 2]
    assert ((heights > 1.3) & (heights < 1.9)).all()


@pytest.mark.skipif(not (DATA / "redkitchen").is_dir(), reason="recorded data not there")
def test_the_red_kitchen_is_levelled_to_its_floor():
    paths = sorted((DATA / "redkitchen").glob("*.depth.png"))[::10]
    frames = [(read_depth(p, 1000, 4), np.loadtxt(str(p).replace("depth.png", "pose.txt"))) for p in paths]
    mesh, poses = recorded_map(frames, small_camera(585, 585, 320, 240, 640, 480, 4), 0.05)
    found = level(mesh, poses)
    assert found.up.up[1] < -0.8  # about -y
    heights = transform_points(found.T_world_input, poses[:, :3, 3])[:, 2]
    assert ((heights > 1.0) & (heights < 1.9)).all()
    levelled = mesh.transformed(inverse(found.T_input_world))
    assert np.quantile(levelled.vertices[:, 2], 0.01) > -0.1
