"""`m2h correct`: corrections of a run's scene graph, kept in a file of the run folder that every rebuild applies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import print_json, say

if TYPE_CHECKING:
    from scenegraph.corrections.entries import Anchor, Correction

KEY = click.argument("key", metavar="OBJECT")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.pass_context
def correct(context: click.Context, run_folder: Path) -> None:
    """Correct the objects, rooms and tracks of RUN, by their keys in the report.

    The corrections are written to RUN/corrections.yaml, where objects are named by their positions, and are made whenever
    the graph is built: by the same `m2h run` or `m2h merge` again.

    \b
    m2h correct run/ rename O4 sofa
    m2h correct run/ merge O7 O8
    m2h correct run/ delete T1
    m2h correct run/ list
    """
    context.obj = run_folder


@correct.command()
@click.argument("key", metavar="OBJECT|ROOM")
@click.argument("name")
@click.pass_obj
def rename(run_folder: Path, key: str, name: str) -> None:
    """Give an object another class of the label space, or a room any name."""
    _add(run_folder, [key], lambda anchors, _: {"kind": "rename", "about": anchors, "name": name.replace(" ", "_")})


@correct.command()
@click.argument("keys", metavar="OBJECT OBJECT ...", nargs=-1, required=True)
@click.pass_obj
def merge(run_folder: Path, keys: tuple[str, ...]) -> None:
    """Make several objects one, with the label of the first."""
    if len(set(keys)) < 2:
        raise click.UsageError("merge: expected at least two objects")
    _add(run_folder, list(keys), lambda anchors, _: {"kind": "merge", "about": anchors})


@correct.command()
@KEY
@click.option(
    "--at", "points", metavar="X,Y,Z", multiple=True, help="A point in each part, in the levelled world; at least two."
)
@click.pass_obj
def split(run_folder: Path, key: str, points: tuple[str, ...]) -> None:
    """Make one object several: each piece of its surface belongs to the nearest of the points."""
    from scenegraph.references import point_of

    if len(points) < 2:
        raise click.UsageError("split: expected --at X,Y,Z at least twice")
    chosen = [point_of(text) for text in points]

    def fields(anchors: tuple[Anchor, ...], T_input_world: Any) -> dict[str, Any]:
        from mapping.se3 import transform_points

        return {"kind": "split", "about": anchors, "points": transform_points(T_input_world, chosen)}

    _add(run_folder, [key], fields)


@correct.command()
@KEY
@click.argument("room_key", metavar="ROOM")
@click.pass_obj
def room(run_folder: Path, key: str, room_key: str) -> None:
    """Put an object into another room."""
    _add(run_folder, [key, room_key], lambda anchors, _: {"kind": "room", "about": anchors[:1], "room": anchors[1]})


@correct.command()
@click.argument("key", metavar="OBJECT|TRACK")
@click.pass_obj
def delete(run_folder: Path, key: str) -> None:
    """Take an object that is none out of the graph, its surface stays in the mesh; or a track of what did not move."""
    _add(run_folder, [key], lambda anchors, _: {"kind": "delete", "about": anchors})


@correct.command("list")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on standard output.")
@click.pass_obj
def list_corrections(run_folder: Path, *, as_json: bool) -> None:
    """All corrections, with the numbers by which `undo` takes them back."""
    _, corrections = _load(run_folder)
    if as_json:
        print_json({"corrections": [correction.to_data() for correction in corrections]})
    for number, correction in enumerate(corrections, start=1):
        if not as_json:
            say(f"{number:3d}  {correction}")


@correct.command()
@click.argument("number", type=click.IntRange(1))
@click.pass_obj
def undo(run_folder: Path, number: int) -> None:
    """Take back the correction of this number."""
    from scenegraph.corrections.entries import CorrectionError, save_corrections

    path, corrections = _load(run_folder)
    if number > len(corrections):
        raise CorrectionError(f"{path}: has {len(corrections)} corrections, there is no number {number}")
    taken = corrections.pop(number - 1)
    save_corrections(path, corrections)
    say(f"took back: {taken}")


def _load(run_folder: Path) -> tuple[Path, list[Correction]]:
    from pipelines.workspace import Workspace
    from scenegraph.corrections.entries import CORRECTIONS_FILE, load_corrections

    path = Workspace.open(run_folder).path(CORRECTIONS_FILE)
    return path, load_corrections(path)


def _add(run_folder: Path, keys: list[str], fields: Callable[[tuple[Anchor, ...], Any], dict[str, Any]]) -> None:
    """Add a correction of these objects and rooms to the file of a run."""
    from pipelines.workspace import load_graph
    from scenegraph.corrections.corrected import anchor_of
    from scenegraph.corrections.entries import Correction, CorrectionError, save_corrections

    path, corrections = _load(run_folder)
    graph = load_graph(run_folder)
    for key in keys:
        if key not in graph:
            raise CorrectionError(f"{run_folder}: has no {key}; `m2h query {run_folder}` lists what there is")
    anchors = tuple(anchor_of(graph, key) for key in keys)
    correction = Correction(**fields(anchors, graph.T_input_world))
    for key, anchor in zip(keys, anchors, strict=True):
        if anchor.layer == "track" and correction.kind != "delete":
            raise CorrectionError(f"{key}: is a track, which can only be deleted")
    if correction.kind == "rename" and keys[0].startswith("O"):
        graph.label_space.id_of(correction.name)  # raises where there is no such class
    save_corrections(path, [*corrections, correction])
    say(f"{path}: {correction}; it is made when the graph is built, by the same `m2h run` or `m2h merge` again")
