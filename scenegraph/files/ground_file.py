"""ground.npz: what stands on the floors of a building."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mapping.files import atomic_path
from mapping.reading.arrays import read_npz
from scenegraph.ground import BAND, BANDS, CELL, FULL, Ground, GroundError

FARTHEST = 1e10
NAMES = ("floors", "origin", "occupied", "free", "cell_size", "band_height")


def write_ground(ground: Ground, path: Path) -> None:
    """Write ground.npz."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            floors=ground.floors,
            origin=ground.origin,
            occupied=ground.occupied,
            free=ground.free,
            cell_size=np.array(CELL),
            band_height=np.array(BAND),
        )


def read_ground(path: Path) -> Ground:
    """Read ground.npz; raises GroundError naming what is missing or wrong."""
    arrays = read_npz(path, GroundError, names=NAMES)
    if missing := [name for name in NAMES if name not in arrays]:
        raise GroundError(f"{path}: {missing[0]} is missing")
    floors, origin = arrays["floors"], arrays["origin"]
    occupied, free = arrays["occupied"], arrays["free"]
    if occupied.dtype != np.uint32 or free.dtype != np.uint32 or occupied.ndim != 3 or free.shape != occupied.shape:
        raise GroundError(f"{path}: occupied and free must be uint32 (S, X, Y) of one shape")
    if (occupied.size and occupied.max() > FULL) or (free.size and free.max() > FULL):
        raise GroundError(f"{path}: occupied and free must have no more than {BANDS} bands")
    for name, array, shape in (("floors", floors, (len(occupied),)), ("origin", origin, (2,))):
        if (
            array.dtype != np.float64
            or array.shape != shape
            or not (np.abs(array) <= FARTHEST).all()
            or not len(occupied)
        ):
            raise GroundError(f"{path}: {name} must be float64 {shape} and no farther than {FARTHEST:g} m away")
    if (np.diff(floors) <= 0).any() or any(
        arrays[name].shape != () or float(arrays[name]) != size
        for name, size in (("cell_size", CELL), ("band_height", BAND))
    ):
        raise GroundError(f"{path}: floors must increase, cell_size be {CELL} and band_height {BAND}")
    return Ground(floors, origin, occupied, free)
