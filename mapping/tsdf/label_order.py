"""Labels of crowded voxels, in the order of the frames.

A voxel keeps the evidence of `KEPT` labels. When more come, what is lost depends on the order in which they came, so where two
volumes are merged, these voxels alone may differ from those of the volume of all frames. Frame by frame a voxel gets evidence of
one label, so the evidence of a frame for these voxels can be had again from a volume of that frame alone, and what all frames
say, added in their order, is exactly what fusion in one go has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.available_memory import available_bytes
from mapping.reading.arrays import read_npz
from mapping.tsdf.blocks import BlockMap
from mapping.tsdf.store import SumStore
from mapping.tsdf.surface import SurfaceSums
from mapping.tsdf.volume_io import VOXELS, VolumeError, VolumeSums, write_arrays


@dataclass(frozen=True, eq=False)
class CrowdedVoxels:
    """The N voxels of a volume that lost evidence: `coords` (B, 3) int32 of their blocks, `row` (N,) of the block and `voxel`
    (N,) in it, in order; `at` (N,) are their places in the volume's surface sums."""

    coords: NDArray[np.int32]
    row: NDArray[np.int64]
    voxel: NDArray[np.uint16]
    at: NDArray[np.int64]

    @staticmethod
    def of(sums: VolumeSums) -> CrowdedVoxels:
        """Those of a volume."""
        at = np.flatnonzero(sums.surface.lost > 0)
        rows, row = np.unique(sums.surface.row[at], return_inverse=True)
        return CrowdedVoxels(sums.coords[rows], row.astype(np.int64), sums.surface.voxel[at], at)

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, eq=False)
class FrameEvidence:
    """What one frame says of crowded voxels: their numbers (L,) in ascending order, a label (L,) and its evidence (L,) each."""

    voxel: NDArray[np.int32]
    label: NDArray[np.uint16]
    evidence: NDArray[np.int32]


def frame_evidence(crowded: CrowdedVoxels, frame: VolumeSums) -> FrameEvidence:
    """The evidence for crowded voxels in a volume of one frame."""
    blocks = BlockMap()
    blocks.insert(crowded.coords)
    surface = frame.surface
    block = blocks.find(frame.coords)[surface.row].astype(np.int64)
    wanted, key = crowded.row * VOXELS + crowded.voxel, block * VOXELS + surface.voxel
    number = np.minimum(np.searchsorted(wanted, key), len(wanted) - 1)
    number = np.where((block >= 0) & (wanted[number] == key), number, -1)[surface.label_voxel]
    kept = np.flatnonzero(number >= 0)
    kept = kept[np.argsort(number[kept], kind="stable")]
    return FrameEvidence(number[kept].astype(np.int32), surface.label[kept], surface.evidence[kept])


def with_labels_in_order(sums: VolumeSums, crowded: CrowdedVoxels, frames: Iterable[FrameEvidence]) -> VolumeSums:
    """The volume with the labels of its crowded voxels as all frames, in this order, add them up.

    Raises VolumeError when the frames are not those of the volume.
    """
    if not len(crowded):
        return sums
    store = SumStore(1)
    rows = store.insert(crowded.coords)
    for frame in frames:
        used, entry = np.unique(frame.voxel, return_inverse=True)
        nothing = np.zeros(len(used), np.int32)
        store.surface.add(
            rows,
            SurfaceSums(
                row=crowded.row[used].astype(np.int32),
                voxel=crowded.voxel[used],
                color=np.zeros((len(used), 4), np.int32),
                lost=nothing,
                label_voxel=entry.astype(np.int32),
                label=frame.label,
                evidence=frame.evidence,
            ),
        )
    found = store.surface.sums(np.arange(len(crowded.coords)))
    is_same = len(found.row) == len(crowded) and (found.row == crowded.row).all() and (found.lost > 0).all()
    if not is_same or (found.voxel != crowded.voxel).any():
        raise VolumeError(f"the evidence of the frames is not that of the {len(crowded)} crowded voxels of the volume")
    return replace(sums, surface=_spliced(sums.surface, crowded, found))


def _spliced(surface: SurfaceSums, crowded: CrowdedVoxels, found: SurfaceSums) -> SurfaceSums:
    """The surface sums with the labels of the crowded voxels replaced."""
    lost = surface.lost.copy()
    lost[crowded.at] = found.lost
    is_crowded = np.zeros(len(surface.row), bool)
    is_crowded[crowded.at] = True
    kept = ~is_crowded[surface.label_voxel]
    voxel = np.concatenate([surface.label_voxel[kept], crowded.at[found.label_voxel].astype(np.int32)])
    label = np.concatenate([surface.label[kept], found.label])
    evidence = np.concatenate([surface.evidence[kept], found.evidence])
    order = np.lexsort((label, voxel))
    return surface._replace(lost=lost, label_voxel=voxel[order], label=label[order], evidence=evidence[order])


def write_evidence(path: Path, frames: Sequence[FrameEvidence]) -> None:
    """Write what frames say of crowded voxels, in their order."""
    ends = np.cumsum([0, *(len(frame.voxel) for frame in frames)], dtype=np.int64)
    empty = FrameEvidence(np.zeros(0, np.int32), np.zeros(0, np.uint16), np.zeros(0, np.int32))
    joined = {
        name: np.concatenate([getattr(frame, name) for frame in (empty, *frames)])
        for name in ("voxel", "label", "evidence")
    }
    write_arrays(path, {"ends": ends, **joined})


def read_evidence(path: Path) -> list[FrameEvidence]:
    """Read what `write_evidence` wrote; raises VolumeError naming the file."""
    arrays = read_npz(path, VolumeError, most=available_bytes())
    types = {"ends": np.int64, "voxel": np.int32, "label": np.uint16, "evidence": np.int32}
    if arrays.keys() != types.keys() or any(
        arrays[name].dtype != kind or arrays[name].ndim != 1 for name, kind in types.items()
    ):
        raise VolumeError(f"{path}: expected rows of {', '.join(types)}")
    ends, voxel, label, evidence = (arrays[name] for name in types)
    counts = {len(voxel), len(label), len(evidence)}
    if len(ends) < 1 or ends[0] != 0 or (np.diff(ends) < 0).any() or counts != {int(ends[-1])}:
        raise VolumeError(f"{path}: ends: expected increasing numbers from 0 to the number of entries")
    spans = [slice(int(first), int(stop)) for first, stop in pairwise(ends)]
    return [FrameEvidence(voxel[span], label[span], evidence[span]) for span in spans]
