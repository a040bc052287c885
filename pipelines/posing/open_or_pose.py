"""Opening what a run maps: a posed sequence, or a plain recording that is given poses first."""

from __future__ import annotations

import copy
from pathlib import Path

from pipelines.frame import FrameSequence
from pipelines.posing.plain_recording import is_plain
from pipelines.posing.pose_recording import Progress, Views, pose_recording
from pipelines.sequences import detect
from pipelines.settings import PosingConfig
from pipelines.workspace import Workspace, is_run_folder

POSED_FOLDER = "posed"


def open_or_pose(
    spec: str,
    run_folder: Path,
    config: PosingConfig,
    *,
    command: str,
    views: Views | None = None,
    overwrite: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> FrameSequence:
    """The sequence that `spec` names; for a plain video or a folder of nothing but images the one in `run_folder`/posed, which is
    made where it is missing or of other images.

    With `overwrite` what the run folder has is removed once the sequence has been opened. Raises SequenceError, what
    `pose_recording` raises, and WorkspaceError where the run folder has a map of another recording that is not to be overwritten.
    """
    path = Path(spec).expanduser()
    if not is_plain(path):
        opened = detect.open_sequence(spec)
        if overwrite and is_run_folder(run_folder):
            workspace = Workspace(run_folder)
            with workspace.lock():
                workspace.forget()
        return opened
    workspace = Workspace(run_folder)
    folder = workspace.path(POSED_FOLDER)
    with workspace.lock():
        if not overwrite:
            workspace.check_recording(path, folder)
        report = pose_recording(path, folder, config, command=command, views=views, replace=True, progress=progress)
        if overwrite:
            workspace.forget()
        workspace.note_recording(path)
    if report.up_to_date:
        progress("poses", 0, 0)
    sequence = copy.copy(detect.open_sequence(folder))
    sequence.name = path.resolve().stem if path.is_file() else path.resolve().name
    return sequence
