"""Readers of training data, on tiny fixtures written in the exact published layouts, each with values worked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from m2h.data import Camera, DatasetError, open_dataset
from m2h.data.hypersim import planar_depth
from m2h.data.sample import face_camera, sign_scores

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    ok, data = cv2.imencode(path.suffix, stored)
    assert ok
    path.write_bytes(data.tobytes())


def write_array(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


# The canonical folder ---------------------------------------------------------------------------------------------------


def write_sequence(path: Path, **changes: Any) -> Path:
    frames = []
    for i in (1, 0):
        write(path / f"images/{i:06d}.png", RGB)
        depth = np.full((6, 8), 1500 + i, np.uint16)
        depth[0, 0] = 0
        write(path / f"depth/{i:06d}.png", depth)
        write(path / f"semantics/{i:06d}.png", np.full((6, 8), 3 + i, np.uint8))
        normals = np.full((6, 8, 3), 128, np.uint8)  # unknown
        normals[1:] = (128, 128, 0)  # (0, 0, -1)
        write(path / f"normals/{i:06d}.png", normals)
        write(path / f"edges/{i:06d}.png", np.full((6, 8), 255 * i, np.uint8))
        layers = {f"{layer}_file_path": f"{layer}/{i:06d}.png" for layer in ("depth", "semantics", "normals", "edges")}
        frames.append({"file_path": f"images/{i:06d}.png", "transform_matrix": np.eye(4).tolist(), **layers})
    header: dict[str, Any] = {"format": "m2h-sequence", "version": 1}
    header |= {"fl_x": 7.0, "fl_y": 8.0, "cx": 4.0, "cy": 3.0, "label_space": "nyu40", "depth_unit_scale_factor": 0.001}
    (path / "transforms.json").write_text(json.dumps({**header, "frames": frames, **changes}))
    return path


def test_canonical_folder(tmp_path: Path) -> None:
    dataset = open_dataset(f"folder:{write_sequence(tmp_path / 'seq')}")
    assert (len(dataset), dataset.classes, dataset.label_space) == (2, 41, "nyu40")
    sample = dataset[1]  # by name, whatever the order in the file
    assert sample.name == "seq/images/000001.png"
    np.testing.assert_array_equal(sample.rgb, RGB)
    assert sample.depth is not None
    assert (sample.depth[0, 0], sample.depth[1, 1]) == (0, pytest.approx(1.501))
    assert sample.labels is not None
    assert sample.labels[0, 0] == 4
    assert sample.normals is not None
    assert not sample.normals[0].any()
    np.testing.assert_allclose(sample.normals[1, 0], [0, 0, -1], atol=0.006)
    assert sample.edges is not None
    assert sample.edges.min() == 1
    assert sample.camera == Camera(7.0, 8.0, 3.5, 2.5)  # nerfstudio's centres lie at +0.5


def test_folders_of_sequences_are_one_dataset(tmp_path: Path) -> None:
    write_sequence(tmp_path / "b")
    write_sequence(tmp_path / "a")
    write_sequence(tmp_path / ".m2h-1-0123abcd")  # that is being written
    dataset = open_dataset("folder:.", base=tmp_path)
    assert [dataset[i].name.partition("/")[0] for i in range(len(dataset))] == ["a", "a", "b", "b"]
    write_sequence(tmp_path / "c", label_space="other.yaml")
    with pytest.raises(DatasetError, match=r"different label_space: nyu40, other\.yaml"):
        open_dataset("folder:.", base=tmp_path)


def test_own_label_spaces_tell_their_size(tmp_path: Path) -> None:
    write_sequence(tmp_path, label_space="space.yaml")
    (tmp_path / "space.yaml").write_text("name: mine\nclasses: [{id: 0}, {id: 5}]\n")
    assert open_dataset(f"folder:{tmp_path}").classes == 6
    (tmp_path / "space.yaml").write_text("name: mine\n")
    with pytest.raises(DatasetError, match=r"space\.yaml: expected a label space"):
        open_dataset(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": [{"file_path": "images/none.png"}]}, r"none\.png: image file is missing"),
        ({"frames": 3}, "frames must be a list"),
        ({"fl_x": "wide"}, "fl_x must be a number, got 'wide'"),
        ({"depth_unit_scale_factor": None}, "depth_unit_scale_factor must be a number"),
    ],
)
def test_broken_sequences_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_sequence(tmp_path, **changes)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"folder:{tmp_path}")[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format": None},
            r"transforms\.json: expected format m2h-sequence, version 1, got None, version 1: write the .* `m2h ingest`",
        ),
        ({"version": 2}, "got 'm2h-sequence', version 2: write"),
        (
            {"k1": 0.3, "is_fisheye": True},
            "is_fisheye True: expected a pinhole camera: write the sequence with `m2h ingest` first",
        ),
        ({"k1": 0.3}, r"k1 0\.3: expected a pinhole camera"),
        ({"camera_model": "OPENCV_FISHEYE"}, "camera_model 'OPENCV_FISHEYE': expected a pinhole camera"),
    ],
)
def test_sequences_of_other_programs_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Their lenses, units and names are known to the readers of sequences alone."""
    write_sequence(tmp_path, camera_model="OPENCV", k1=0.0, is_fisheye=False)
    open_dataset(f"folder:{tmp_path}")
    write_sequence(tmp_path, **changes)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"folder:{tmp_path}")


