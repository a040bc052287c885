"""Pictures for docs/: what the network says of real frames, and the maps that come of it next to the sensor's.

    python benchmarks/pictures_from_images.py DATA --runs FOLDER [--out docs/images]

FOLDER contains the runs that `bench_from_images.py DATA --keep FOLDER` leaves: nothing is predicted here. `frames.jpg` has six
frames of the second half of the office, a row each: the image, the depth of the sensor, the depth that was fused, its weight.
`maps.jpg` has the maps of the office and the kitchen from above, and those of the depth of their sensors. Frames of the kitchen
are not shown: its licence (7-Scenes) is for research.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from bench_from_images import FOLDERS, VOXEL
from bench_multiview import sensor_mesh
from numpy.typing import NDArray

from mapping.mesh.pictures import top_views
from pipelines import open_sequence
from pipelines.sources.predictions import prediction_path, read_predictions
from pipelines.stages.context import PREDICTIONS_FOLDER
from pipelines.workspace import load_run

Image = NDArray[np.uint8]

WIDTH = 240
"""Pixels across one picture."""
FARTHEST = 5.0
"""Metres at the end of the colours of depth."""
CUT = 0.6
"""Share of the height of a map, from below, that is shown: ceilings hide the rooms."""
METRES = 0.02
"""Metres across one pixel of a map."""
GREY = 190
GAP = 4
JPEG_QUALITY = 85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the recorded sequences")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs to show")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/images")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    office = FOLDERS["office"]
    save(arguments.out / "frames.jpg", frame_rows(arguments.data / office, arguments.runs / office, 6))
    runs = [name for name in FOLDERS.values() if (arguments.runs / name).is_dir()]
    rows = [map_row(arguments.data / name, arguments.runs / name) for name in runs]
    save(arguments.out / "maps.jpg", stacked(rows))


def frame_rows(recorded: Path, run: Path, count: int) -> Image:
    """Image, sensor's depth, fused depth and its weight of `count` frames of a run, spread over it."""
    sequence = open_sequence(str(recorded))
    numbers = sorted(int(path.stem) for path in (run / PREDICTIONS_FOLDER).glob("*.npz"))
    rows = []
    for number in np.array(numbers)[np.linspace(0, len(numbers) - 1, count + 2).astype(int)[1:-1]]:
        frame = sequence[int(number)]
        seen = read_predictions(prediction_path(run / PREDICTIONS_FOLDER, int(number)))
        assert frame.recorded.depth is not None
        assert seen.depth is not None
        assert seen.confidence is not None
        weight = np.asarray(np.clip(255 * np.sqrt(seen.confidence), 0, 255), dtype=np.uint8)
        parts = (frame.rgb, depth_picture(frame.recorded.depth), depth_picture(seen.depth), np.dstack([weight] * 3))
        rows.append(side_by_side([small(part) for part in parts]))
    return stacked(rows)


def map_row(recorded: Path, run: Path) -> Image:
    """The map of a run and that of the sensor's depth of the same frames, both from above, in the run's world."""
    mesh, graph = load_run(run)
    sequence = open_sequence(str(recorded))
    numbers = sorted(int(path.stem) for path in (run / PREDICTIONS_FOLDER).glob("*.npz"))
    truth = sensor_mesh([sequence[number] for number in numbers], VOXEL)
    truth = truth.transformed(np.linalg.inv(graph.T_input_world))
    low, high = np.quantile(truth.vertices[:, 2], [0.01, 0.99])
    cut = low + CUT * (high - low)
    grey = np.full((len(truth.vertices), 3), GREY, np.uint8)
    (found,) = top_views(mesh, [None], pixel_size=METRES, cut_height=cut)
    return side_by_side([found, *top_views(truth, [grey], pixel_size=METRES, cut_height=cut)])


def depth_picture(depth: NDArray[np.float32]) -> Image:
    """Near is yellow, far is blue, unknown is black."""
    shade = np.clip(255 * (1 - depth / FARTHEST), 0, 255).astype(np.uint8)
    picture = np.asarray(cv2.applyColorMap(shade, cv2.COLORMAP_VIRIDIS), dtype=np.uint8)[..., ::-1].copy()
    picture[depth <= 0] = 0
    return picture


def small(picture: Image) -> Image:
    height = round(WIDTH * picture.shape[0] / picture.shape[1])
    return np.asarray(cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def side_by_side(pictures: list[Image]) -> Image:
    """Pictures in a row on white, top edges aligned."""
    height = max(len(picture) for picture in pictures)
    padded = [
        cv2.copyMakeBorder(picture, 0, height - len(picture), 0, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for picture in pictures
    ]
    return np.concatenate(padded, axis=1)


def stacked(rows: list[Image]) -> Image:
    """Rows below each other on white."""
    width = max(row.shape[1] for row in rows)
    padded = [
        cv2.copyMakeBorder(row, 0, GAP, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for row in rows
    ]
    return np.concatenate(padded)


def save(path: Path, picture: Image) -> None:
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    print(f"{path}: {picture.shape[1]}x{picture.shape[0]}")


if __name__ == "__main__":
    main()
