"""Commands on sequences: `inspect`, `ingest`, `synth`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from pipelines.cli.options import common_options, print_json, progress_reporter, range_of, say


@click.command()
@click.argument("sequence")
@click.option("--fix", is_flag=True, help="Write what fits best as m2h.yaml to the sequence's folder.")
@click.option("--range", "frame_range", metavar="A:B", help="Only frames A to B, B excluded, as of m2h run.")
@common_options
def inspect(sequence: str, fix: bool, frame_range: str | None, quiet: bool, as_json: bool, **_: Any) -> None:
    """Report what SEQUENCE contains, and whether it is read right: pose direction, camera axes, depth, unit, times, focal length.

    Frames are compared with their neighbours under the usual conventions; what fits best is right.
    """
    from pipelines.checks.inspection import inspect_sequence, write_fix
    from pipelines.frame import only_range
    from pipelines.sequences.detect import open_sequence
    from pipelines.sources.network import shipped_depth_alone

    opened = open_sequence(sequence)
    if frame_range is not None:
        opened = only_range(opened, *range_of(frame_range))
    inspection = inspect_sequence(opened, depth_alone=shipped_depth_alone(opened))
    written = write_fix(opened, inspection) if fix else None
    if as_json:
        print_json(inspection.to_json())
        return
    for line in inspection.lines():
        say(line)
    if written:
        say(f"wrote {written}")


@click.command()
@click.argument("sequence")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--stride", default=1, show_default=True, help="Every n-th usable frame.")
@click.option("--jpg", is_flag=True, help="Images as JPEG instead of PNG.")
@click.option("--overwrite", is_flag=True, help="Replace a sequence that is already in OUT.")
@common_options
def ingest(
    sequence: str, out: Path, stride: int, jpg: bool, overwrite: bool, quiet: bool, as_json: bool, **_: Any
) -> None:
    """Copy SEQUENCE to the canonical folder OUT (transforms.json): undistorted, metres, one convention."""
    from pipelines.config import config_from_mapping
    from pipelines.sequences.detect import open_sequence
    from pipelines.sequences.ingest import ingest as copy
    from pipelines.settings import FramesConfig

    frames = config_from_mapping(FramesConfig, {"stride": stride}, f"--stride {stride}")
    with progress_reporter(quiet=quiet) as progress:
        result = copy(
            open_sequence(sequence),
            out,
            frames=frames,
            image_format="jpg" if jpg else "png",
            overwrite=overwrite,
            progress=lambda done, total: progress("ingest", done, total),
        )
    if as_json:
        print_json({"written": result.written, "unused": result.unused, "broken": result.broken})
    elif not quiet:
        left = (
            f", {len(result.unused)} unused and {len(result.broken)} broken" if result.unused or result.broken else ""
        )
        say(f"wrote {result.written} frames to {out}{left}")


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Seed of the world.")
@click.option("--rooms", default=4, show_default=True, help="Rooms on each storey, 1-8.")
@click.option("--storeys", default=1, show_default=True, help="Storeys, 1-3.")
@click.option("--people", default=0, show_default=True, help="Number of people who walk about.")
@click.option(
    "--moved", default=0, show_default=True, help="Objects moved between two visits; makes OUT/visit_0 and visit_1."
)
@click.option("--added", default=0, show_default=True, help="Objects that are present only on the second visit.")
@click.option("--removed", default=0, show_default=True, help="Objects that are present only on the first visit.")
@click.option("--touching", type=float, help="Share of the rooms with two chairs or cabinets that touch. [default: 0]")
@click.option("--frames", type=int, help="Frames per visit. [default: as many as the tour of all rooms needs]")
@click.option("--size", default="320x240", show_default=True, metavar="WxH", help="Image size in pixels.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of OBJ furniture catalogues.")
@common_options
def synth(
    out: Path, config_file: Path | None, overrides: tuple[str, ...], quiet: bool, as_json: bool, **options: Any
) -> None:
    """Render a synthetic world with exact truth into OUT: images, depth, labels, instances, normals, edges, mesh, scene graph."""
    from pipelines.config import load_config
    from pipelines.synth.simulate import SynthConfig, simulate

    config = load_config(SynthConfig, config_file, overrides, options=synth_overrides(**options))
    with progress_reporter(quiet=quiet) as progress:
        result = simulate(out, config, progress=progress)
    if as_json:
        print_json(result)
    elif not quiet:
        say(f"wrote {result['frames']} frames to {out}")


def synth_overrides(**options: Any) -> dict[str, str]:
    """The options of `m2h synth` as `--set` assignments; raises ConfigError for an invalid size."""
    from pipelines.config import ConfigError

    size = options.pop("size")
    width, x, height = size.partition("x")
    if not (x and re.fullmatch(r"[0-9]{1,9}", width) and re.fullmatch(r"[0-9]{1,9}", height)):
        raise ConfigError(f"--size {size}: expected WxH in pixels, such as 320x240")
    visits = 2 if options["moved"] or options["added"] or options["removed"] else 1
    overrides = {f"world.visits={visits}": "--moved, --added, --removed"}
    overrides |= {f"width={width}": f"--size {size}", f"height={height}": f"--size {size}"}
    for name, value in options.items():
        if value is not None:
            group = "" if name in ("seed", "people", "frames") else "world."
            text = json.dumps(str(value)) if isinstance(value, Path) else value  # a path may look like YAML
            overrides[f"{group}{name}={text}"] = f"--{name} {value}"
    return overrides
