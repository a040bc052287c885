"""Masks of images: which folder of a sequence has them, and which mask belongs to which image."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

from pipelines.frame import SequenceError
from pipelines.images import IMAGE_SUFFIXES, list_images
from pipelines.sequences.pairing import Pairs, files_by_name

MASKS = "masks"
"""The folder of masks in a canonical sequence."""
MASK_FOLDERS = frozenset({MASKS, "mask"})
"""Names, in small letters, of folders whose images are masks."""
MASK_KINDS = "PNG, JPEG, WebP, BMP, TIFF or PNM"
"""Kinds of files that masks may be."""
MOST_FOLDERS = 100
"""Entries of a folder that are searched for those whose names speak of masks."""


def mask_folder(folder: Path, used: Iterable[Path] = ()) -> Path | None:
    """The folder of masks directly in a folder, None where it has none.

    `used` are files that are read as something else: a folder that has one of them is none of masks. Raises SequenceError where
    there are two, and for one whose files are all of kinds that are not read.
    """
    taken = _folders_of(used)
    named = [place for place in _speaking_of_masks(folder) if place.name.lower() in MASK_FOLDERS and place not in taken]
    found = [place for place in named if _all_images(place)]
    if named and not found:
        example = min(_all_files(named[0])).relative_to(named[0])
        raise SequenceError(
            f"{named[0]}: has no image, but {example}: expected masks as {MASK_KINDS} images, named as the images are; "
            "convert them, or rename the folder if they are no masks"
        )
    if len(found) > 1:
        names = " and ".join(f"{place.name}/" for place in found)
        raise SequenceError(f"{folder}: {names} both have images; remove the one that is not meant as masks")
    return found[0] if found else None


def unread_masks(places: Iterable[Path], used: Iterable[Path]) -> list[Path]:
    """Folders in any of some places that speak of masks, have files, and of which none of the `used` files is."""
    taken = _folders_of(used)
    return [found for place in places for found in _speaking_of_masks(place) if found not in taken]


def masks_by_name(files: Sequence[Path], folder: Path, others: Container[Path | None] = ()) -> Pairs:
    """The mask in a folder of each image, None where there is none.

    Masks in a subfolder, as COLMAP's `masks/cam0/000000.png.png`, are those of the images in the folder of the same name
    (`images/cam0/`). `others` are masks of other images. Raises SequenceError where names leave it open, and for a subfolder that
    no folder of images is named as.
    """
    inner = sorted({file.parent.relative_to(folder) for file in _all_images(folder)})
    if inner in ([], [Path()]):
        return files_by_name(files, _own_masks(folder, others), str(folder))
    pairs: Pairs = [None] * len(files)
    parents = sorted({file.parent for file in files})
    named = {part: [parent for parent in parents if _ends_with(parent, part)] for part in inner if part.parts}
    for part, found in named.items():
        if len(found) != 1:
            problem = "no folder of images is" if not found else f"{len(found)} folders of images are"
            raise SequenceError(
                f"{folder / part}: {problem} named {part.as_posix()}/; name masks as images/SUBFOLDER/NAME"
            )
    rest = [parent for parent in parents if [parent] not in named.values()]
    groups = list(named.items()) + ([(Path(), rest)] if Path() in inner else [])
    for part, found in groups:
        chosen = [i for i, file in enumerate(files) if file.parent in found]
        masks = files_by_name([files[i] for i in chosen], _own_masks(folder / part, others), str(folder / part))
        for i, mask in zip(chosen, masks, strict=True):
            pairs[i] = mask
    return pairs


def _own_masks(folder: Path, others: Container[Path | None]) -> list[Path]:
    return [mask for mask in list_images(folder) if mask not in others]


def _ends_with(folder: Path, part: Path) -> bool:
    return folder.parts[-len(part.parts) :] == part.parts


def _folders_of(files: Iterable[Path]) -> set[Path]:
    """All folders around files."""
    return {folder for parent in {file.parent for file in files} for folder in (parent, *parent.parents)}


def _all_images(folder: Path) -> list[Path]:
    """Images of a folder and its subfolders."""
    return [file for file in _all_files(folder) if file.suffix.lower() in IMAGE_SUFFIXES]


def _all_files(folder: Path) -> Iterator[Path]:
    """Files of a folder and its subfolders that are not hidden."""
    inner = (file for file in folder.rglob("*") if not any(part[0] == "." for part in file.relative_to(folder).parts))
    return (file for file in inner if file.is_file())


def _speaking_of_masks(folder: Path) -> list[Path]:
    """Folders in a folder that have files, perhaps in subfolders, and "mask" in their names."""
    if not folder.is_dir():
        return []
    named = sorted(entry for entry in folder.iterdir() if "mask" in entry.name.lower() and entry.name[0] != ".")
    return [entry for entry in named[:MOST_FOLDERS] if entry.is_dir() and any(_all_files(entry))]
