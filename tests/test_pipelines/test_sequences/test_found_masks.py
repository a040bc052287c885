"""Masks in the folders between a sequence's folder and its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sequence_folders as folders

from pipelines import open_sequence
from pipelines.frame import SequenceError
from pipelines.images import write_png

USED = np.ones((folders.HEIGHT, folders.WIDTH), bool)
USED[8:, 4:10] = False
INNER = {
    "polycam": ("keyframes/masks", "keyframes/corrected_images/mask"),
    "euroc": ("mav0/masks", "mav0/cam0/masks", "mav0/cam0/data/masks"),
    "arkit_scenes": ("47331_frames/masks", "47331_frames/lowres_wide/masks"),
    "record3d": ("EXR_RGBD/masks", "EXR_RGBD/rgb/masks"),
    "images": ("images/masks",),
    "nerfstudio": ("images/Masks",),
    "tum": ("rgb/masks",),
    "replica": ("results/masks",),
    "scannet": ("color/masks",),
    "colmap-text": ("images/masks",),
}


def write_masks(sequence: Path, place: str) -> None:
    names = [Path(info.image).stem for info in open_sequence(sequence).infos]
    (sequence / place).mkdir(parents=True)
    for name in names:
        write_png(sequence / place / f"{name}.png", (USED * 255).astype(np.uint8))


@pytest.mark.parametrize(("format", "place"), [(name, place) for name, places in INNER.items() for place in places])
def test_masks_in_an_inner_folder(tmp_path: Path, format: str, place: str) -> None:
    folders.WRITERS[format][1](tmp_path / "seq")
    write_masks(tmp_path / "seq", place)
    sequence = open_sequence(tmp_path / "seq")
    assert len(sequence) == folders.COUNT
    mask = sequence[2].mask
    assert mask is not None
    np.testing.assert_array_equal(mask, np.kron(USED, np.ones((2, 2), bool)) if format == "scannet" else USED)
    assert not sequence[2].rgb[~mask].any()
    assert f"3 of 3 images have a mask, in {place}/: what is black in it is unknown" in sequence.notes


def test_masks_next_to_the_images_of_a_model_that_is_opened_alone(tmp_path: Path) -> None:
    folders.write_colmap_text(tmp_path / "seq")
    write_masks(tmp_path / "seq", "masks")
    mask = open_sequence(tmp_path / "seq/sparse/0")[0].mask
    assert mask is not None
    np.testing.assert_array_equal(mask, USED)


def test_each_camera_may_have_its_folder_of_masks(tmp_path: Path) -> None:
    """Which is no folder of images that were not registered either."""
    folders.write_colmap_text(tmp_path)
    text = (tmp_path / "sparse/0/images.txt").read_text()
    for i in range(folders.COUNT):
        camera = tmp_path / f"images/cam{i % 2}"
        (camera / "masks").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"images/shot {i}.png").rename(camera / f"{i}.png")
        write_png(camera / f"masks/{i}.png", (USED * 255).astype(np.uint8))
        text = text.replace(f"shot {i}.png", f"cam{i % 2}/{i}.png")
    (tmp_path / "sparse/0/images.txt").write_text(text)
    sequence = open_sequence(tmp_path)
    assert len(sequence) == folders.COUNT
    for i in range(folders.COUNT):
        np.testing.assert_array_equal(sequence[i].mask, USED)


@pytest.mark.parametrize("places", [("masks", "keyframes/masks"), ("keyframes/masks", "keyframes/mask")])
def test_two_folders_of_masks_for_an_image_are_an_error(tmp_path: Path, places: tuple[str, str]) -> None:
    folders.write_polycam(tmp_path / "seq")
    names = [Path(info.image).stem for info in open_sequence(tmp_path / "seq").infos]
    for place in places:
        (tmp_path / "seq" / place).mkdir()
        write_png(tmp_path / "seq" / place / f"{names[0]}.png", (USED * 255).astype(np.uint8))
    with pytest.raises(
        SequenceError, match=r"masks/? and .*mask.* both have images; remove the one|mask/ and masks/ both"
    ):
        open_sequence(tmp_path / "seq")


def test_inner_folders_that_speak_of_masks_are_noted(tmp_path: Path) -> None:
    folders.write_euroc(tmp_path / "seq")
    write_masks(tmp_path / "seq", "mav0/cam0/dynamic_masks")
    (note,) = open_sequence(tmp_path / "seq").notes
    assert note.startswith("mav0/cam0/dynamic_masks/: not read; masks are read from masks/ or mask/")


@pytest.mark.parametrize("place", ["masks", "images/mask"])
@pytest.mark.parametrize("suffix", [".npy", ".gif"])
def test_masks_of_a_kind_that_is_not_read_are_an_error(tmp_path: Path, place: str, suffix: str) -> None:
    folders.write_hololens(tmp_path / "seq")
    (tmp_path / "seq" / place).mkdir()
    open_sequence(tmp_path / "seq")  # an empty folder says nothing
    for i in range(folders.COUNT):
        np.save(tmp_path / "mask.npy", USED)
        (tmp_path / "seq" / place / f"{i:05d}{suffix}").write_bytes((tmp_path / "mask.npy").read_bytes())
    with pytest.raises(SequenceError, match=rf"{place}: has no image, but 00000\{suffix}: expected masks as PNG, JPEG"):
        open_sequence(tmp_path / "seq")
