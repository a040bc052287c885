"""What it costs a network to see images on their side, and how surely the shipped one tells which way is up.

    python benchmarks/bench_upright.py DATA

measures labels of the photographs of DATA/nyu13_photos and depth of the second half of DATA/hololens_office, upright and turned
by a quarter, as the network sees them in a run and would without being turned back; and, of stretches of the recordings in four
turns whose up direction is withheld, how often it is recognised. Writes benchmarks/results/upright.json.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from bench_from_images import measure_photos, measure_recording, truths_of
from common import machine, noise, write_json
from numpy.typing import NDArray

from m2h.infer import Predictor
from m2h.weights import DEFAULT_NAME
from pipelines import open_sequence
from pipelines.frame import FrameSequence
from pipelines.loading import chosen_positions
from pipelines.posing.upright import Uncertainty, recognised_up, shipped_uncertainty
from pipelines.settings import FramesConfig
from pipelines.turning import TurnedSequence, turned_frame

RECORDINGS = {"office": "hololens_office", "kitchen": "redkitchen", "desk": "tum_fr1_desk"}
STRETCHES = 4
"""Parts of each recording in which up is looked for."""
EVERY = 10
"""Depth of every n-th frame is measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the recorded sequences and the photographs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "upright.json")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"machine": machine()}
    quiet: dict[str, Any] = {}
    with noise(quiet):
        predictor = Predictor.from_checkpoint(DEFAULT_NAME)
        results["shown"] = {
            name: measure_photos(predictor, arguments.data / "nyu13_photos", turns)
            | office(predictor, arguments.data / RECORDINGS["office"], turns)
            for name, turns in (("upright", 0), ("on their side", 1))
        }
        results["recognised"] = {
            name: recognition(open_sequence(str(arguments.data / folder))) for name, folder in RECORDINGS.items()
        }
    results |= quiet
    write_json(arguments.out, results)


def office(predictor: Predictor, folder: Path, turns: int) -> dict[str, float]:
    """Depth of frames, given their neighbours, that are all turned by quarters."""
    sequence = open_sequence(str(folder))
    frames = [turned_frame(sequence[i], turns) for i in range(len(sequence) // 2, len(sequence))]
    found = measure_recording(predictor, frames, truths_of(frames, None, EVERY))
    return {f"depth_{name}": scores["abs_rel"] for name, scores in found.items()}


def recognition(sequence: FrameSequence) -> dict[str, int]:
    """Of stretches in four turns: how often up is found within 45 degrees, how often images are left as they are although they
    lie on their side, how often they are turned to a wrong side, and how often these were upright."""
    positions = chosen_positions(sequence, FramesConfig())
    # The recordings were made with cameras that were held upright, whatever their files say of the world.
    up = np.mean([-sequence.infos[position].T_world_camera[:3, 1] for position in positions], axis=0)
    up /= np.linalg.norm(up)
    uncertainty = remembered(shipped_uncertainty())
    counts = Counter(right=0, left_alone=0, wrong=0, were_upright=0)
    for stretch in range(STRETCHES):
        part = np.array_split(np.array(positions), STRETCHES)[stretch].tolist()
        for turns in range(4):
            turned = TurnedSequence(sequence, np.full(len(sequence), turns))
            found = recognised_up(turned, part, uncertainty)
            if found is None:
                counts["right" if turns == 0 else "left_alone"] += 1
            else:
                is_right = bool(found @ up > np.sqrt(0.5))
                counts["right" if is_right else "wrong"] += 1
                counts["were_upright"] += turns == 0 and not is_right
    return dict(counts)


def remembered(uncertainty: Uncertainty | None) -> Uncertainty:
    """The same of each image once: a turned recording has the same images in another order."""
    assert uncertainty is not None
    known: dict[bytes, float] = {}

    def ask(rgb: NDArray[np.uint8]) -> float:
        key = rgb.tobytes() + str(rgb.shape).encode()
        if key not in known:
            known[key] = uncertainty(rgb)
        return known[key]

    return ask


if __name__ == "__main__":
    main()
