"""`m2h run` and its single stages `predict`, `fuse` and `graph`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipelines.cli.options import common_options, print_json, progress_reporter, range_of, say, terminal_console

if TYPE_CHECKING:
    from pipelines.frame import FrameSequence
    from pipelines.settings import PipelineConfig
    from pipelines.sources.refinement import Refine
    from pipelines.stages.context import Progress

F = TypeVar("F", bound=Callable[..., Any])
REFINE = ("auto", "multiview", "none")
WORLD_OPTIONS = (
    click.option("--up", metavar="X,Y,Z", help="Up direction in the sequence's world, when it cannot be estimated."),
    click.option(
        "--scale",
        type=float,
        metavar="METRES_PER_UNIT",
        help="Metres in one unit of the poses, where they are not in metres or an estimate is off. "
        "[config: align.pose_scale]",
    ),
    click.option(
        "--trust", is_flag=True, help="Map the sequence as it is read even where its own frames contradict that."
    ),
)
"""What the user knows of the poses and their world."""


def run_options(command: F) -> F:
    """Options of all commands that map a sequence."""
    options = [
        click.argument("sequence"),
        click.option(
            "--out", required=True, type=click.Path(path_type=Path), help="Run folder, new or to be continued."
        ),
        click.option("--overwrite", is_flag=True, help="Replace results of another sequence in the run folder."),
        click.option(
            "--source",
            default="auto",
            show_default=True,
            help="recorded, m2h[:NAME] (a network), multiview (from images and poses alone), hf:depth=NAME,semantics=NAME "
            "(networks of the Hugging Face hub), precomputed:DIR, mixed:depth=...,semantics=... or module:function; auto: "
            "recorded where there is depth, else m2h with the shipped network",
        ),
        click.option(
            "--refine",
            type=click.Choice(REFINE),
            default="auto",
            show_default=True,
            help="Correct predicted depth with the images of neighbouring frames; auto: where they show large errors; the "
            "shipped network is shown what they prove and completes it.",
        ),
        click.option(
            "--refine-poses",
            type=click.Choice(("auto", "on", "off")),
            help="Refine the given poses and the focal length by the images; auto: where depth is found by means of them and it "
            "helps. [config: poses.refine]",
        ),
        *WORLD_OPTIONS,
        click.option("--stride", type=int, help="Every n-th frame. [config: frames.stride]"),
        click.option(
            "--range",
            "frame_range",
            metavar="A:B",
            help="Frames A to B, B excluded. [config: frames.start, frames.stop]",
        ),
        click.option("--voxel", type=float, help="Voxel size in metres. [default: 0.04; config: tsdf.voxel_size]"),
        click.option(
            "--max-memory",
            type=float,
            metavar="GIB",
            help="Memory of the map while it is built; the rest moves to disk. [config: tsdf.max_memory, in bytes]",
        ),
        click.option(
            "--rerun",
            is_flag=True,
            help="Show frames, depth and the mesh as they come, and record them in OUT/preview.rrd (extra [rerun]).",
        ),
        common_options,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@run_options
def run(**options: Any) -> None:
    """Map SEQUENCE (a folder, a video, or FORMAT:PATH) into a mesh and a scene graph.

    A plain video, or a folder of images and nothing else, gets its poses first, as by `m2h poses`, in OUT/posed.

    Continues where an earlier run was stopped and skips what is up to date.
    Open OUT/report.html afterwards.

    \b
    m2h run recording/ --out run/
    m2h run tum:rgbd_dataset/ --out run/ --voxel 0.02 --stride 2
    m2h run walk.mp4 --out run/
    """
    execute(until="report", **options)


@click.command()
@run_options
def predict(**options: Any) -> None:
    """Only the predictions of a run (nothing to do for --source recorded)."""
    execute(until="predict", **options)


@click.command()
@run_options
def fuse(**options: Any) -> None:
    """The run up to the fused volume."""
    execute(until="fuse", **options)


@click.command()
@run_options
def graph(**options: Any) -> None:
    """The run up to mesh and scene graph, without report and viewer."""
    execute(until="graph", **options)


def execute(
    *,
    sequence: str,
    out: Path,
    source: str,
    refine: Refine = "auto",
    until: str,
    config_file: Path | None,
    overrides: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    overwrite: bool = False,
    rerun: bool = False,
    **shortcuts: Any,
) -> dict[str, Any]:
    """Open, run and report the result; returns the manifest."""
    from pipelines.config import config_path, load_config
    from pipelines.pipeline import run as run_pipeline
    from pipelines.posing.open_or_pose import open_or_pose
    from pipelines.settings import PipelineConfig
    from pipelines.sources.network import shipped_views

    config = load_config(PipelineConfig, config_path(config_file), overrides, options=shortcut_overrides(**shortcuts))
    with progress_reporter(quiet=quiet) as progress:
        command = f"m2h run {sequence} --out {out}"
        opened = open_or_pose(
            sequence,
            out,
            config.posing,
            command=command,
            views=shipped_views,
            overwrite=overwrite,
            progress=progress,
        )
        if not quiet:
            progress = announced(progress, lambda: plan_text(opened, out, source, config))
        with preview(out) if rerun else nullcontext():
            manifest = run_pipeline(
                opened, out, source=source, refine=refine, config=config, until=until, progress=progress
            )
    if as_json:
        print_json(manifest)
    elif not quiet:
        print_summary(manifest, out, until)
    return manifest


@contextmanager
def preview(out: Path) -> Iterator[None]:
    """Within, runs are shown in a viewer and recorded in the run folder."""
    from pipelines.live_preview import PREVIEW_FILE, live_preview
    from pipelines.stages.watching import watched_by

    with live_preview(out / PREVIEW_FILE) as watcher, watched_by(watcher):
        yield
    say(f"wrote {out / PREVIEW_FILE}", err=True)


def announced(progress: Progress, text: Callable[[], str]) -> Progress:
    """The same progress, before whose first step of work the text is said on standard error."""
    waiting = [text]

    def report(what: str, done: int, total: int) -> None:
        if total and waiting:
            say(waiting.pop()(), err=True)
        progress(what, done, total)

    return report


def plan_text(sequence: FrameSequence, out: Path, source: str, config: PipelineConfig) -> str:
    """What is about to be done, and how long that may take."""
    from pipelines.estimate import expected

    known = "; what is up to date is skipped" if (out / "mesh.ply").is_file() else ""
    return f"{sequence.name} ({sequence.format}): {expected(sequence, source, config).text()}{known}"


def shortcut_overrides(
    *,
    up: str | None,
    scale: float | None = None,
    trust: bool = False,
    refine_poses: str | None = None,
    stride: int | None,
    frame_range: str | None,
    voxel: float | None,
    max_memory: float | None = None,
) -> dict[str, str]:
    """The short options as `--set` assignments; raises ConfigError for an invalid range or direction."""
    from pipelines.config import ConfigError

    overrides = {}
    if up is not None:
        overrides[f"up={_direction(up)}"] = f"--up {up}"
    if scale is not None:
        if not (math.isfinite(scale) and scale > 0):
            raise ConfigError(f"--scale {scale}: expected metres in one unit of the poses, a positive number")
        overrides[f"align.pose_scale={scale!r}"] = f"--scale {scale:g}"
    if refine_poses is not None:
        overrides[f"poses.refine={json.dumps(refine_poses)}"] = f"--refine-poses {refine_poses}"
    if trust:
        overrides["check.trust=true"] = "--trust"
    if stride is not None:
        overrides[f"frames.stride={stride}"] = f"--stride {stride}"
    if frame_range is not None:
        start, stop = range_of(frame_range)
        for assignment in (f"frames.start={start}", f"frames.stop={'null' if stop is None else stop}"):
            overrides[assignment] = f"--range {frame_range}"
    if voxel is not None:
        overrides[f"tsdf.voxel_size={voxel}"] = f"--voxel {voxel:g}"
    if max_memory is not None:
        if not math.isfinite(max_memory):
            raise ConfigError(f"--max-memory {max_memory}: expected a number of GiB")
        overrides[f"tsdf.max_memory={int(max_memory * 2**30)}"] = f"--max-memory {max_memory:g}"
    return overrides


def _direction(text: str) -> list[float]:
    """X,Y,Z as three numbers that are not all zero; raises ConfigError."""
    from pipelines.config import ConfigError

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)) or not any(numbers):
        raise ConfigError(f"--up {text}: expected X,Y,Z, three finite numbers that are not all zero")
    return numbers


def print_summary(manifest: dict[str, Any], out: Path, until: str = "report") -> None:
    """The table at the end of a run up to the stage `until`, on standard output."""
    from pipelines.pipeline import FIRST_PASS, stages_until

    planned = stages_until(until, two_passes=FIRST_PASS[0].name in manifest["stages"])
    print_stages(manifest, [stage.name for stage in planned], out)


def print_stages(manifest: dict[str, Any], names: Sequence[str], out: Path) -> None:
    """What the stages of these names did, their warnings, and where to look first."""
    from rich.table import Table

    stages = {name: manifest["stages"][name] for name in names}
    fresh = [stage for stage in stages.values() if not stage["up_to_date"]]
    console = terminal_console()
    table = Table(title=f"{manifest['input']['name']} ({manifest['input']['format']}, {manifest['source']})")
    for column in ("stage", "result"):
        table.add_column(column)
    for column in ("seconds", "peak MiB"):
        table.add_column(column, justify="right")
    for name, stage in stages.items():
        text = stage["summary"].get("text", "")
        took = "up to date" if stage["up_to_date"] else f"{stage['seconds']:.2f}"
        table.add_row(name, text, took, f"{stage['peak_memory_mb']:.0f}")
    table.add_row("all", "" if fresh else "everything was up to date", f"{sum(s['seconds'] for s in fresh):.2f}", "")
    console.print(table)
    for stage in stages.values():
        for warning in stage["warnings"]:
            console.print(f"warning: {warning}", style="yellow")
    if "report" in stages:
        console.print(f"Open {out / 'report.html'} first; {out / 'scene.html'} shows the map in 3D.", soft_wrap=True)
    if manifest.get("trust"):
        console.print("How far to trust it:", style="red")
    for line in manifest.get("trust", []):
        console.print(f"- {line}", style="red", highlight=False)
