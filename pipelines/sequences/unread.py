"""Files next to a recording that its format does not read.

What users wrote is an error, since they expect an effect; depth, which a recording may have and not use, is noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.frame import SequenceError
from pipelines.images import list_depth_images
from pipelines.sequences.conventions import CAMERA_FILE, OVERRIDE_FILE

MOST_FOLDERS = 100
"""Entries of a folder that are searched for those whose names speak of depth."""
REMEDIES = {
    "images": f"to use them name the folder as depth in {CAMERA_FILE}",
    "nerfstudio": "to use them give frames a depth_file_path",
    "colmap": "COLMAP projects are read without depth; to use it write a transforms.json",
}
"""By format, what to do about depth that is not read."""


def check_unread_files(folder: Path, format: str, root: Path, *, reads_camera_file: bool) -> None:
    """Raise SequenceError for a `camera.yaml` or `m2h.yaml` without effect in a sequence, saying what to do about it.

    Parameters
    ----------
    folder : of the sequence, in which `m2h.yaml` is read.
    format : its name.
    root : where the format's own files are: `folder`, or a folder in it that can be read on its own.
    reads_camera_file : whether the format reads `camera.yaml` in `folder`.
    """
    for place in dict.fromkeys((folder, root)):
        file = place / CAMERA_FILE
        if file.is_file() and not (reads_camera_file and place == folder):
            other = f", or name the format images:{folder} and give a pose file" if place == folder else ""
            raise SequenceError(
                f"{file}: has no effect: {folder} is read as {format}; remove it ({OVERRIDE_FILE} corrects a camera){other}"
            )
    file = root / OVERRIDE_FILE
    if root != folder and file.is_file():
        raise SequenceError(f"{file}: has no effect: {folder} is read; move it there, or read {root}")


def unread_depth_notes(folder: Path, format: str, root: Path, used: Sequence[Path]) -> tuple[str, ...]:
    """A note on each folder of depth in `folder` or `root` of which a sequence reads no file, with an example and what to do.

    `format` and `root` are as in `check_unread_files`; `used` are the files that are read.
    """
    taken = {place for parent in {file.parent for file in used} for place in (parent, *parent.parents)}
    notes = []
    for place in dict.fromkeys((folder, root)):
        named = sorted(entry for entry in place.iterdir() if _speaks_of_depth(entry.name)) if place.is_dir() else []
        for entry in named[:MOST_FOLDERS]:
            inner = sorted(child for child in entry.iterdir() if child.is_dir()) if entry.is_dir() else []
            files = [file for inside in (entry, *inner[:MOST_FOLDERS]) for file in list_depth_images(inside)]
            if files and entry not in taken:
                image = f" for {used[0].relative_to(folder)}" if used and used[0].is_relative_to(folder) else ""
                remedy = REMEDIES.get(format, "to use them name them as the format does")
                notes.append(
                    f"{entry.relative_to(folder)}/: {len(files)} depth files are not read: no frame uses one "
                    f"(such as {files[0].relative_to(folder)}{image}); {remedy}"
                )
    return tuple(notes)


def missing_depth_notes(listing: Path, names: Sequence[str]) -> tuple[str, ...]:
    """A note on the depth files that a list names and that are not there, with an example."""
    missing = [name for name in names if not (listing.parent / name).is_file()]
    if not missing:
        return ()
    return (f"{listing.name}: {len(missing)} of {len(names)} depth files are missing (such as {missing[0]})",)


def _speaks_of_depth(name: str) -> bool:
    """Whether a folder may have depth by its name; one of confidences has none."""
    return "depth" in name.lower() and "conf" not in name.lower() and not name.startswith(".")
