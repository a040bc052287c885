"""`m2h poses`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from pipelines.cli.options import common_options, print_json, progress_reporter, say


@click.command()
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--max-frames", type=int, help="Most frames that are picked. [default: 300; config: posing.max_frames]")
@common_options
def poses(
    images: Path,
    out: Path,
    max_frames: int | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> None:
    """Find the camera poses of IMAGES (a video or a folder of images) and write the canonical folder OUT.

    Sharp frames are picked, posed by structure from motion, and brought to metres by the shipped network's depth.
    A stopped call is resumed. Needs pip install 'm2h-mapping[sfm]'. `m2h run VIDEO --out RUN` does this step itself.
    """
    from pipelines.config import config_path, load_config
    from pipelines.posing.pose_recording import pose_recording
    from pipelines.posing.report import notes_of
    from pipelines.settings import PipelineConfig
    from pipelines.sources.network import shipped_views

    options = {} if max_frames is None else {f"posing.max_frames={max_frames}": f"--max-frames {max_frames}"}
    config = load_config(PipelineConfig, config_path(config_file), overrides, options=options)
    with progress_reporter(quiet=quiet) as progress:
        command = f"m2h poses {images} {out}"
        report = pose_recording(images, out, config.posing, command=command, views=shipped_views, progress=progress)
    if as_json:
        print_json(dataclasses.asdict(report))
    elif not quiet:
        state = "already in" if report.up_to_date else "written to"
        say(f"{report.posed} of {report.picked} picked frames have a pose; {state} {out}")
        for note in notes_of(report):
            say(f"note: {note}")
