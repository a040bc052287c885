"""Tiny sequences in the published layout of each format, from one exactly known world.

Three frames of a 16x12 camera. Each writer implements its format's convention independently, so that a reader is not
tested against its own conversions.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from mapping.camera import Intrinsics
from pipelines.images import write_jpeg, write_png

WIDTH, HEIGHT, COUNT = 16, 12, 3
CAMERA = Intrinsics(20.0, 21.0, 7.0, 5.0, WIDTH, HEIGHT)
S = 0.5**0.5

# Camera axes in the world as columns right, down, forward: level and looking along +x, then +y, then down.
POSES = np.zeros((COUNT, 4, 4))
POSES[0] = [[0, 0, 1, 1], [-1, 0, 0, 2], [0, -1, 0, 1.5], [0, 0, 0, 1]]
POSES[1] = [[1, 0, 0, 1.1], [0, 0, 1, 2], [0, -1, 0, 1.5], [0, 0, 0, 1]]
POSES[2] = [[1, 0, 0, 1.2], [0, -1, 0, 2], [0, 0, -1, 1.5], [0, 0, 0, 1]]
QUAT_XYZW = np.array([[-0.5, 0.5, -0.5, 0.5], [-S, 0, 0, S], [1, 0, 0, 0]])
"""The same rotations as quaternions, computed by hand."""


def rgb(i: int) -> np.ndarray:
    """Frame i's picture: red grows to the right, green downwards, blue encodes the frame."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = np.arange(WIDTH) * 10
    image[..., 1] = np.arange(HEIGHT)[:, None] * 10
    image[..., 2] = 50 * i
    return image


def depth(i: int) -> np.ndarray:
    """Frame i's depth in metres, a multiple of 8 mm (a whole number in units of 1/1000 and 1/5000 m), unknown at the top left."""
    metres = 1 + 0.008 * np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) + i
    metres[0, 0] = 0
    return metres.astype(np.float32)


def labels(i: int) -> np.ndarray:
    """NYU40 ids: floor in the lower half, wall above, one chair."""
    image = np.full((HEIGHT, WIDTH), 1, np.uint8)
    image[HEIGHT // 2 :] = 2
    image[5:8, 3 + i : 6 + i] = 5
    return image


def _units(i: int, scale: float, unknown: int = 0) -> np.ndarray:
    stored = np.rint(depth(i).astype(np.float64) * scale).astype(np.uint16)
    stored[0, 0] = unknown
    return stored


def _rows(matrix: np.ndarray) -> str:
    return "\n".join(" ".join(repr(float(x)) for x in row) for row in matrix) + "\n"


def _folders(path: Path, *names: str) -> None:
    for name in names:
        (path / name).mkdir(parents=True)


def write_nerfstudio(path: Path) -> None:
    _folders(path, "images", "depth", "semantics")
    frames = []
    for i in range(COUNT):
        write_png(path / f"images/frame_{i + 1:05d}.png", rgb(i))
        write_png(path / f"depth/frame_{i + 1:05d}.png", _units(i, 1000))
        write_png(path / f"semantics/frame_{i + 1:05d}.png", labels(i))
        matrix = POSES[i].copy()
        matrix[:, 1:3] *= -1  # OpenGL: up instead of down, backward instead of forward
        frames.append(
            {
                "file_path": f"images/frame_{i + 1:05d}.png",
                "depth_file_path": f"depth/frame_{i + 1:05d}.png",
                "semantics_file_path": f"semantics/frame_{i + 1:05d}.png",
                "transform_matrix": matrix.tolist(),
            }
        )
    camera = {"camera_model": "OPENCV", "fl_x": 20.0, "fl_y": 21.0, "cx": 7.5, "cy": 5.5, "w": WIDTH, "h": HEIGHT}
    lens = dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0)
    (path / "transforms.json").write_text(json.dumps({**camera, **lens, "frames": frames}))


def write_tum(path: Path) -> None:
    _folders(path, "rgb", "depth")
    color_list, depth_list, truth = [], [], []
    for i in range(COUNT):
        t = 100 + 0.1 * i
        write_png(path / f"rgb/{t:.6f}.png", rgb(i))
        write_png(path / f"depth/{t + 0.012:.6f}.png", _units(i, 5000))
        color_list.append(f"{t:.6f} rgb/{t:.6f}.png")
        depth_list.append(f"{t + 0.012:.6f} depth/{t + 0.012:.6f}.png")
        truth.append(f"{t:.4f} " + " ".join(map(repr, map(float, [*POSES[i, :3, 3], *QUAT_XYZW[i]]))))
    head = "# color images\n# file: 'rgbd_dataset_own.bag'\n# timestamp filename\n"
    (path / "rgb.txt").write_text(head + "\n".join(color_list) + "\n")
    (path / "depth.txt").write_text(head + "\n".join(depth_list) + "\n")
    (path / "groundtruth.txt").write_text("# timestamp tx ty tz qx qy qz qw\n" + "\n".join(truth) + "\n")
    write_camera_yaml(path)


