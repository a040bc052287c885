"""Commands on a finished run: `export`, `view`, `query`, `eval`."""

from __future__ import annotations

import math
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
@click.option("--to", "form", required=True, help="ply, obj, glb, html, spark_dsg, graphml, csv, geojson or rerun.")
@common_options
def export(run_folder: Path, out: Path | None, form: str, quiet: bool, as_json: bool, **_: Any) -> None:
    """Write RUN's map as FORMAT to OUT (default: RUN/export/, named by the format)."""
    from pipelines.views.exporters import export_run

    written = export_run(run_folder, form, out)
    if as_json:
        print_json({"format": form, "path": str(written)})
    elif not quiet:
        say(f"wrote {written}")


@click.command()
@RUN
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, type=click.IntRange(1, 65535), show_default=True, help="Port to listen on.")
@common_options
def view(run_folder: Path, host: str, port: int, quiet: bool, as_json: bool, **_: Any) -> None:
    """Serve an interactive 3D view of RUN until Ctrl-C; RUN/scene.html shows the same without a server."""
    import rich

    from pipelines.views.serving import check_address, serve
    from pipelines.workspace import load_run

    check_address(host, port)
    mesh, graph = load_run(run_folder)
    rich.reconfigure(quiet=True)  # viser prints to standard output
    server = serve(mesh, graph, host=host, port=port)
    address = f"http://{server.get_host()}:{server.get_port()}"
    if as_json:
        print_json({"address": address})
    else:
        say(f"{address}  (Ctrl-C ends)")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        server.stop()


@click.command()
@RUN
@click.option("--label", help="Objects of a class.")
@click.option("--room", help="In a room: its key (R0) or name (kitchen).")
@click.option("--near", metavar="X,Y,Z", help="Nearest first to a point of the levelled world, in metres.")
@click.option("--radius", type=float, help="At most this far from --near.")
@click.option(
    "--time", "at", type=float, help="Present at this time (seconds); moving things of that time are listed too."
)
@click.option(
    "--path", "ends", nargs=2, metavar="FROM TO", help="The path between two nodes (R0, O4, P7) or points x,y,z."
)
@common_options
def query(run_folder: Path, ends: tuple[str, str] | None, quiet: bool, as_json: bool, **conditions: Any) -> None:
    """Query RUN's scene graph for objects, or with --path for a path through free space.

    \b
    m2h query run/ --label chair --room kitchen
    m2h query run/ --path R0 O4
    """
    from pipelines.workspace import load_graph

    graph = load_graph(run_folder)
    answer = _path(graph, ends) if ends else _hits(graph, conditions)
    if as_json:
        print_json(answer)
    elif ends:
        say(f"{answer['length']:.2f} m, narrowest clearance {answer['clearance']:.2f} m: {' '.join(answer['places'])}")
    else:
        if not answer["hits"]:
            say("nothing found", err=True)
        for hit in answer["hits"]:
            where = ", ".join(f"{x:.2f}" for x in hit["position"])
            away = f"  {hit['distance']:.2f} m away" if hit["distance"] is not None else ""
            say(f"{hit['key']:<5} {hit['label']:<16} {hit['room'] or '-':<5} ({where}){away}")


def _path(graph: Any, ends: tuple[str, str]) -> dict[str, Any]:
    from scenegraph.query import path

    found = path(graph, *(_point(end) if "," in end else end for end in ends))
    return {
        "places": list(found.places),
        "points": found.points.tolist(),
        "length": found.length,
        "clearance": found.clearance,
    }


def _hits(graph: Any, conditions: dict[str, Any]) -> dict[str, Any]:
    from scenegraph.query import QueryError, objects, tracks

    at, near = conditions["at"], conditions["near"]
    if conditions["radius"] is not None and (near is None or not conditions["radius"] > 0):
        raise QueryError("--radius: expected metres above 0, together with --near X,Y,Z")
    if at is not None and not math.isfinite(at):
        raise QueryError(f"--time {at}: expected seconds")
    where = {name: _as_stored(conditions[name]) for name in ("label", "room")}
    radius = {} if conditions["radius"] is None else {"radius": conditions["radius"]}
    hits = objects(graph, **where, near=None if near is None else _point(near), time=at, **radius)
    if at is not None:
        hits += tracks(graph, time=at, **where)
    names = ("key", "label", "room", "distance")
    return {"hits": [{**{n: getattr(hit, n) for n in names}, "position": hit.position.tolist()} for hit in hits]}


def _as_stored(name: str | None) -> Any:
    """A name as stored in the graph; reports and tables show spaces for underscores."""
    return None if name is None else name.replace(" ", "_")


def _point(text: str) -> list[float]:
    from scenegraph.query import QueryError

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise QueryError(f"{text}: expected a point x,y,z in metres")
    return numbers