def test_corrections_and_masks_that_only_readers_of_sequences_find_are_refused(tmp_path: Path) -> None:
    write_sequence(tmp_path)
    write(tmp_path / "masks/000000.png", np.zeros((6, 8), np.uint8))
    with pytest.raises(
        DatasetError, match=r"transforms\.json: has no mask_path, but there is masks/: write the sequence with"
    ):
        open_dataset(f"folder:{tmp_path}")
    (tmp_path / "masks").rename(tmp_path / "other")
    (tmp_path / "m2h.yaml").write_text("depth_scale: 5000\n")
    with pytest.raises(DatasetError, match=r"m2h\.yaml: is not read for training: write the sequence with"):
        open_dataset(f"folder:{tmp_path}")


def test_masked_pixels_and_the_largest_value_are_unknown(tmp_path: Path) -> None:
    header = json.loads((write_sequence(tmp_path) / "transforms.json").read_text())
    header["frames"][0]["mask_path"] = "masks/000001.png"
    (tmp_path / "transforms.json").write_text(json.dumps(header))
    mask = np.full((6, 8), 255, np.uint8)
    mask[4:, 2:5] = 0
    write(tmp_path / "masks/000001.png", mask)
    depth = np.full((6, 8), 1501, np.uint16)
    depth[0] = 65535
    write(tmp_path / "depth/000001.png", depth)
    (tmp_path / "hints").mkdir()
    np.savez(tmp_path / "hints/000001.npz", depth=np.ones((6, 8), np.float32), confidence=np.ones((6, 8), np.float32))
    dataset = open_dataset(f"folder:{tmp_path}")
    sample, hidden = dataset[1], mask == 0
    for layer, unknown in (("rgb", 0), ("depth", 0), ("labels", 0), ("normals", 0), ("edges", -1), ("hint", 0)):
        values = getattr(sample, layer)
        assert (values[hidden] == unknown).all(), layer
        assert (
            (values[2:4] != unknown).any(axis=-1).all()
            if layer in ("normals", "rgb")
            else (values[2:4] != unknown).all()
        )
    assert sample.depth is not None
    assert not sample.depth[0].any()
    np.testing.assert_array_equal(sample.depth[1:4], np.float32(1.501))
    np.testing.assert_array_equal(dataset.view(1).rgb, sample.rgb)  # type: ignore[attr-defined]
    assert dataset[0].labels is not None
    assert dataset[0].labels.all()
    write(tmp_path / "masks/000001.png", np.zeros((6, 9), np.uint8))
    with pytest.raises(DatasetError, match=r"images/000001\.png: mask must be \(6, 8\), got \(6, 9\)"):
        dataset[1]