def write_icl(path: Path) -> None:
    _folders(path, "rgb", "depth")
    pairs, truth = [], []
    for i in range(COUNT):
        write_png(path / f"rgb/{i}.png", rgb(i))
        write_png(path / f"depth/{i}.png", _units(i, 5000))
        pairs.append(f"{i} depth/{i}.png {i} rgb/{i}.png")
        # The world with its y axis flipped and a camera with y up: a quaternion's x and z change sign, and so does ty.
        x, y, z, w = QUAT_XYZW[i]
        tx, ty, tz = POSES[i, :3, 3]
        truth.append(" ".join(map(repr, map(float, [i, tx, -ty, tz, -x, y, -z, w]))))
    (path / "associations.txt").write_text("\n".join(pairs) + "\n")
    (path / "livingRoom9.gt.freiburg").write_text("\n".join(truth) + "\n")
    write_camera_yaml(path)


def write_seven_scenes(path: Path) -> None:
    _folders(path, ".")
    for i in range(COUNT):
        stem = f"frame-{i * 2:06d}"
        write_png(path / f"{stem}.color.png", rgb(i))
        write_png(path / f"{stem}.depth.png", _units(i, 1000, unknown=65535))
        (path / f"{stem}.pose.txt").write_text("\n".join("\t ".join(f"{x:.7e}" for x in row) for row in POSES[i]))
    (path / "camera-intrinsics.txt").write_text(_rows(CAMERA.matrix))


def write_hololens(path: Path) -> None:
    _folders(path, "images", "depth")
    for i in range(COUNT):
        write_png(path / f"images/{i:05d}.png", rgb(i))
        write_png(path / f"depth/{i:05d}.png", _units(i, 1000))
    np.savetxt(path / "poses.txt", POSES.reshape(COUNT, 16))
    np.savetxt(path / "K.txt", CAMERA.matrix)


def write_scannet(path: Path) -> None:
    """Colour at twice the depth's size, as its own camera; frame 1 is lost."""
    _folders(path, "color", "depth", "pose", "intrinsic")
    for i in range(COUNT):
        write_jpeg(path / f"color/{i * 20}.jpg", rgb(i).repeat(2, axis=0).repeat(2, axis=1), quality=100)
        write_png(path / f"depth/{i * 20}.png", _units(i, 1000))
        pose = POSES[i] if i != 1 else np.full((4, 4), -np.inf)
        (path / f"pose/{i * 20}.txt").write_text("\n".join(" ".join(f"{x:.6f}" for x in row) for row in pose) + "\n")
    K = np.eye(4)
    K[:3, :3] = CAMERA.matrix
    (path / "intrinsic/intrinsic_depth.txt").write_text(_rows(K))
    double = CAMERA.resized(2 * WIDTH, 2 * HEIGHT)
    K[:3, :3] = double.matrix
    (path / "intrinsic/intrinsic_color.txt").write_text(_rows(K))


def write_replica(path: Path) -> None:
    _folders(path, "results")
    for i in range(COUNT):
        write_jpeg(path / f"results/frame{i:06d}.jpg", rgb(i), quality=100)
        write_png(path / f"results/depth{i:06d}.png", _units(i, 6553.5))
    np.savetxt(path / "traj.txt", POSES.reshape(COUNT, 16))
    keys = {"w": WIDTH, "h": HEIGHT, "fx": 20.0, "fy": 21.0, "cx": 7.0, "cy": 5.0, "scale": 6553.5}
    (path / "cam_params.json").write_text(json.dumps({"camera": keys}))


def _opengl(i: int) -> np.ndarray:
    matrix = POSES[i].copy()
    matrix[:, 1:3] *= -1
    return matrix


def _opengl_quat(i: int) -> list[float]:
    """x y z w of the pose whose camera has y up and z backward: (w, x, y, z) times (0, 1, 0, 0), half a turn about x."""
    x, y, z, w = QUAT_XYZW[i]
    return [w, z, -y, -x]


