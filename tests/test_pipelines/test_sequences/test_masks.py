"""What a mask hides is unknown to every source, and black."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sequence_folders as folders
from box_room import CAMERA

from pipelines import open_sequence
from pipelines.frame import Frame, SequenceError, only_within
from pipelines.images import read_mask, read_opacity, write_jpeg, write_png
from pipelines.sequences.ingest import ingest
from pipelines.settings import PipelineConfig
from pipelines.sources.source import open_source
from pipelines.stages.context import RunContext
from pipelines.workspace import Workspace

USED = np.ones((folders.HEIGHT, folders.WIDTH), bool)
USED[8:, 4:10] = False


def add_mask_paths(path: Path, name: str = "masks/m.png") -> None:
    header = json.loads((path / "transforms.json").read_text())
    for entry in header["frames"]:
        entry["mask_path"] = name
    (path / "transforms.json").write_text(json.dumps(header))


def check(frame: Frame, i: int, *, has_depth: bool = True) -> None:
    assert frame.mask is not None
    np.testing.assert_array_equal(frame.mask, USED)
    np.testing.assert_array_equal(frame.rgb[~USED], 0)
    np.testing.assert_array_equal(frame.rgb[USED], folders.rgb(i)[USED])
    if has_depth:
        np.testing.assert_allclose(frame.recorded.depth, np.where(USED, folders.depth(i), 0), atol=1e-4)


@pytest.mark.parametrize("white", [1, 255])
def test_mask_path_of_nerfstudio(tmp_path: Path, white: int) -> None:
    folders.write_nerfstudio(tmp_path / "seq")
    (tmp_path / "seq/masks").mkdir()
    write_png(tmp_path / "seq/masks/m.png", (USED * white).astype(np.uint8))
    add_mask_paths(tmp_path / "seq")
    sequence = open_sequence(tmp_path / "seq")
    check(sequence[1], 1)
    np.testing.assert_array_equal(sequence[1].recorded.labels, np.where(USED, folders.labels(1), 0))
    assert any("3 of 3 images have a mask" in note for note in sequence.notes)
    add_mask_paths(tmp_path / "seq", "../m.png")
    with pytest.raises(SequenceError, match=r"frames\[0\]\.mask_path must lie below"):
        open_sequence(tmp_path / "seq")


@pytest.mark.parametrize("folder", ["masks", "mask", "Masks"])
@pytest.mark.parametrize("format", ["nerfstudio", "hololens", "images", "tum", "colmap-text"])
def test_masks_folder_of_any_format(tmp_path: Path, format: str, folder: str) -> None:
    folders.WRITERS[format][1](tmp_path / "seq")
    names = [Path(info.image).name for info in open_sequence(tmp_path / "seq").infos]
    (tmp_path / "seq" / folder).mkdir()
    for name in names:  # COLMAP appends the suffix
        mask = name + ".png" if format == "colmap-text" else name
        write_png(tmp_path / "seq" / folder / mask, (USED * 255).astype(np.uint8))
    sequence = open_sequence(tmp_path / "seq")
    check(sequence[1], 1, has_depth=format != "colmap-text")
    assert not any("not read" in note for note in sequence.notes)


def write_cameras(path: Path) -> None:
    """A COLMAP project with the images of two cameras in subfolders, of the same names, and a third of one of them."""
    folders.write_colmap_text(path)
    text = (path / "sparse/0/images.txt").read_text()
    for i, name in enumerate(["cam0/000000.png", "cam1/000000.png", "cam1/000001.png"]):
        (path / "images" / name).parent.mkdir(exist_ok=True)
        (path / f"images/shot {i}.png").rename(path / "images" / name)
        text = text.replace(f"shot {i}.png", name)
    (path / "sparse/0/images.txt").write_text(text)


def test_masks_in_subfolders_are_those_of_images_in_subfolders(tmp_path: Path) -> None:
    write_cameras(tmp_path)
    names = [info.image for info in open_sequence(tmp_path).infos]
    assert names == ["images/cam0/000000.png", "images/cam1/000000.png", "images/cam1/000001.png"]
    for camera in ("cam0", "cam1"):
        (tmp_path / "masks" / camera).mkdir(parents=True)
    write_png(tmp_path / "masks/cam0/000000.png.png", np.full(USED.shape, 255, np.uint8))
    write_png(tmp_path / "masks/cam1/000001.png.png", (USED * 255).astype(np.uint8))
    sequence = open_sequence(tmp_path)
    frames = [sequence[i] for i in range(3)]
    assert frames[0].mask is not None
    assert frames[0].mask.all()
    assert frames[1].mask is None
    check(frames[2], 2, has_depth=False)
    assert any("2 of 3 images have a mask" in note for note in sequence.notes)


@pytest.mark.parametrize("name", ["right/000000.png", "cam1/left/000000.png", "cam1/left.png"])
def test_masks_in_subfolders_of_no_image_are_an_error(tmp_path: Path, name: str) -> None:
    write_cameras(tmp_path)
    (tmp_path / "masks" / name).parent.mkdir(parents=True)
    write_png(tmp_path / "masks" / name, np.zeros((12, 16), np.uint8))
    with pytest.raises(
        SequenceError, match=r"masks/(right|cam1/left): no folder of images is named|masks/cam1: the names"
    ):
        open_sequence(tmp_path)


def test_two_folders_of_masks_are_an_error(tmp_path: Path) -> None:
    folders.write_nerfstudio(tmp_path / "seq")
    for folder in ("mask", "masks"):
        (tmp_path / "seq" / folder).mkdir()
        write_png(tmp_path / "seq" / folder / "frame_00001.png", (USED * 255).astype(np.uint8))
    with pytest.raises(SequenceError, match="mask/ and masks/ both have images"):
        open_sequence(tmp_path / "seq")


def test_folders_that_speak_of_masks_are_read_or_noted(tmp_path: Path) -> None:
    folders.write_nerfstudio(tmp_path / "seq")
    (tmp_path / "seq/semantics").rename(tmp_path / "seq/mask")  # labels, as some call them
    text = (tmp_path / "seq/transforms.json").read_text().replace("semantics/", "mask/")
    (tmp_path / "seq/transforms.json").write_text(text)
    (tmp_path / "seq/dynamic_masks").mkdir()
    write_png(tmp_path / "seq/dynamic_masks/frame_00001.png", np.zeros((12, 16), np.uint8))
    sequence = open_sequence(tmp_path / "seq")
    assert sequence[1].mask is None
    np.testing.assert_array_equal(sequence[1].recorded.labels, folders.labels(1))
    noted = [note for note in sequence.notes if "not read" in note]
    assert len(noted) == 1
    assert noted[0].startswith("dynamic_masks/: not read; masks are read from masks/ or mask/")


def test_labels_are_no_mask(tmp_path: Path) -> None:
    write_png(tmp_path / "labels.png", np.tile(np.arange(21, dtype=np.uint8), (12, 1)))
    with pytest.raises(SequenceError, match="expected a mask of black and one other value, found 21 values"):
        read_mask(tmp_path / "labels.png")


@pytest.mark.parametrize("masked", [False, True])
def test_transparent_pixels_are_unknown(tmp_path: Path, masked: bool) -> None:
    """Pictures of objects that were cut out have colours where they are transparent, and a mask may hide more."""
    folders.write_nerfstudio(tmp_path / "seq")
    right = np.zeros(USED.shape, bool)
    right[:, 14:] = masked
    for i in range(folders.COUNT):
        cut_out = np.dstack([folders.rgb(i)[..., ::-1], np.where(USED, 255, 0).astype(np.uint8)])
        cv2.imwrite(str(tmp_path / f"seq/images/frame_{i + 1:05d}.png"), cut_out)
    if masked:
        (tmp_path / "seq/masks").mkdir()
        for i in range(folders.COUNT):
            write_png(tmp_path / f"seq/masks/frame_{i + 1:05d}.png", np.where(right, 0, 255).astype(np.uint8))
    frame = open_sequence(tmp_path / "seq")[1]
    assert frame.mask is not None
    np.testing.assert_array_equal(frame.mask, USED & ~right)
    np.testing.assert_allclose(frame.recorded.depth, np.where(USED & ~right, folders.depth(1), 0), atol=1e-4)


@pytest.mark.parametrize(("suffix", "alpha"), [(".png", 255), (".webp", 255), (".webp", 0), (".jpg", None)])
def test_opacity_of_image_files(tmp_path: Path, suffix: str, alpha: int | None) -> None:
    image = np.full((12, 16, 3 if alpha is None else 4), 90, np.uint8)
    if alpha is not None:
        image[..., 3] = 255
        image[8:, 4:10, 3] = alpha
    cv2.imwrite(str(tmp_path / f"image{suffix}"), image, [cv2.IMWRITE_WEBP_QUALITY, 101])
    opacity = read_opacity(tmp_path / f"image{suffix}")
    if alpha == 0:
        assert opacity is not None
        np.testing.assert_array_equal(opacity > 0, USED)
    else:
        assert opacity is None


def test_masks_are_not_images_of_a_colmap_project(tmp_path: Path) -> None:
    """Images next to the model, whose folder is searched for images that were not registered."""
    folders.write_colmap_text(tmp_path / "seq")
    for file in (tmp_path / "seq/images").iterdir():
        file.rename(tmp_path / "seq" / file.name)
    (tmp_path / "seq/masks").mkdir()
    for i in range(folders.COUNT):
        write_png(tmp_path / f"seq/masks/shot {i}.png", (USED * 255).astype(np.uint8))
    sequence = open_sequence(tmp_path / "seq")
    assert len(sequence) == folders.COUNT
    check(sequence[1], 1, has_depth=False)


def test_masks_that_belong_to_no_image_are_an_error(tmp_path: Path) -> None:
    folders.write_hololens(tmp_path / "seq")
    (tmp_path / "seq/masks").mkdir()
    for name in ("left", "right"):
        write_png(tmp_path / f"seq/masks/{name}.png", np.zeros((12, 16), np.uint8))
    with pytest.raises(SequenceError, match="masks: the names do not show"):
        open_sequence(tmp_path / "seq")


def test_masks_of_the_camera_file(tmp_path: Path) -> None:
    folders.write_posed_images(tmp_path)
    (tmp_path / "valid").mkdir()
    for i in range(folders.COUNT):
        write_png(tmp_path / f"valid/{i:06d}.png", (USED * 255).astype(np.uint8))
    folders.write_camera_yaml(tmp_path, "masks: valid\ndepth: depth\n")
    check(open_sequence(tmp_path)[2], 2)
    folders.write_camera_yaml(tmp_path, "masks: nowhere\n")
    with pytest.raises(SequenceError, match=r"camera\.yaml: masks: no image in nowhere/"):
        open_sequence(tmp_path)


def test_mask_survives_a_copy(tmp_path: Path) -> None:
    folders.write_nerfstudio(tmp_path / "seq")
    (tmp_path / "seq/masks").mkdir()
    write_png(tmp_path / "seq/masks/m.png", (USED * 255).astype(np.uint8))
    add_mask_paths(tmp_path / "seq")
    ingest(open_sequence(tmp_path / "seq"), tmp_path / "copy")
    check(open_sequence(tmp_path / "copy")[1], 1)


def test_colours_and_grey_of_masks(tmp_path: Path) -> None:
    write_png(tmp_path / "c.png", np.repeat((USED * 200).astype(np.uint8)[..., None], 3, axis=2))
    np.testing.assert_array_equal(read_mask(tmp_path / "c.png") > 0, USED)
    big = np.kron(USED, np.ones((8, 8), bool))
    write_jpeg(tmp_path / "c.jpg", np.repeat((big * 255).astype(np.uint8)[..., None], 3, axis=2))
    np.testing.assert_array_equal(read_mask(tmp_path / "c.jpg") > 0, big)
    write_png(tmp_path / "none.png", np.zeros((4, 4), np.uint8))
    assert not read_mask(tmp_path / "none.png").any()


def test_no_source_gives_depth_in_a_mask(box_room: Path, tmp_path: Path) -> None:
    """Depth of another program too: an object that moves with the camera must not reach the map."""
    sequence = open_sequence(box_room)
    used = np.ones((CAMERA.height, CAMERA.width), bool)
    used[CAMERA.height // 2 :, CAMERA.width // 4 : CAMERA.width // 2] = False

    class Masked:
        def __getattr__(self, name: str) -> object:
            return getattr(sequence, name)

        def __len__(self) -> int:
            return len(sequence)

        def __getitem__(self, index: int) -> Frame:
            return sequence[index].masked(used)

    (tmp_path / "predicted").mkdir()
    for info in sequence.infos:
        depth = sequence[info.index].recorded.depth
        assert depth is not None
        np.savez(tmp_path / f"predicted/{info.index:06d}.npz", depth=np.where(used, depth, np.float32(0.5)))
    config = PipelineConfig()
    for spec in (f"precomputed:{tmp_path / 'predicted'}", "recorded"):
        masked: Any = Masked()
        source = open_source(spec, masked, config)
        context = RunContext(Workspace(tmp_path / "run"), masked, source, config, lambda what, done, total: None)
        frame = next(context.posed_frames([3], corrected="as given"))
        assert not frame.predictions.depth[~used].any()
        assert (frame.predictions.depth[used] > 0).all()
        assert not frame.rgb[~used].any()


def test_everything_outside_of_a_mask_is_unknown(box_room: Path) -> None:
    recorded = open_sequence(box_room)[0].recorded
    assert recorded.depth is not None
    mask = np.zeros(recorded.depth.shape, bool)
    mask[3:9, 5:20] = True
    for name, array in vars(only_within(recorded, mask)).items():
        before = getattr(recorded, name)
        if array is not None:
            assert array.dtype == before.dtype
            np.testing.assert_array_equal(array[mask], before[mask])
            assert not array[~mask].any()
    assert only_within(recorded, None) is recorded


@pytest.mark.parametrize("own", ["masks/m.png", "masks/frame_00001.png", "hidden/m.png"])
def test_mask_path_of_one_frame_leaves_the_folder_to_the_others(tmp_path: Path, own: str) -> None:
    folders.write_nerfstudio(tmp_path / "seq")
    for name in ("masks/frame_00002.png", "masks/frame_00003.png", own):
        (tmp_path / "seq" / name).parent.mkdir(exist_ok=True)
        write_png(tmp_path / "seq" / name, (USED * 255).astype(np.uint8))
    header = json.loads((tmp_path / "seq/transforms.json").read_text())
    next(entry for entry in header["frames"] if "frame_00001" in entry["file_path"])["mask_path"] = own
    (tmp_path / "seq/transforms.json").write_text(json.dumps(header))
    sequence = open_sequence(tmp_path / "seq")
    for i in range(3):
        check(sequence[i], i)
    assert any("3 of 3 images have a mask" in note for note in sequence.notes)
