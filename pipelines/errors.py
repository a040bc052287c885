"""Errors as their user reads them: which are about input or machine, and their one line."""

from __future__ import annotations

from mapping.text import for_terminal
from pipelines.limits import is_lack_of_memory, limit_message

LONGEST_LINE = 1000
OUR_PACKAGES = ("m2h", "mapping", "scenegraph", "pipelines")


def one_line(error: BaseException) -> str:
    """The error in one line that begins with the file if the system reports it."""
    text = str(error)
    if is_lack_of_memory(error):
        advice = limit_message() or "a larger --voxel or a smaller tsdf.max_depth reduces it"
        text = f"not enough memory ({text or 'none is left'}); {advice}"
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    line = for_terminal(" ".join(text.split())) or type(error).__name__
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 4]} ..."


def is_known(error: BaseException) -> bool:
    """Whether an error is about the user's input or machine (one line will do) rather than a bug (a traceback helps)."""
    ours = type(error).__module__.partition(".")[0] in OUR_PACKAGES
    return isinstance(error, OSError) or is_lack_of_memory(error) or (ours and isinstance(error, ValueError))
