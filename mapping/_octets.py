"""The order in which voxels of a block lie in memory: by octets, cubes of 2 x 2 x 2 voxels.

The sums of an octet fill one cache line, and what a frame does not see, or does not find near a surface, comes in lumps: so by
octets much memory need not be touched that in the order of coordinates would be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OCTET, OCTETS = 8, 64


def _places() -> NDArray[np.uint16]:
    i, j, k = np.indices((8, 8, 8)).reshape(3, -1)
    octet = (i >> 1) << 4 | (j >> 1) << 2 | k >> 1
    return (octet << 3 | (i & 1) << 2 | (j & 1) << 1 | k & 1).astype(np.uint16)


PLACES = _places()
"""(512,) by voxel 64 i + 8 j + k of a block: eight times the number of its octet, plus its number there."""
VOXEL_AT = np.argsort(PLACES).astype(np.uint16)
"""(512,) the voxel at each of these places."""


def by_octets(sums: NDArray[np.int32]) -> NDArray[np.int32]:
    """(B, 64, 2, 8) of sums (B, 2, 512) by voxel."""
    return sums[:, :, VOXEL_AT].reshape(-1, 2, OCTETS, OCTET).transpose(0, 2, 1, 3)


def by_voxel(sums: NDArray[np.int32]) -> NDArray[np.int32]:
    """(B, 2, 512) of sums (B, 64, 2, 8) by octet."""
    return np.ascontiguousarray(sums.transpose(0, 2, 1, 3).reshape(-1, 2, OCTETS * OCTET)[:, :, PLACES])