def test_broken_images_are_named(tmp_path: Path) -> None:
    write_sequence(tmp_path)
    dataset = open_dataset(f"folder:{tmp_path}")
    write(tmp_path / "semantics/000000.png", np.full((6, 8), 41, np.uint8))
    with pytest.raises(DatasetError, match=r"semantics/000000\.png: expected labels 0-40, found uint8 up to 41"):
        dataset[0]
    write(tmp_path / "semantics/000000.png", np.full((6, 9), 1, np.uint8))
    with pytest.raises(DatasetError, match=r"labels must be uint8 \(6, 8\), got uint8 \(6, 9\)"):
        dataset[0]
    (tmp_path / "images/000000.png").write_bytes(b"PNG?")
    with pytest.raises(DatasetError, match=r"000000\.png: not an image"):
        dataset[0]


# NYUDv2 -----------------------------------------------------------------------------------------------------------------


def plane_depth(height: int, width: int, camera: Camera, normal: np.ndarray) -> np.ndarray:
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], -1)
    return (-2.0 / (rays @ normal)).astype(np.float32)


@pytest.mark.parametrize("kind", ["png", "npy"])
def test_nyudv2_multi_task_layout(tmp_path: Path, kind: str) -> None:
    """ATRC's archive contains PNG, MTI-Net's .npy; both here with normals in OpenGL axes, which the reader must find out."""
    height, width = 480, 640
    normal = np.array([0.48, 0.36, -0.8])
    depth = plane_depth(height, width, Camera(518.86, 519.47, 325.58, 253.74), normal)
    opengl = np.broadcast_to(normal * [1, -1, -1], (height, width, 3))
    write(tmp_path / ("images/1.png" if kind == "png" else "images/1.jpg"), np.zeros((height, width, 3), np.uint8))
    labels = np.zeros((height, width), np.uint8)
    labels[10:] = 40
    write(tmp_path / "segmentation/1.png", labels)
    write_array(tmp_path / "depth/1.npy", depth[..., None] if kind == "png" else depth)
    edges = np.zeros((height, width), np.uint8)
    edges[5] = 255
    if kind == "png":
        write(tmp_path / "normals/1.png", np.rint((opengl + 1) * 127.5).astype(np.uint8))
        write(tmp_path / "edge/1.png", edges)
    else:
        write_array(tmp_path / "normals/1.npy", opengl.astype(np.float32))
        write_array(tmp_path / "edge/1.npy", (edges / 255).astype(np.float32))
    (tmp_path / "gt_sets").mkdir()
    (tmp_path / "gt_sets/train.txt").write_text("1\n")
    (tmp_path / "gt_sets/val.txt").write_text("")
    dataset = open_dataset(f"nyudv2:{tmp_path}#train")
    sample = dataset[0]
    assert (len(dataset), dataset.classes, len(open_dataset(f"nyudv2:{tmp_path}#val"))) == (1, 41, 0)
    np.testing.assert_allclose(sample.depth, depth)
    assert sample.labels is not None
    assert (sample.labels[0, 0], sample.labels[10, 0]) == (0, 40)
    assert sample.normals is not None
    np.testing.assert_allclose(sample.normals[3, 4], normal, atol=0.01)
    assert sample.edges is not None
    assert (sample.edges[4, 0], sample.edges[5, 0]) == (0, 1)
    assert sample.camera == Camera(518.86, 519.47, 325.58, 253.74)
    for path in ("normals", "edge", "segmentation", "depth"):
        for file in (tmp_path / path).iterdir():
            file.unlink()
    bare = open_dataset(f"nyudv2:{tmp_path}#train")[0]
    assert bare.depth is bare.labels is bare.normals is bare.edges is None


def test_nyudv2_crop_moves_the_camera(tmp_path: Path) -> None:
    write(tmp_path / "images/1.png", np.zeros((425, 560, 3), np.uint8))
    (tmp_path / "gt_sets").mkdir()
    (tmp_path / "gt_sets/train.txt").write_text("1\n")
    dataset = open_dataset(f"nyudv2:{tmp_path}")
    camera = dataset[0].camera
    assert camera is not None
    assert (camera.cx, camera.cy) == (pytest.approx(284.58), pytest.approx(208.74))
    (tmp_path / "gt_sets/train.txt").write_text("1\n2\n")
    with pytest.raises(DatasetError, match="no image 2"):
        open_dataset(f"nyudv2:{tmp_path}")


