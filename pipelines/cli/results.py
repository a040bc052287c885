"""Commands on a finished run: `export`, `view`, `eval`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from pipelines.cli.options import common_options, print_json, say

RUN = click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))


@click.command("eval")
@RUN
@click.argument("sequence", type=click.Path(path_type=Path))
@common_options
def evaluate(run_folder: Path, sequence: Path, quiet: bool, as_json: bool, **_: Any) -> None:
    """Measure RUN against SEQUENCE/ground_truth: mesh, objects, rooms, storeys, tracks."""
    from pipelines.evaluate import evaluate as measure
    from pipelines.evaluate import foreign_input

    result = measure(run_folder, sequence)
    if (name := foreign_input(run_folder, sequence)) is not None:
        say(f"m2h: warning: {run_folder} was made from the sequence {name}, not from {sequence}", err=True)
    if as_json:
        print_json(result)
    else:
        print_metrics(result)


def print_metrics(result: dict[str, Any]) -> None:
    """Metrics as an aligned list, one block per section."""
    for section, values in result.items():
        say(section)
        for name, value in values.items():
            say(f"  {name:<20} {value:.4g}" if isinstance(value, float) else f"  {name:<20} {value}")


@click.command()
@RUN
@click.argument("out", required=False, type=click.Path(path_type=Path))
@click.option("--to", "form", required=True, metavar="FORMAT", help="One of the formats above.")
@click.option("--height", type=float, help="With occupancy: the height in metres of what moves. [1.8]")
@click.option(
    "--sequence",
    type=click.Path(path_type=Path),
    help="With colmap, nerfstudio and textured: where the recording is now, if not where it was.",
)
@common_options
def export(
    run_folder: Path,
    out: Path | None,
    form: str,
    height: float | None,
    sequence: Path | None,
    quiet: bool,
    as_json: bool,
    **_: Any,
) -> None:
    """Write RUN's map as FORMAT to OUT (default: RUN/export/, named by the format).

    \b
    mesh         ply, obj, glb; textured (a GLB with the images on it)
    objects      objects_glb, objects_ply (a folder, one mesh per object)
    scene graph  spark_dsg (Hydra), graphml, csv
    floor plan   svg, dxf, pdf, geojson
    robots       occupancy (a folder for ROS map_server), free_space (npz)
    cameras      colmap, nerfstudio (folders with images, poses, points)
    viewers      html, rerun, usd

    colmap, nerfstudio and textured read the images of the recording again.
    docs/formats.md says what each contains.

    \b
    m2h export run/ --to textured
    m2h export run/ splats/ --to colmap
    m2h export run/ robot/ --to occupancy --height 0.4
    """
    from pipelines.exports.export_input import ExportError, ExportOptions
    from pipelines.exports.exporters import export_notes, export_run

    if height is not None and form != "occupancy":
        raise ExportError(f"--height: has no effect with --to {form}; expected together with --to occupancy")
    options = ExportOptions(sequence=sequence) if height is None else ExportOptions(height, sequence)
    written = export_run(run_folder, form, out, options)
    notes = export_notes(run_folder, form)
    if as_json:
        print_json({"format": form, "path": str(written), "notes": notes})
    elif not quiet:
        say(f"wrote {written}")
        for note in notes:
            say(f"note: {note}")


@click.command()
@RUN
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, type=click.IntRange(1, 65535), show_default=True, help="Port to listen on.")
@click.option(
    "--diff", "earlier", metavar="RUN", type=click.Path(path_type=Path), help="Show what changed since this run."
)
@common_options
def view(run_folder: Path, host: str, port: int, earlier: Path | None, quiet: bool, as_json: bool, **_: Any) -> None:
    """Serve an interactive 3D view of RUN until Ctrl-C; RUN/scene.html shows the same without a server.

    \b
    m2h view run/
    m2h view second_visit/ --diff first_visit/
    """
    from pipelines.views.changes import page_changes
    from pipelines.views.keyframes import load_keyframes
    from pipelines.views.scene_page import scene_html
    from pipelines.views.serving import PageServer, check_address
    from pipelines.workspace import load_graph, load_run, run_name

    check_address(host, port)
    mesh, graph = load_run(run_folder)
    changes = page_changes(load_graph(earlier), graph) if earlier is not None else []
    title, keyframes = run_name(run_folder), load_keyframes(run_folder)
    server = PageServer(
        scene_html(mesh, graph, title=title, keyframes=keyframes, changes=changes), host=host, port=port
    )
    if as_json:
        print_json({"address": server.address})
    else:
        say(f"{server.address}  (Ctrl-C ends)")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        server.stop()