def write_polycam(path: Path) -> None:
    _folders(path, *(f"keyframes/{name}" for name in ("corrected_images", "corrected_cameras", "depth", "confidence")))
    for i in range(COUNT):
        stem = f"keyframes/{{}}/{93_000_000 + 250_000 * i}"
        write_jpeg(path / (stem.format("corrected_images") + ".jpg"), rgb(i), quality=100)
        write_png(path / (stem.format("depth") + ".png"), _units(i, 1000))
        write_png(path / (stem.format("confidence") + ".png"), np.full((HEIGHT, WIDTH), 54, np.uint8))
        camera = {"fx": 20.0, "fy": 21.0, "cx": 7.0, "cy": 5.0, "width": WIDTH, "height": HEIGHT, "blur_score": 3.5}
        entries = {f"t_{row}{column}": float(_opengl(i)[row, column]) for row in range(3) for column in range(4)}
        (path / (stem.format("corrected_cameras") + ".json")).write_text(json.dumps(camera | entries))


def write_record3d(path: Path) -> None:
    """Without depth, which would need the package OpenEXR."""
    _folders(path, "EXR_RGBD/rgb")
    for i in range(COUNT):
        write_jpeg(path / f"EXR_RGBD/rgb/{i}.jpg", rgb(i), quality=100)
    poses = [[*map(float, _opengl_quat(i)), *map(float, POSES[i, :3, 3])] for i in range(COUNT)]
    keys = {"w": WIDTH, "h": HEIGHT, "fps": 60, "K": [20, 0, 0, 0, 21, 0, 7, 5, 1], "poses": poses}
    (path / "EXR_RGBD/metadata.json").write_text(json.dumps(keys))


def write_stray_scanner(path: Path) -> None:
    _folders(path, "depth", "confidence")
    writer = cv2.VideoWriter(str(path / "rgb.avi"), cv2.VideoWriter_fourcc(*"HFYU"), 60.0, (WIDTH, HEIGHT))
    lines = ["timestamp, frame, x, y, z, qx, qy, qz, qw"]
    for i in range(COUNT):
        writer.write(np.ascontiguousarray(rgb(i)[..., ::-1]))
        write_png(path / f"depth/{i:06d}.png", _units(i, 1000))
        write_png(path / f"confidence/{i:06d}.png", np.full((HEIGHT, WIDTH), 2, np.uint8))
        lines.append(", ".join(map(str, [71.5 + i / 60, f"{i:06d}", *POSES[i, :3, 3], *QUAT_XYZW[i]])))
    writer.release()
    (path / "rgb.avi").rename(path / "rgb.mp4")
    (path / "odometry.csv").write_text("\n".join(lines) + "\n")
    (path / "camera_matrix.csv").write_text("20.0, 0.0, 7.0\n0.0, 21.0, 5.0\n0.0, 0.0, 1.0\n")


def write_arkit_scenes(path: Path) -> None:
    folder = path / "47331_frames"
    _folders(folder, "lowres_wide", "lowres_depth", "confidence", "lowres_wide_intrinsics")
    # World-to-camera axis-angle rotations by hand: a third of a turn about (1, -1, 1), a quarter and half a turn about x.
    third = 2 * np.pi / 3 / 3**0.5
    turns = [[third, -third, third], [np.pi / 2, 0, 0], [-np.pi, 0, 0]]
    lines = []
    for i in range(COUNT):
        t = 91.25 + 0.1 * i
        write_png(folder / f"lowres_wide/47331_{t:.3f}.png", rgb(i))
        write_png(folder / f"lowres_depth/47331_{t:.3f}.png", _units(i, 1000))
        write_png(folder / f"confidence/47331_{t:.3f}.png", np.full((HEIGHT, WIDTH), 2, np.uint8))
        (folder / f"lowres_wide_intrinsics/47331_{t + 0.001:.3f}.pincam").write_text(f"{WIDTH} {HEIGHT} 20 21 7 5")
        lines.append(" ".join(map(repr, map(float, [t, *turns[i], *world_to_camera(i)[0]]))))
    (folder / "lowres_wide.traj").write_text("\n".join(lines) + "\n")