def test_nyudv2_labelled_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    depth = rng.uniform(1, 3, (3, 6, 8)).astype(np.float32)
    labels = rng.integers(0, 5, (3, 6, 8)).astype(np.uint16)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:  # Matlab's order: last dimension first
        file["images"] = rgb.transpose(0, 3, 2, 1)
        file["depths"] = depth.transpose(0, 2, 1)
        file["labels"] = labels.transpose(0, 2, 1)
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[1], [3]], "testNdxs": [[2]]})
    dataset = open_dataset(f"nyudv2-mat:{tmp_path}#train")
    assert len(dataset) == 2
    assert dataset[1].labels is None
    savemat(tmp_path / "classMapping40.mat", {"mapClass": [[7, 40, 1, 2]]})
    sample = open_dataset(f"nyudv2-mat:{tmp_path}#train")[1]
    np.testing.assert_array_equal(sample.rgb, rgb[2])
    np.testing.assert_array_equal(sample.depth, depth[2])
    np.testing.assert_array_equal(sample.labels, np.array([0, 7, 40, 1, 2])[labels[2]])
    assert len(open_dataset(f"nyudv2-mat:{tmp_path}#val")) == 1
    savemat(tmp_path / "splits.mat", {"other": 1})
    with pytest.raises(DatasetError, match=r"splits\.mat: has no variable trainNdxs"):
        open_dataset(f"nyudv2-mat:{tmp_path}#train")


# Hypersim ---------------------------------------------------------------------------------------------------------------


def test_distance_becomes_depth() -> None:
    """At 3-4-5: a pixel whose ray has slope 3/4 and distance 5 lies 4 m in front."""
    distance = np.full((1, 8), 5.0)
    depth = planar_depth(distance, Camera(4.0, 4.0, 2.0, 0.0))
    assert depth[0, 2] == 5
    assert depth[0, 5] == pytest.approx(4)
    assert planar_depth(np.array([[np.nan, np.inf]]), Camera(1, 1, 0, 0)).tolist() == [[0, 0]]


