"""`m2h query` and `m2h ask`: what is where in a finished run, and how to get there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from pipelines.cli.options import common_options, print_json, say
from pipelines.cli.results import RUN

BODY_HEIGHT, BODY_RADIUS = 1.8, 0.25
"""Metres of what goes along a path on the ground, where nothing is said: a person."""


@click.command()
@RUN
@click.option("--label", help="Objects of a class: chair, chairs.")
@click.option("--room", help="In a room: its key (R0) or name (kitchen).")
@click.option(
    "--near", metavar="WHERE", help="Nearest first to a point x,y,z in metres, a node, a room, a label or door."
)
@click.option(
    "--radius", type=float, help="At most this far from --near; with --ground the radius of what moves [0.25]."
)
@click.option(
    "--time",
    "at",
    type=float,
    help="Present at this time (seconds from the first frame, as in the report), moving things too; of what is not, the "
    "nearest sighting.",
)
@click.option(
    "--path",
    "ends",
    nargs=2,
    metavar="FROM TO",
    help="The path between two of them: nodes (R0, O4), room names, labels, 'chair in kitchen', door, or points x,y,z.",
)
@click.option("--ground", is_flag=True, help="With --path: on the floor, around the furniture.")
@click.option("--height", type=float, help="With --ground: the height of what moves, in metres [1.8].")
@common_options
def query(
    run_folder: Path,
    ends: tuple[str, str] | None,
    quiet: bool,
    as_json: bool,
    ground: bool,
    height: float | None,
    **conditions: Any,
) -> None:
    """Query RUN's scene graph for objects, or with --path for a path through free space or on the ground.

    \b
    m2h query run/ --label chair --room kitchen
    m2h query run/ --near door --radius 1
    m2h query run/ --path bedroom kitchen
    m2h query run/ --path bed "table in kitchen" --ground --height 1.2 --radius 0.3
    """
    from pipelines.workspace import load_graph
    from scenegraph.references import QueryError

    if ground and not ends:
        raise QueryError("--ground: expected together with --path FROM TO")
    if height is not None and not (ground and 0 < height < math.inf):
        raise QueryError("--height: expected metres above 0, together with --ground")
    graph = load_graph(run_folder)
    if not ends:
        show_hits(graph, conditions, as_json=as_json)
        return
    radius = conditions["radius"]
    if radius is not None and not (ground and 0 < radius < math.inf):
        raise QueryError("--radius: with --path, expected metres above 0 together with --ground")
    if ground:
        body = {"height": height or BODY_HEIGHT, "radius": radius or BODY_RADIUS}
        answer = ground_answer(run_folder, graph, ends, **body)
    else:
        answer = free_answer(graph, ends)
    show_path(graph, answer, as_json=as_json)


@click.command()
@RUN
@click.argument("question", nargs=-1, required=True)
@common_options
def ask(run_folder: Path, question: tuple[str, ...], quiet: bool, as_json: bool, **_: Any) -> None:
    """Ask RUN a question in plain English; it is understood by rules, without a language model.

    \b
    m2h ask run/ "where are the chairs in the kitchen?"
    m2h ask run/ how do I get from the bedroom to the kitchen
    """
    from pipelines.workspace import load_graph
    from scenegraph.ask import answered, understood

    graph = load_graph(run_folder)
    asked = understood(graph, " ".join(question))
    if asked.kind == "path":
        ends = (asked.start, asked.goal)
        body = {"height": BODY_HEIGHT, "radius": BODY_RADIUS}
        has_ground = (run_folder / "ground.npz").is_file()
        answer = ground_answer(run_folder, graph, ends, **body) if has_ground else free_answer(graph, ends)
        show_path(graph, answer | {"understood": asked.text()}, as_json=as_json)
        return
    found = answered(graph, asked)
    if as_json:
        hits = [hit_mapping(hit) for hit in found.hits]
        print_json({"understood": asked.text(), "answer": list(found.lines), "value": found.value, "hits": hits})
        return
    for line in found.lines:
        say(line)


def show_hits(graph: Any, conditions: dict[str, Any], *, as_json: bool) -> None:
    """The objects that meet the conditions of `query`, and the nearest sightings of what is not there at its time."""
    from scenegraph.ask import Question, described, found_hits, nothing_found, position_text
    from scenegraph.query import sightings
    from scenegraph.references import QueryError, start_time

    at, near, radius = conditions["at"], conditions["near"], conditions["radius"]
    if radius is not None and (near is None or not radius > 0):
        raise QueryError("--radius: expected metres above 0, together with --near WHERE or --path and --ground")
    if at is not None and not math.isfinite(at):
        raise QueryError(f"--time {at}: expected seconds")
    where = {"label": conditions["label"], "room": conditions["room"]}
    reach = math.inf if radius is None else radius
    asked = Question("where", near=near, radius=reach, time=at, **where)
    hits = found_hits(graph, asked)
    start = start_time(graph)
    missed = [] if at is None else sightings(graph, time=at + start, **where)
    if as_json:
        answer: dict[str, Any] = {"hits": [hit_mapping(hit) for hit in hits]}
        names = ("key", "label", "room")
        if at is not None:
            answer["sightings"] = [
                {**{n: getattr(s, n) for n in names}, "time": s.time - start, "position": s.position.tolist()}
                for s in missed
            ]
        print_json(answer)
        return
    if not hits:
        say(nothing_found(graph, asked), err=True)
    for hit in hits:
        say(described(graph, hit))
    if hits and missed:
        for seen in missed:
            label, room = seen.label.replace("_", " "), seen.room or "-"
            when = f"seen at {seen.time - start:.2f} s"
            say(f"{seen.key:<5} {label:<16} {room:<16} ({position_text(seen.position)})  {when}")


def free_answer(graph: Any, ends: tuple[str, str]) -> dict[str, Any]:
    """The shortest path through free space."""
    from scenegraph.query import path

    found = path(graph, *ends)
    return path_mapping(graph, found.points, found.clearance) | {"places": list(found.places)}


def ground_answer(
    run_folder: Path, graph: Any, ends: tuple[str, str], *, height: float, radius: float
) -> dict[str, Any]:
    """The shortest path on the floor for something of that height and radius."""
    from pipelines.workspace import load_ground
    from scenegraph.ground import GroundEnd, ground_path
    from scenegraph.query import room_at
    from scenegraph.references import resolve_spots

    def outlined(spot: Any) -> GroundEnd:
        key = spot.key if spot.key in dict(graph.nodes("room")) else None
        key = key or (spot.key and graph.ancestor(spot.key, "room")) or room_at(graph, spot.position)
        return GroundEnd(spot, None if key is None else graph[key].polygon)

    starts, goals = ([outlined(spot) for spot in resolve_spots(graph, end)] for end in ends)
    ground = load_ground(run_folder)
    points, storey = ground_path(ground, starts, goals, height=height, radius=radius)
    clearance = ground.clearance(points, storey, height=height)
    return path_mapping(graph, points, clearance) | {"height": height, "radius": radius}


def path_mapping(graph: Any, points: Any, clearance: float) -> dict[str, Any]:
    """A path of points (N, 3) for machines."""
    import numpy as np

    from scenegraph.query import rooms_along

    length = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    return {
        "points": points.tolist(),
        "length": length,
        "clearance": clearance,
        "rooms": rooms_along(graph, points),
    }


def show_path(graph: Any, answer: dict[str, Any], *, as_json: bool) -> None:
    """A path, for people or for machines."""
    from scenegraph.ask import position_text
    from scenegraph.references import room_name

    if as_json:
        print_json(answer)
        return
    rooms = " -> ".join(room_name(graph, key) for key in answer["rooms"])
    say(f"{answer['length']:.2f} m, narrowest clearance {answer['clearance']:.2f} m{': ' if rooms else ''}{rooms}")
    for point in answer["points"]:
        say(f"  ({position_text(point)})")


def hit_mapping(hit: Any) -> dict[str, Any]:
    """A hit for machines."""
    names = ("key", "label", "room", "distance")
    return {**{name: getattr(hit, name) for name in names}, "position": hit.position.tolist()}
