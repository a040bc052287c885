"""The sparse points of a COLMAP reconstruction, and their observations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.frame import FrameSequence, SequenceError
from pipelines.recentred import origin_of
from pipelines.sequences.colmap import BinaryFile, largest_model, model_folders, read_registered
from pipelines.sequences.text import content_lines

LEAST_IMAGES = 3  # least number of observing images of a valid point
Track = tuple[tuple[float, ...], list[int]]


@dataclass(frozen=True, eq=False)
class SparsePoints:
    """positions (P, 3) in the sequence's world and unit; seen has by image name the points (n,) that it observed."""

    positions: NDArray[np.float64]
    seen: dict[str, NDArray[np.int64]]

    def of_image(self, shown: str) -> NDArray[np.float64]:
        """Points (n, 3) that an image observed, by its path in the sequence, which ends with its name in COLMAP."""
        parts = Path(shown).parts
        for start in range(len(parts)):
            found = self.seen.get("/".join(parts[start:]))
            if found is not None:
                return self.positions[found]
        return np.zeros((0, 3))


def sparse_points_of(sequence: FrameSequence) -> SparsePoints | None:
    """The points of a COLMAP sequence in its world; None where there are none or it has another format."""
    found = read_sparse_points(sequence.path) if sequence.format == "colmap" else None
    return None if found is None else replace(found, positions=found.positions - origin_of(sequence))


def read_sparse_points(path: Path) -> SparsePoints | None:
    """The points of the model that `open_colmap` uses; None where there is no model or it has no points file.

    Raises SequenceError naming the file and the line.
    """
    models = [(folder, read_registered(folder)) for folder in model_folders(path)] if path.is_dir() else []
    if not models:
        return None
    folder, registered = largest_model(models)
    binary, text = folder / "points3D.bin", folder / "points3D.txt"
    if not binary.is_file() and not text.is_file():
        return None
    names = {image.number: image.name for image in registered}
    positions: list[tuple[float, ...]] = []
    seen: dict[str, list[int]] = {name: [] for name in names.values()}
    for position, images in _points_binary(binary) if binary.is_file() else _points_text(text):
        if len(set(images)) < LEAST_IMAGES:
            continue
        for number in sorted(set(images) & names.keys()):
            seen[names[number]].append(len(positions))
        positions.append(position)
    arrays = {name: np.array(points, np.int64) for name, points in seen.items()}
    return SparsePoints(np.array(positions, np.float64).reshape(-1, 3), arrays)


def _points_text(path: Path) -> Iterator[Track]:
    for number, line in content_lines(path):
        fields = line.split()
        try:
            x, y, z = map(float, fields[1:4])
            yield (x, y, z), [int(image) for image in fields[8::2]]
        except ValueError:
            raise SequenceError(f"{path} line {number}: expected `id x y z r g b error (image point)...`") from None


def _points_binary(path: Path) -> Iterator[Track]:
    file = BinaryFile(path)
    for _ in range(int(file.take("Q")[0])):
        values = file.take("Q3d3Bd")
        length = int(file.take("Q")[0])
        yield tuple(values[1:4]), [int(image) for image in file.take(f"{2 * length}i")[::2]]
