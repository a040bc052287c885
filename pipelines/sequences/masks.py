"""Masks of images: which folder of a sequence has them, and which mask belongs to which image."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from pipelines.frame import SequenceError
from pipelines.images import list_images
from pipelines.sequences.pairing import Pairs, files_by_name

MASKS = "masks"
"""The folder of masks in a canonical sequence."""
MASK_FOLDERS = frozenset({MASKS, "mask"})
"""Names, in small letters, of folders whose images are masks."""
MOST_FOLDERS = 100
"""Entries of a folder that are searched for those whose names speak of masks."""


def mask_folder(folder: Path, used: Iterable[Path] = ()) -> Path | None:
    """The folder of masks in a sequence's folder, None where it has none.

    `used` are files that are read as something else: a folder that has one of them is none of masks. Raises SequenceError where
    there are two.
    """
    taken = {path.parent for path in used}
    found = [place for place in _speaking_of_masks(folder) if place.name.lower() in MASK_FOLDERS and place not in taken]
    if len(found) > 1:
        names = " and ".join(f"{place.name}/" for place in found)
        raise SequenceError(f"{folder}: {names} both have images; remove the one that is not meant as masks")
    return found[0] if found else None


def mask_notes(masks: Sequence[Path | None], folder: Path, used: Iterable[Path]) -> list[str]:
    """What a user should know of the masks of a sequence's images, and of folders that speak of masks and are not read.

    `used` are the files that are read.
    """
    masked = sum(mask is not None for mask in masks)
    notes = [f"{masked} of {len(masks)} images have a mask: what is black in it is unknown"] if masked else []
    taken = {path.parent for path in used}
    if unread := [f"{place.name}/" for place in _speaking_of_masks(folder) if place not in taken]:
        notes.append(f"{', '.join(unread)}: not read; masks are read from masks/ or mask/, black where nothing is used")
    return notes


def masks_by_name(files: Sequence[Path], folder: Path, others: Container[Path | None] = ()) -> Pairs:
    """The mask in a folder of each image, None where there is none; raises SequenceError where names leave it open.

    `others` are masks of other images.
    """
    return files_by_name(files, [mask for mask in list_images(folder) if mask not in others], str(folder))


def _speaking_of_masks(folder: Path) -> list[Path]:
    """Folders in a sequence's folder that have images and "mask" in their names."""
    if not folder.is_dir():
        return []
    named = sorted(entry for entry in folder.iterdir() if "mask" in entry.name.lower() and entry.name[0] != ".")
    return [entry for entry in named[:MOST_FOLDERS] if list_images(entry)]