def test_hypersim(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    images = tmp_path / "ai_001_002/images"
    rgb = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    write(images / "scene_cam_00_final_preview/frame.0007.tonemap.jpg", rgb)
    semantic = np.full((12, 16), -1, np.int16)
    semantic[2:] = 5
    normals = np.zeros((12, 16, 3), np.float16)
    normals[..., 2] = 1  # OpenGL: towards the viewer
    normals[11] = (0, 0, -1)  # stored back to front
    for name, array in {
        "depth_meters": np.full((12, 16), 2.0, np.float16),
        "semantic": semantic,
        "normal_cam": normals,
    }.items():
        folder = images / "scene_cam_00_geometry_hdf5"
        folder.mkdir(exist_ok=True)
        with h5py.File(folder / f"frame.0007.{name}.hdf5", "w") as file:
            file["dataset"] = array
    header = "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name\n"
    rows = "ai_001_002,cam_00,7,True,,train\nai_001_002,cam_00,8,False,broken,train\nai_001_002,cam_00,9,True,,val\n"
    (tmp_path / "metadata_images_split_scene_v1.csv").write_text(header + rows)
    dataset = open_dataset(f"hypersim:{tmp_path}#train")
    assert len(dataset) == 1
    sample = dataset[0]
    assert sample.labels is not None
    assert (sample.labels[0, 0], sample.labels[5, 5]) == (0, 5)
    assert sample.normals is not None
    np.testing.assert_array_equal(sample.normals.reshape(-1, 3), np.tile([0, 0, -1], (12 * 16, 1)))
    focal = 886.81 * 16 / 1024
    assert sample.camera == Camera(focal, focal, 7.5, 5.5)
    assert sample.depth is not None
    assert sample.depth[0, 0] == pytest.approx(2 / np.sqrt(1 + (7.5**2 + 5.5**2) / focal**2), rel=1e-3)
    with pytest.raises(DatasetError, match="no frame of the split test"):
        open_dataset(f"hypersim:{tmp_path}#test")


# Cityscapes -------------------------------------------------------------------------------------------------------------


def write_cityscapes(path: Path) -> None:
    def file(folder: str, suffix: str) -> Path:
        return path / folder / "train/aachen" / f"aachen_000000_000019_{suffix}"

    write(file("leftImg8bit", "leftImg8bit.png"), RGB)
    labels = np.full((6, 8), 7, np.uint8)  # road
    labels[0], labels[1] = 23, 3  # sky, out of roi
    write(file("gtFine", "gtFine_labelIds.png"), labels)
    raw = np.full((6, 8), 256 * 10 + 1, np.uint16)  # 10 pixels
    raw[5] = 0
    write(file("disparity", "disparity.png"), raw)
    file("camera", "camera.json").parent.mkdir(parents=True)
    camera = {"extrinsic": {"baseline": 0.2}, "intrinsic": {"fx": 2000.0, "fy": 2001.0, "u0": 4.5, "v0": 2.5}}
    file("camera", "camera.json").write_text(json.dumps(camera))


def test_cityscapes(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    dataset = open_dataset(f"cityscapes:{tmp_path}#train")
    assert (len(dataset), dataset.classes) == (1, 20)
    sample = dataset[0]
    assert sample.labels is not None
    assert sample.labels[:, 0].tolist() == [11, 0, 1, 1, 1, 1]  # sky, unknown, road
    assert sample.depth is not None
    assert sample.depth[:, 0].tolist() == [0, 40, 40, 40, 40, 0]  # 0.2 * 2000 / 10; sky and raw 0 unknown
    assert sample.camera == Camera(2000.0, 2001.0, 4.5, 2.5)
    next(tmp_path.glob("camera/*/*/*.json")).write_text('{"intrinsic": {}}')
    with pytest.raises(DatasetError, match=r"camera\.json: cannot be read: 'fx'"):
        dataset[0]
    with pytest.raises(DatasetError, match="leftImg8bit/val: no "):
        open_dataset(f"cityscapes:{tmp_path}#val")


# Common -----------------------------------------------------------------------------------------------------------------


def test_addresses_say_what_is_wrong(tmp_path: Path) -> None:
    for address, message in [
        ("coco:/x", "expected FORMAT:PATH"),
        ("folder", "expected FORMAT:PATH"),
        (f"folder:{tmp_path}/none", "does not exist"),
        (f"folder:{tmp_path}", "neither a sequence"),
        (f"folder:{tmp_path}#train", "has no split 'train'; splits are: none"),
        (f"nyudv2:{tmp_path}#test", "has no split 'test'; splits are: train, val"),
        (f"nyudv2:{tmp_path}#val", r"val\.txt: file is missing"),
    ]:
        with pytest.raises(DatasetError, match=message):
            open_dataset(address)


def test_signs_are_found_from_depth() -> None:
    camera, normal = Camera(50.0, 50.0, 16.0, 12.0), np.array([0.48, 0.36, -0.8])
    depth = plane_depth(24, 32, camera, normal)
    stored = np.broadcast_to(normal * [-1, 1, -1], (24, 32, 3)).astype(np.float32)
    scores = sign_scores(stored, depth, camera)
    assert scores.max() == pytest.approx(1, abs=1e-4)
    assert scores.argmax() == 5  # (-1, 1, -1)
    assert not sign_scores(stored, depth, None).any()


def test_normals_are_turned_to_the_camera() -> None:
    """Straight ahead only z counts; far to the right a normal with n_z < 0 may still point away."""
    camera = Camera(1.0, 1.0, 0.0, 0.0)
    normals = np.array([[[0, 0, 1], [0.8, 0, -0.6], [0, 0, -1]]], np.float32)
    turned = face_camera(normals, camera)
    np.testing.assert_allclose(turned[0], [[0, 0, -1], [-0.8, 0, 0.6], [0, 0, -1]], atol=1e-6)
