"""A recording without poses: the frames of a video, or the images of a folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.reading.pictures import turns_to_upright_shown
from pipelines.frame import SequenceError
from pipelines.images import image_size, list_images, read_rgb, unread_images
from pipelines.sequences.masks import mask_folder, masks_by_name
from pipelines.sequences.pairing import by_name
from pipelines.sequences.video import VIDEO_SUFFIXES, VideoFile, VideoFrame
from pipelines.turning import turned_array

ASSUMED_RATE = 30.0
"""Images per second of a folder, whose files have no times."""


@dataclass(frozen=True, eq=False)
class PlainRecording:
    """Images in the order in which they were taken.

    times (N,) are seconds, strictly increasing. size is the (width, height) of all images without a problem; `problems` has by
    position the reason why an image cannot be used. masks are by position the files that are black where an image must not be
    used; empty where there are none. turns are by position the quarter turns counter-clockwise by which files are read, as their
    EXIF orientation says, or that of most where it makes an image of another shape; empty where none is turned.
    """

    path: Path
    kind: str
    sources: tuple[Path | VideoFrame, ...]
    times: NDArray[np.float64]
    size: tuple[int, int]
    problems: dict[int, str]
    masks: tuple[Path | None, ...] = ()
    turns: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.path.resolve().stem if self.kind == "video" else self.path.resolve().name

    def shown(self, position: int) -> str:
        """What reports call an image: its file's name, with the frame's number in a video."""
        source = self.sources[position]
        return f"{source.path.name}#{source.number}" if isinstance(source, VideoFrame) else source.name

    def turns_of(self, position: int) -> int:
        """Quarter turns counter-clockwise by which the file of an image is read."""
        return self.turns[position] if self.turns else 0

    def read(self, position: int) -> NDArray[np.uint8]:
        """An image (H, W, 3) uint8 RGB; raises SequenceError when it cannot be read."""
        source = self.sources[position]
        if isinstance(source, VideoFrame):
            return source.read_rgb()
        return turned_array(read_rgb(source), self.turns_of(position))


def is_plain(path: Path) -> bool:
    """Whether a path is a video file, or a folder of images and nothing else but masks: any other file may hold their poses."""
    if path.is_file():
        return path.suffix.lower() in VIDEO_SUFFIXES
    if not path.is_dir():
        return False
    shown = {entry for entry in path.iterdir() if not entry.name.startswith(".")}
    pictures = set(list_images(path))
    return bool(pictures) and shown - pictures <= {mask_folder(path)}


def open_plain(path: Path) -> PlainRecording:
    """A video file, or the images of a folder by name, numbers in names as numbers, with masks in its `masks/` or `mask/`.

    Raises SequenceError for another path, a folder without readable images, masks that belong to no image, and a video that
    cannot be decoded.
    """
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        video = VideoFile(path)
        frames = tuple(VideoFrame(video, number) for number in range(len(video.times)))
        return PlainRecording(path, "video", frames, video.times, video.size(), {})
    if not path.exists():
        raise SequenceError(f"{path}: no such file or folder")
    files = by_name(list_images(path))
    if not files:
        suffixes = " ".join(sorted(VIDEO_SUFFIXES))
        raise SequenceError(f"{path}: expected a video ({suffixes}) or a folder of images{unread_images(path)}")
    sizes, problems = _sizes(files)
    if not sizes:
        raise SequenceError(f"{path}: none of {len(files)} images can be read: {problems[0]}")
    turns, (width, height) = _turns(files, sizes)
    problems |= {
        i: f"is {size[0]}x{size[1]} pixels, most images {width}x{height}"
        for i, size in sizes.items()
        if _turned_size(size, turns[i]) != (width, height)
    }
    folder = mask_folder(path)
    masks = () if folder is None else tuple(masks_by_name(files, folder))
    times = np.arange(len(files)) / ASSUMED_RATE
    return PlainRecording(path, "images", tuple(files), times, (width, height), problems, masks, turns)


def _turns(files: list[Path], sizes: dict[int, tuple[int, int]]) -> tuple[tuple[int, ...], tuple[int, int]]:
    """By position the quarter turns by which images are read, and the (width, height) that most then have.

    An image that would have another shape by its own EXIF orientation is turned as most are, where that gives it the common one.
    """
    own = [turns_to_upright_shown(files[i], SequenceError) if i in sizes else 0 for i in range(len(files))]
    stored = Counter(sizes.values()).most_common(1)[0][0]
    usual = Counter(own[i] for i, size in sizes.items() if size == stored).most_common(1)[0][0]
    common = Counter(_turned_size(size, own[i]) for i, size in sizes.items()).most_common(1)[0][0]
    fits = [i not in sizes or _turned_size(sizes[i], turns) == common for i, turns in enumerate(own)]
    return tuple(turns if fits[i] else usual for i, turns in enumerate(own)), common


def _turned_size(size: tuple[int, int], turns: int) -> tuple[int, int]:
    return size if turns % 2 == 0 else (size[1], size[0])


def _sizes(files: list[Path]) -> tuple[dict[int, tuple[int, int]], dict[int, str]]:
    """By position the (width, height) of each image, or why it has none."""
    sizes: dict[int, tuple[int, int]] = {}
    problems: dict[int, str] = {}
    for i, file in enumerate(files):
        try:
            sizes[i] = image_size(file)
        except SequenceError as error:
            problems[i] = str(error)
    return sizes, problems
