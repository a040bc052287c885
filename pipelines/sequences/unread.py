"""Files that users write next to a recording and that its format does not read: an error, since they expect an effect."""

from __future__ import annotations

from pathlib import Path

from pipelines.frame import SequenceError
from pipelines.sequences.conventions import CAMERA_FILE, OVERRIDE_FILE


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
