"""How kernels are compiled, and how the compiled ones are kept true to their sources.

numba stores a compiled function beside its source file and compiles it again when that file changes, but not when another file
whose functions or constants it uses does. So what is stored is dropped whenever any of the kernels' sources has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

SOURCES = (
    "compiling.py",
    "tsdf/kernels/*.py",
    "tsdf/layout.py",
    "tsdf/grid.py",
    "depth/kernels.py",
    "depth/config.py",
)
"""What kernels are made of, below this folder: their own sources, and those whose constants they take."""
FAST = {"contract", "nsz", "arcp"}
"""What `fastmath` may do: nothing that hides a value that is not a number."""
INNER = {"nogil": True, "_nrt": False}
"""Options of `numba.njit` for a kernel that only other kernels call and that makes no arrays of its own.

It counts no references to the arrays that it is given, since its caller holds them. To count them takes an atomic addition an
array and call, and that waits for all reads and writes under way; in a function of a few nanoseconds this is most of the time.
"""


def drop_stale_kernels(folder: Path) -> bool:
    """Delete the stored kernels below `folder` unless they were compiled from the sources there; returns whether it did."""
    sources = sorted(path for pattern in SOURCES for path in folder.glob(pattern))
    digest = hashlib.sha256(
        b"".join(path.relative_to(folder).as_posix().encode() + path.read_bytes() for path in sources)
    ).hexdigest()
    stamp = folder / "__pycache__" / "kernels.sha256"
    try:
        if stamp.read_text(encoding="ascii") == digest:
            return False
    except OSError:
        pass
    with contextlib.suppress(OSError):  # a read-only installation keeps its kernels elsewhere
        stamp.parent.mkdir(exist_ok=True)
        for stored in folder.rglob("__pycache__/*.nb[ic]"):
            stored.unlink(missing_ok=True)
        temporary = stamp.with_suffix(f".{os.getpid()}")
        temporary.write_text(digest, encoding="ascii")
        temporary.replace(stamp)
    return True


drop_stale_kernels(Path(__file__).parent)
