"""Write docs/benchmarks.md: the tables of all results in benchmarks/results/.

python benchmarks/write_tables.py

The same results give the same bytes. A missing result has a line with the command that creates it.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from common import NOISY_SHARE
from input_tables import checks, poses, refine_poses
from result_tables import (
    Result,
    batch,
    from_images,
    fusion,
    large_run,
    long_walk,
    meshing,
    monocular,
    multiview,
    network,
    quality,
    refine,
    synth,
    upright,
    visits,
)
from run_all import commands

ROOT = Path(__file__).parents[1]
INTRODUCTION = """# Benchmarks

Written by `python benchmarks/write_tables.py` from `benchmarks/results/*.json`, never by hand.
`make bench` measures everything except the training and writes this page;
[benchmarks/README.md](../benchmarks/README.md) has the rules. `DATA` is a folder of recorded
sequences: `redkitchen` is from 7-Scenes, `hololens_office` from deep-video-mvs. A dash means not
recorded or not applicable. Results marked noisy must not be quoted.
"""
WIDTH = 100
"""Characters of a line of text."""


class Section(NamedTuple):
    """A part of the page: its result, a description, and the function for its tables."""

    title: str
    result: str
    text: str
    tables: Callable[[Result], str]
    packages: tuple[str, ...] = ()
    noise: str = ""


def page(results: Path) -> str:
    """The whole page, from the JSON files of a folder."""
    sections = (section_text(section, results / f"{section.result}.json") for section in SECTIONS)
    return "\n".join([INTRODUCTION, *(wrapped(section) for section in sections)])


def wrapped(text: str) -> str:
    """Markdown with one line per paragraph or list item, wrapped outside of code; tables and headings are kept."""
    return "\n".join(line if line.startswith(("|", "#")) else wrapped_line(line) for line in text.split("\n"))


def wrapped_line(line: str) -> str:
    whole_code = re.sub("`[^`]*`", lambda code: code.group().replace(" ", "\0"), line)
    indent = "  " if line.startswith("- ") else ""
    filled = textwrap.fill(whole_code, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled.replace("\0", " ")


def section_text(section: Section, path: Path) -> str:
    """Title, description, origin, and the tables or the command that creates them."""
    known = commands("DATA/redkitchen", "DATA")
    command = f"`python benchmarks/{' '.join(known[section.result])}`"
    head = f"## {section.title}\n\n{section.text}\n\n"
    if not path.exists():
        return f"{head}Not measured yet: there is no `benchmarks/results/{path.name}`. {command} creates it.\n"
    data: Result = json.loads(path.read_text(encoding="utf-8"))
    noise = section.noise or noise_line(data)
    return f"{head}Command: {command}. {origin(data['machine'], section.packages)} {noise}\n\n{section.tables(data)}\n"


def origin(machine: Result, packages: Sequence[str]) -> str:
    """Origin and date of a result."""
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
    """Name, share of others and whether it is noisy, for each measurement that recorded it."""
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
        "Milliseconds per frame to fuse recorded depth on the CPU, each system in its own process, truncation 4 voxels, "
        "depth up to 5 m. `open3d 8` and `open3d 16` are VoxelBlockGrid with blocks of 8 and of 16 voxels (its default), "
        "`open3d legacy` is ScalableTSDFVolume; they fuse depth and colour, m2h depth, colour and labels, and `m2h carve` "
        "records free space too. *Times* is the other's median over that of the row: below 1 the row is slower.",
        fusion,
        ("open3d", "numba"),
    ),
    Section(
        "Meshing and memory",
        "fusion",
        "Milliseconds to extract a mesh of the volume of the previous section, and its memory. Bytes are those of the "
        "blocks in use; ScalableTSDFVolume does not report its own. The peak is that of the process including the frames "
        "and, for VoxelBlockGrid, the preallocated blocks.",
        meshing,
        ("open3d", "numba"),
    ),
    Section(
        "A long walk",
        "long_walk",
        "Milliseconds to fuse a frame of 160x120 while a synthetic building of equal rooms is walked through: each stretch "
        "needs the same work, and the map grows. Processor time is the process's own; wall time also counts "
        "waiting for others.",
        long_walk,
        ("numba",),
    ),
    Section(
        "A large run",
        "large_run",
        "Peak of resident memory and processor time of commands on a run folder that was made without mapping anything, each in "
        "its own process. The sequence has all frames in its transforms.json, the graph one pose of the camera for each.",
        large_run,
        noise="Noise: does not change the memory; processor time includes imports.",
    ),
    Section(
        "Many sequences and pieces",
        "batch",
        "Short sequences of a rendered room, 64x48, of which five are broken, mapped by `m2h batch` ([batch.md](batch.md)) in "
        "two ways, and all frames as one sequence fused in pieces by workers of which a random one is killed again and again, "
        "compared with `m2h run` byte by byte. Nothing here is timed.",
        batch,
        noise=SAME_ON_ALL,
    ),
    Section(
        "Maps from monocular depth",
        "monocular",
        "Maps of rendered worlds with the depth errors of a network, compared with the true surface "
        "([monocular.md](monocular.md)). `plain` is equal weights without alignment, `full` is the default of `m2h run`; "
        "*only* is one measure alone, *no* all but one. Settings were chosen on world 31; worlds 41 to 43 were held out.",
        monocular,
        noise=SAME_ON_ALL,
    ),
    Section(
        "Depth from images and poses",
        "multiview",
        "Depth and maps from RGB and poses alone, against the depth that the sensor recorded "
        "([multiview.md](multiview.md)). `sweep` is a single frame, `proved` is confirmed by other frames and used in the map; "
        "the certain half are the pixels of more than median confidence. `redkitchen` uses 525 pixels of "
        "focal length, `redkitchen_as_published` 585.",
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
        "Seconds per image, all variants with the same weights, each in its own process, in turn; the first variant is "
        "the published order of operations ([network.md](network.md)). Differences are to that one, in standard deviations "
        "of the worst output.",
        network,
        ("torch", "openvino"),
        "Noise: in clean runs others took less than 15 % of a core.",
    ),
    Section(
        "Predicted depth refined by images",
        "refine",
        "Maps from a predictor's unchanged depth (`none`), refined by neighbouring images where its error is large "
        "(`auto`) or always (`multiview`), and from images alone, with and without alignment of the frames' scales "
        "([multiview.md](multiview.md#predicted-depth)). The predictors are the shipped network, and true depth "
        "with the errors of a good and a fair network.",
        refine,
        ("torch",),
        SAME_ON_ALL,
    ),
    Section(
        "Rendering synthetic worlds",
        "synth",
        "`m2h synth` with depth, labels, instances, normals, edges and ground truth written to disk; the stages are those "
        "of a single frame.",
        synth,
        ("numba",),
    ),
    Section(
        "From images and poses alone",
        "from_images",
        "The shipped network on synthetic worlds with seeds that it was not trained on (`--worlds FOLDER`: seeds 9401, 9402, "
        "9403, 9501 and 9502 as `bench_quality.py --rooms 3 --people 1 --keep` leaves them), on the second half of an office "
        "whose first half it was trained on, on a kitchen and on photographs that it has never seen. Depth is measured over all "
        "pixels with truth; *confident* are the 75 % of them with the highest confidence. Labels are those of NYU13; *named* are "
        "the pixels whose label is probable enough to be given. Maps are those of `m2h run` as by default, in which the network "
        "is shown what the images prove of each frame; *depth* is what it then says of all pixels.",
        from_images,
        ("torch",),
    ),
    Section(
        "Images on their side",
        "upright",
        "What phones store that are held on end: the labelled photographs, and depth of every tenth frame of the office's second "
        "half with its neighbours, as the shipped network sees them upright and would see them on their side; a run shows them "
        "upright. *Recognised*: four stretches of each recording in four turns without an up direction, in which the network is "
        "asked which way is up; *left alone* are stretches that stay on their side, *wrong* those that are turned to another "
        "side, and *were upright* those of them that were right as they were. The desk is 0.3 s of a table from above.",
        upright,
        ("torch",),
    ),
    Section(
        "Poses of plain images",
        "poses",
        "`m2h poses` on images alone, compared with the recorded or true poses: *ATE* is the root mean square distance of"
        " the camera positions after alignment by a similarity, *scale error* that of the metres estimated by the "
        "network's depth and the heights of the camera and of furniture against that similarity, *stated* the uncertainty that a "
        "run showed (two standard deviations). How furniture is used was developed on the office and the kitchen. "
        "`walk...` are synthetic, whose smooth walls give features "
        "little to hold. The kitchen's file states the depth camera's focal length. The office and the walk are also mapped "
        "from the images alone, with the poses found (aligned rigidly, and with the true scale) and with the recorded or true "
        "ones, and compared with the map of the recorded depth of the images that got a pose.",
        poses,
        ("pycolmap", "torch"),
    ),
    Section(
        "Several visits",
        "visits",
        "Synthetic worlds of two rooms, visited twice with five changes between the visits, with recorded depth and labels. "
        "`diff` compares the two maps: a change counts as found where kind and label are right and it is at most 0.5 m off, "
        "and a distance as right within 0.25 m. `presence` maps both visits as one recording. `merge` maps three overlapping "
        "parts of the first visit and compares their merged map with that of the whole. Worlds from 21 on were held out.",
        visits,
        noise=SAME_ON_ALL,
    ),
    Section(
        "Check of the input",
        "checks",
        "How often `m2h run` would stop or warn on synthetic worlds as they are, and with one thing wrong, with depth and with "
        "images alone; and what it says of recordings as they are. Of some worlds the poses are also off as those of hand-held "
        "trackers are: a slow drift of this standard deviation and a jitter of a fifth of it in every frame. There a warning of "
        "imprecise poses is right, and an error counts as found where the run stops or warns at all. Where no reading fits the "
        "features of images, a stop is counted: a run that can refine the poses does that first, and then stops or warns.",
        checks,
        noise=SAME_ON_ALL,
    ),
    Section(
        "Refinement of given poses",
        "refine_poses",
        "Maps from images with `--source multiview` and 5 cm voxels, with poses (and the focal length) kept as given and "
        "refined as by default, against the map of the true or the sensor's depth. `walk...` are synthetic with errors added: "
        "a slow drift of this standard deviation and a jitter of a fifth of it. Errors are the median epipolar ones.",
        refine_poses,
        ("pycolmap",),
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