def write_euroc(path: Path) -> None:
    """The body looks along its x axis, z up; the camera stands 0.1 m before it."""
    _folders(path, "mav0/cam0/data", "mav0/state_groundtruth_estimate0")
    T_body_camera = np.array([[0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    sensor = ["sensor_type: camera", "T_BS:", "  cols: 4", "  rows: 4", f"  data: {T_body_camera.ravel().tolist()}"]
    sensor += [
        f"resolution: [{WIDTH}, {HEIGHT}]",
        "camera_model: pinhole",
        "intrinsics: [20.0, 21.0, 7.0, 5.0] #fu, fv, cu, cv",
    ]
    sensor += ["distortion_model: radial-tangential", "distortion_coefficients: [0.0, 0.0, 0.0, 0.0]"]
    (path / "mav0/cam0/sensor.yaml").write_text("\n".join(["# Camera", *sensor]) + "\n")
    # The body's rotations by hand: along x without a turn; along y, a quarter turn about z; down with its left to -x.
    quats_wxyz = [[1, 0, 0, 0], [S, 0, 0, S], [0.5, -0.5, 0.5, 0.5]]
    forward = [[1, 0, 0], [0, 1, 0], [0, 0, -1]]
    images, truth = (
        ["#timestamp [ns],filename"],
        ["#timestamp, " + ", ".join([*(f"p_RS_R_{a} [m]" for a in "xyz"), *(f"q_RS_{a} []" for a in "wxyz")])],
    )
    for i in range(COUNT):
        stamp = 1403636579763555584 + 50_000_000 * i
        write_png(path / f"mav0/cam0/data/{stamp}.png", rgb(i))
        images.append(f"{stamp},{stamp}.png")
        position = POSES[i, :3, 3] - 0.1 * np.array(forward[i])
        truth.append(",".join(map(str, [stamp, *position, *quats_wxyz[i], *[0.0] * 9])))
    (path / "mav0/cam0/data.csv").write_text("\r\n".join(images) + "\r\n")
    (path / "mav0/state_groundtruth_estimate0/data.csv").write_text("\n".join(truth) + "\n")


def world_to_camera(i: int) -> tuple[np.ndarray, np.ndarray]:
    """(translation, quat_wxyz) of pose i in reverse: the conjugate quaternion and -R^T t."""
    x, y, z, w = QUAT_XYZW[i]
    return -POSES[i, :3, :3].T @ POSES[i, :3, 3], np.array([w, -x, -y, -z])


def write_colmap_text(path: Path) -> None:
    """Images out of order, with points behind one and none behind the others."""
    _folders(path, "images", "sparse/0")
    lines = ["# Image list with two lines of data per image:"]
    for i in (2, 0, 1):
        write_png(path / f"images/shot {i}.png", rgb(i))
        t, quat_wxyz = world_to_camera(i)
        numbers = " ".join(repr(float(x)) for x in (*quat_wxyz, *t))
        lines += [f"{i + 1} {numbers} 7 shot {i}.png", "1.5 2.5 -1 3.5 4.5 12" if i == 0 else ""]
    (path / "sparse/0/images.txt").write_text("\n".join(lines) + "\n")
    (path / "sparse/0/cameras.txt").write_text(f"# Cameras\n7 PINHOLE {WIDTH} {HEIGHT} 20 21 7.5 5.5\n")
    (path / "sparse/0/points3D.txt").write_text("")


def write_colmap_binary(path: Path) -> None:
    _folders(path, "images", "sparse/0")
    data = struct.pack("<Q", COUNT)
    for i in (2, 0, 1):
        write_png(path / f"images/{i}.png", rgb(i))
        t, quat_wxyz = world_to_camera(i)
        data += struct.pack("<i7di", i + 1, *quat_wxyz, *t, 7) + f"{i}.png".encode() + b"\0"
        data += struct.pack("<Q", 2) + struct.pack("<ddqddq", 1.5, 2.5, -1, 3.5, 4.5, 12)
    (path / "sparse/0/images.bin").write_bytes(data)
    camera = struct.pack("<iiQQ4d", 7, 1, WIDTH, HEIGHT, 20.0, 21.0, 7.5, 5.5)
    (path / "sparse/0/cameras.bin").write_bytes(struct.pack("<Q", 1) + camera)


def write_posed_images(path: Path) -> None:
    """A KITTI pose file and numbered images."""
    _folders(path, "images", "depth")
    for i in range(COUNT):
        write_png(path / f"images/{i:06d}.png", rgb(i))
        write_png(path / f"depth/{i:06d}.png", _units(i, 1000))
    np.savetxt(path / "poses.txt", POSES[:, :3].reshape(COUNT, 12))
    write_camera_yaml(path, "depth: depth\nfps: 10\nworld_up: [0, 0, 1]\n")


def write_camera_yaml(path: Path, more: str = "") -> None:
    (path / "camera.yaml").write_text(f"fx: 20\nfy: 21\ncx: 7\ncy: 5\nwidth: {WIDTH}\nheight: {HEIGHT}\n{more}")


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "nerfstudio": ("nerfstudio", write_nerfstudio),
    "tum": ("tum", write_tum),
    "icl": ("icl", write_icl),
    "7scenes": ("7scenes", write_seven_scenes),
    "hololens": ("hololens", write_hololens),
    "polycam": ("polycam", write_polycam),
    "record3d": ("record3d", write_record3d),
    "stray_scanner": ("stray_scanner", write_stray_scanner),
    "arkit_scenes": ("arkit_scenes", write_arkit_scenes),
    "euroc": ("euroc", write_euroc),
    "scannet": ("scannet", write_scannet),
    "replica": ("replica", write_replica),
    "colmap-text": ("colmap", write_colmap_text),
    "colmap-binary": ("colmap", write_colmap_binary),
    "images": ("images", write_posed_images),
}
"""Format's name and writer, by test id."""

ROOM_CAMERA = Intrinsics(110.0, 110.0, 79.5, 59.5, 160, 120)


def room_poses(count: int, *, turn_deg: float = 3.0, step: float = 0.05) -> np.ndarray:
    """A walk on an arc through a 5 x 4 x 2.5 m room, nodding and leaning: every axis of rotation and translation is used."""
    poses = np.zeros((count, 4, 4))
    position, yaw = np.array([2.0, 1.2, 1.4]), 0.3
    for i in range(count):
        forward = np.array([np.cos(yaw), np.sin(yaw), 0.25 * np.sin(0.7 * i)])
        forward /= np.linalg.norm(forward)
        lean = 0.15 * np.sin(0.5 * i)
        down = np.array([-np.sin(yaw) * lean, np.cos(yaw) * lean, -1.0])
        down -= forward * (down @ forward)
        down /= np.linalg.norm(down)
        poses[i] = np.eye(4)
        poses[i, :3, :4] = np.stack([np.cross(down, forward), down, forward, position], axis=1)
        position = position + step * (forward + np.array([0, 0, 0.3 * np.cos(0.7 * i)]))
        yaw += np.deg2rad(turn_deg)
    return poses


def room_picture(
    T_world_camera: np.ndarray, detail: float = 9.0, camera: Intrinsics = ROOM_CAMERA
) -> tuple[np.ndarray, np.ndarray]:
    """(rgb, depth) of the room with blotched walls from a pose inside it: rays against six planes.

    `detail` is the largest wave number of the blotches, in radians per metre: at 9 they are large and show few features.
    """
    rgb, z = _room_picture(T_world_camera.tobytes(), detail, camera)
    return rgb.copy(), z.copy()


@lru_cache(maxsize=64)
def _room_picture(pose: bytes, detail: float, camera: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    T_world_camera = np.frombuffer(pose).reshape(4, 4)
    rays = camera.rays() @ T_world_camera[:3, :3].T
    origin = T_world_camera[:3, 3]
    with np.errstate(divide="ignore"):
        far = np.where(rays > 0, ([5.0, 4.0, 2.5] - origin) / rays, (0 - origin) / rays)
    z = far.min(axis=2)
    x, y, h = np.moveaxis(origin + rays * z[..., None], 2, 0)
    numbers = np.random.default_rng(4).uniform(-detail, detail, (12, 4))
    waves = [np.sin(row[0] * x + row[1] * y + row[2] * h + row[3]) for row in numbers]
    gray = 127 + 120 * np.tanh(np.sum(waves, axis=0))
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2), z.astype(np.float32)


def write_room(
    path: Path, stored: np.ndarray, poses: np.ndarray, *, depth_scale: float | None = 1000.0, detail: float = 9.0
) -> None:
    """The room from `poses` in HoloLens layout, whose pose file says `stored` (N, 4, 4); None leaves depth out."""
    _folders(path, "images", *(["depth"] if depth_scale else []))
    for i, pose in enumerate(poses):
        picture, z = room_picture(pose, detail)
        write_png(path / f"images/{i:05d}.png", picture)
        if depth_scale:
            write_png(path / f"depth/{i:05d}.png", np.rint(z * depth_scale).astype(np.uint16))
    np.savetxt(path / "poses.txt", stored.reshape(-1, 16))
    np.savetxt(path / "K.txt", ROOM_CAMERA.matrix)
