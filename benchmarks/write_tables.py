"""Write docs/benchmarks.md: the tables of all results in benchmarks/results/.

python benchmarks/write_tables.py

The same results give the same bytes. A result that is not there yet gets a line with the command that makes it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from common import NOISY_SHARE
from result_tables import (
    Result,
    fusion,
    long_walk,
    meshing,
    monocular,
    multiview,
    network,
    quality,
    refine,
    synth,
    training,
)
from run_all import commands

ROOT = Path(__file__).parents[1]
INTRODUCTION = """# Benchmarks

Written by `python benchmarks/write_tables.py` from `benchmarks/results/*.json`, never by hand. `make bench` measures everything
but the training and writes this page; [benchmarks/README.md](../benchmarks/README.md) says what holds for all of it. `DATA` is a
folder of recorded sequences: `redkitchen` is from 7-Scenes, `hololens_office` from deep-video-mvs. A dash is what was not
recorded or does not apply. What is marked noisy is not to be quoted.
"""


class Section(NamedTuple):
    """A part of the page: the result it shows, what that is, and the function that makes its tables."""

    title: str
    result: str
    text: str
    tables: Callable[[Result], str]
    packages: tuple[str, ...] = ()
    noise: str = ""


def page(results: Path) -> str:
    """The whole page, from the JSON files of a folder."""
    return "\n".join(
        [INTRODUCTION, *(section_text(section, results / f"{section.result}.json") for section in SECTIONS)]
    )


def section_text(section: Section, path: Path) -> str:
    """Title, what is measured, where it comes from, and the tables or what makes them."""
    known = commands("DATA/redkitchen", "DATA")
    known["training"] = ["train_synthetic.py", "FOLDER", "--recorded", "DATA/redkitchen"]
    command = f"`python benchmarks/{' '.join(known[section.result])}`"
    head = f"## {section.title}\n\n{section.text}\n\n"
    if not path.exists():
        return f"{head}Not measured yet: there is no `benchmarks/results/{path.name}`. {command} makes it.\n"
    data: Result = json.loads(path.read_text(encoding="utf-8"))
    noise = section.noise or noise_line(data)
    return f"{head}Command: {command}. {origin(data['machine'], section.packages)} {noise}\n\n{section.tables(data)}\n"


def origin(machine: Result, packages: Sequence[str]) -> str:
    """Where and when a result was made."""
    versions = [f"{name} {machine['packages'][name]}" for name in packages if machine.get("packages", {}).get(name)]
    python = [f"Python {machine['python']}"] if "python" in machine else []
    where = ", ".join([machine["processor"], f"{machine['cores']} cores", *python, *versions])
    return f"Machine: {where}. Date: {machine.get('date', 'not recorded').partition('T')[0]}."


def noise_line(data: Result) -> str:
    """Which measurements of a result were disturbed."""
    shares = dict(noise_flags(data))
    noisy = [f"{name} ({100 * share:.0f} %)" for name, (share, flag) in shares.items() if flag]
    if not shares:
        return "Noise: not recorded."
    if noisy:
        return f"Noisy, more than {100 * NOISY_SHARE:.0f} % of the processor being taken by others: {', '.join(noisy)}."
    return f"Not noisy: others took at most {100 * max(share for share, _ in shares.values()):.1f} % of the processor."


def noise_flags(data: Result, name: str = "") -> Iterator[tuple[str, tuple[float, bool]]]:
    """Name, share of others and whether it is noisy, of each measurement that recorded it."""
    if "noisy" in data:
        yield name or "all of it", (data["others_share"], data["noisy"])
    for key, value in data.items():
        if isinstance(value, dict):
            inner = "" if key in ("results", "load") else key
            yield from noise_flags(value, f"{name} {inner}".strip())


SAME_ON_ALL = "Noise: does not change these figures."
SECTIONS = (
    Section(
        "Fusion",
        "fusion",
        "Milliseconds a frame to fuse recorded depth on the CPU, each system in its own process, truncation 4 voxels, "
        "depth up to 5 m. `open3d 8` and `open3d 16` are VoxelBlockGrid with blocks of 8 and of 16 voxels (its default), "
        "`open3d legacy` is ScalableTSDFVolume; they fuse depth and colour, m2h depth, colour and labels, and `m2h carve` "
        "records free space too. *Times* is the other's median over the row's own: below 1 the row is slower.",
        fusion,
        ("open3d", "numba"),
    ),
    Section(
        "Meshing and memory",
        "fusion",
        "Milliseconds to make a mesh of what the section before has fused, and the memory of it. Bytes are those of the "
        "blocks in use; ScalableTSDFVolume does not tell its own. The peak is that of the process with the frames in it "
        "and, for VoxelBlockGrid, with the blocks that it keeps ready.",
        meshing,
        ("open3d", "numba"),
    ),
    Section(
        "A long walk",
        "long_walk",
        "Milliseconds to fuse a frame of 160x120 while a synthetic building of equal rooms is walked through: each stretch "
        "asks for the same work, and the map behind it grows. Processor time is the process's own; wall time also counts "
        "waiting for others.",
        long_walk,
        ("numba",),
    ),
    Section(
        "Maps from monocular depth",
        "monocular",
        "Maps of rendered worlds whose depth is spoiled as a network's would be, against the true surface "
        "([monocular.md](monocular.md)). `plain` is equal weights without alignment, `full` what `m2h run` does; *only* is "
        "one care alone, *no* all but one. Settings were chosen on world 31; worlds 41 to 43 were held out.",
        monocular,
        noise=SAME_ON_ALL,
    ),
    Section(
        "Depth from images and poses",
        "multiview",
        "Depth and maps from RGB and poses alone, against the depth that the sensor recorded "
        "([multiview.md](multiview.md)). `sweep` is a frame by itself, `proved` what other frames confirm and the map is "
        "made of; the certain half are the pixels of more than median confidence. `redkitchen` is taken with 525 pixels of "
        "focal length, `redkitchen_as_published` with 585.",
        multiview,
        ("torch",),
    ),
    Section(
        "Maps of synthetic worlds",
        "quality",
        "`m2h run` on rendered worlds with recorded depth and labels, 320x240, 4 cm voxels, measured by `m2h eval`.",
        quality,
        noise=SAME_ON_ALL,
    ),
    Section(
        "The network",
        "network",
        "Seconds for an image, all variants with the same weights, each in its own process, in turn; the first variant is "
        "the published order of operations ([network.md](network.md)). Differences are to that one, in standard deviations "
        "of the worst output.",
        network,
        ("torch", "openvino"),
        "Noise: in clean runs others took less than 15 % of a core.",
    ),
    Section(
        "Predicted depth refined by images",
        "refine",
        "Maps from a predictor's depth as it is (`none`), refined by neighbouring images where they show that it needs it "
        "(`auto`) or always (`multiview`), and from images alone, with and without alignment of the frames' scales "
        "([multiview.md](multiview.md#predicted-depth)). The predictors are the shipped network, and true depth spoiled as a "
        "good and as a fair network errs.",
        refine,
        ("torch",),
        SAME_ON_ALL,
    ),
    Section(
        "Rendering synthetic worlds",
        "synth",
        "`m2h synth` with depth, labels, instances, normals, edges and ground truth written to disk; the stages are those "
        "of one frame by itself.",
        synth,
        ("numba",),
    ),
    Section(
        "Training on synthetic worlds",
        "training",
        "A small network trained on 110 rendered worlds, measured on ten that it has not seen, beside a prior that gives "
        "every image the same answer ([training.md](training.md)). This takes more than an hour and is not part of "
        "`make bench`.",
        training,
        ("torch",),
        SAME_ON_ALL,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    options = parser.parse_args()
    options.out.write_text(page(options.results), encoding="utf-8")


if __name__ == "__main__":
    main()
