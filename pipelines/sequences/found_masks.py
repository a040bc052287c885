"""Masks that a sequence has in `masks/` or `mask/`: in its folder, or in one between it and its images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipelines.frame import SequenceError
from pipelines.sequences.masks import mask_folder, masks_by_name, unread_masks
from pipelines.sequences.pairing import Pairs
from pipelines.sequences.video import VideoFrame

Image = Path | VideoFrame


def masks_of(images: Sequence[Image], masks: Sequence[Path | None], folder: Path) -> Pairs:
    """The mask of each image: its own, for those without one that of a folder; raises SequenceError when the names do not show
    which belongs to which image."""
    without = [image for image, mask in zip(images, masks, strict=True) if mask is None]
    files = [Path(str(image.number)) if isinstance(image, VideoFrame) else image for image in without]
    found = iter(masks_by_name(files, folder, set(masks)))
    return [next(found) if mask is None else mask for mask in masks]


def places_of_masks(images: Iterable[Image], folder: Path, root: Path) -> list[Path]:
    """Folders that may have the masks of images: those from a sequence's `folder` to its images, and the `root` of its format."""
    places = {folder: None, root: None}
    for parent in sorted({_file(image).parent for image in images}):
        around = [place for place in reversed((parent, *parent.parents)) if place.is_relative_to(folder)]
        places |= dict.fromkeys(around or [parent.parent, parent])
    return list(places)


def with_found_masks(
    images: Sequence[Image], masks: Sequence[Path | None], places: Sequence[Path], used: Iterable[Path]
) -> Pairs:
    """The mask of each image: its own, for those without one that of a folder of masks in one of the places.

    A folder is that of the images below its place, or of all where none is. `used` are files that are read as something
    else. Raises SequenceError for an image below two of them, and where names leave open which mask belongs to which image.
    """
    used = list(used)
    if all(mask is not None for mask in masks):
        return list(masks)
    pairs, owners = list(masks), [Path()] * len(masks)
    for place in places:
        found = mask_folder(place, used)
        if found is None:
            continue
        below = [k for k, image in enumerate(images) if _file(image).is_relative_to(place)] or list(range(len(images)))
        if other := next((owners[k] for k in below if owners[k] != Path()), None):
            raise SequenceError(f"{other} and {found} both have images; remove the one that is not meant as masks")
        chosen = masks_of([images[k] for k in below], [masks[k] for k in below], found)
        for k, mask in zip(below, chosen, strict=True):
            pairs[k], owners[k] = mask, found
    return pairs


def mask_notes(masks: Sequence[Path | None], places: Sequence[Path], used: Iterable[Path]) -> list[str]:
    """What a user should know of the masks of a sequence's images, and of folders in the places that speak of masks and are not
    read. `used` are the files that are read; the first place is the sequence's folder."""
    folders = sorted({mask.parent for mask in masks if mask is not None})
    where = ", ".join(_shown(folder, places[0]) for folder in folders[:3]) + (", ..." if len(folders) > 3 else "")
    masked = sum(mask is not None for mask in masks)
    notes = (
        [f"{masked} of {len(masks)} images have a mask, in {where}: what is black in it is unknown"] if masked else []
    )
    if unread := [_shown(folder, places[0]) for folder in unread_masks(places, used)]:
        notes.append(f"{', '.join(unread)}: not read; masks are read from masks/ or mask/, black where nothing is used")
    return notes


def _file(image: Image) -> Path:
    return image.path if isinstance(image, VideoFrame) else image


def _shown(folder: Path, base: Path) -> str:
    return f"{folder.relative_to(base).as_posix() if folder.is_relative_to(base) else folder}/"
