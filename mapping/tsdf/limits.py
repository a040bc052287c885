"""What a volume refuses because its numbers or the memory of the machine do not reach so far."""

from __future__ import annotations

from mapping.available_memory import available_bytes
from mapping.tsdf.observation import FusionError

FARTHEST = 1e12
"""Metres from the origin, and of a ray: what is rendered is nearer."""
CHECKED_BYTES = 256 << 20
"""New memory that is compared with what the machine has."""


def require(needed: float, what: str) -> None:
    """Raises FusionError when the machine has not so many bytes for `what`."""
    left = available_bytes()
    if needed > left:
        raise FusionError(
            f"{what} needs {needed / 2**30:.2f} GiB of memory, {left / 2**30:.2f} GiB are left: use larger voxels "
            "(tsdf.voxel_size) or a smaller tsdf.max_depth"
        )
