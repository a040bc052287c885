"""report.html: the overview of a run. One file: counts, images, floor plan, timings, unused frames with reasons."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.files import write_text_atomic
from mapping.mesh.mesh import Mesh
from mapping.se3 import from_rotation_translation, rotation_from_quat_xyzw
from mapping.text import for_html
from pipelines.images import encode_jpeg
from pipelines.views.floorplan import floor_plan_svg
from scenegraph.graph import SceneGraph
from scenegraph.tracks.positions import stretches

MANY_OBJECTS = 20
PICTURES = 4
PICTURE_SIZE = (480, 360)
TOP_VIEW_CUT = 1.9
"""Metres above a storey's floor at which the map is cut to show its rooms."""
PLAN_LEGEND = (
    '<p class="legend">One square of the grid is one metre. <span style="color:#3b6fb6">━</span> the camera path, '
    '<span style="color:#d23c3c">┅</span> what moved, <span style="color:#8a5a2b">○</span> doors. '
    "Hover over an item for its details.</p>"
)
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1080px;margin:2rem auto;padding:0 1rem;background:#fff}
h1{font-size:1.6rem;margin-bottom:.2rem}
h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid #eee}
td.n,th.n{text-align:right}
.tiles{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}
.tile{background:#f4f5f7;border-radius:8px;padding:.6rem 1rem;min-width:7rem}
.tile b{display:block;font-size:1.4rem}
.pictures{display:grid;grid-template-columns:1fr 1fr;gap:.8rem}
figure{margin:.5rem 0;display:inline-block}
figcaption,.legend{color:#666;font-size:.85rem}
summary{cursor:pointer}
img{max-width:100%;border-radius:6px}
.warning{background:#fff4e0;border-left:4px solid #e0912a;padding:.4rem .8rem;margin:.4rem 0}
.trust{background:#fdeaea;border-left:4px solid #c62828;padding:.4rem .8rem;margin:.4rem 0}
code{background:#f4f5f7;padding:.1rem .3rem;border-radius:4px}
svg{max-width:100%;height:auto;border:1px solid #eee;border-radius:6px}
"""


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendered image (H, W, 3) uint8 with its caption."""

    image: NDArray[np.uint8]
    caption: str


def write_report(path: Path, graph: SceneGraph, manifest: Mapping[str, Any], pictures: Sequence[Picture]) -> None:
    """Write the report of a run; everything is inside one file."""
    stages = manifest["stages"]
    sections = [
        f"<h1>{for_html(manifest['input']['name'])}</h1>",
        f"<p>{for_html(manifest['input']['format'])} sequence, predictions from <code>{for_html(manifest['source'])}</code>. "
        'Interactive view: <a href="scene.html">scene.html</a>. Mesh: <a href="mesh.ply">mesh.ply</a>, '
        '<a href="mesh.glb">mesh.glb</a>. Graph: <a href="scene_graph.json">scene_graph.json</a>.</p>',
        _trust(manifest),
        _tiles(graph, stages),
        *(f'<div class="warning">{for_html(text)}</div>' for stage in stages.values() for text in stage["warnings"]),
        *(["<h2>Pictures</h2>" + _pictures(pictures)] if pictures else []),
        "<h2>Floor plan</h2>" + _floor_plans(graph),
        "<h2>Rooms</h2>" + _rooms(graph),
        "<h2>Objects</h2>" + _objects(graph),
        *_tracks(graph),
        *_input(stages),
        "<h2>Surface and depth</h2>" + _surface(stages),
        *_visits(graph),
        *_frames(stages),
        "<h2>Time and memory</h2>" + _timings(stages),
        "<h2>Versions</h2>" + _table(("package", "version"), list(manifest["versions"].items())),
    ]
    body = "\n".join(sections)
    title = for_html(manifest["input"]["name"])
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>m2h: {title}</title>'
        f"<style>{STYLE}</style><body>{body}</body></html>\n"
    )
    write_text_atomic(path, html)


def _trust(manifest: Mapping[str, Any]) -> str:
    """Where depth and labels come from and how good they are known to be."""
    lines = "<br>".join(for_html(line) for line in manifest.get("trust", []))
    return f'<div class="trust">{lines}</div>' if lines else ""


def _tiles(graph: SceneGraph, stages: Mapping[str, Any]) -> str:
    rooms = graph.nodes("room")
    areas = [area for _, room in rooms if (area := room.measured_area) is not None]
    seconds = sum(stage["seconds"] for stage in stages.values())
    tiles = [
        _counted(len(rooms), "room"),
        _counted(len(graph.nodes("object")), "object"),
        (len(graph.nodes("track")), "moving"),
        _counted(len(graph.nodes("place")), "place"),
        (_measured(sum(areas) if areas else None, ".0f", " m²"), "floor in rooms"),
        (f"{stages['graph']['summary']['faces'] / 1e3:.0f} k", "triangles"),
        (stages["fuse"]["summary"]["frames"], "frames fused"),
        (f"{seconds:.1f} s", "in all"),
    ]
    return '<div class="tiles">' + "".join(f'<div class="tile"><b>{v}</b>{name}</div>' for v, name in tiles) + "</div>"


def _counted(count: int, name: str) -> tuple[int, str]:
    return count, name if count == 1 else f"{name}s"


def _pictures(pictures: Sequence[Picture]) -> str:
    figures = []
    for picture in pictures:
        data = base64.b64encode(encode_jpeg(picture.image)).decode()
        caption = for_html(picture.caption)
        figures.append(
            f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{data}"><figcaption>{caption}</figcaption></figure>'
        )
    return f'<div class="pictures">{"".join(figures)}</div>'


def _floor_plans(graph: SceneGraph) -> str:
    storeys = graph.nodes("storey")
    if len(storeys) < 2:
        return floor_plan_svg(graph) + PLAN_LEGEND
    plans = [PLAN_LEGEND]
    for key, storey in storeys:
        rooms = [room for number, room in graph.nodes("room") if graph.parent(number) == key]
        top = storey.z_range[1] if any(room.measured_height is not None for room in rooms) else None
        heading = f"<h3>{for_html(key)}: {storey.z_range[0]:.2f} to {_measured(top, '.2f')} m</h3>"
        plans.append(heading + floor_plan_svg(graph, storey=key))
    return "".join(plans)


def _rooms(graph: SceneGraph) -> str:
    rows = []
    for key, room in graph.nodes("room"):
        contents = Counter(node.label for child, node in graph.nodes("object") if graph.parent(child) == key)
        things = ", ".join(f"{label.replace('_', ' ')} {count}" for label, count in sorted(contents.items()))
        area, height = _measured(room.measured_area, ".1f"), _measured(room.measured_height, ".2f")
        rows.append((key, room.label.replace("_", " "), area, height, things))
    return _table(("room", "name", "area (m²)", "height (m)", "objects"), rows, numbers=(2, 3))


def _measured(value: float | None, form: str, unit: str = "") -> str:
    """A number, or a dash for what was not measured."""
    return "–" if value is None else f"{value:{form}}{unit}"


def _objects(graph: SceneGraph) -> str:
    rows = []
    for key, node in graph.nodes("object"):
        size = " × ".join(f"{s:.2f}" for s in node.box.size)
        place = ", ".join(f"{c:.2f}" for c in node.box.center)
        rows.append(
            (
                key,
                node.label.replace("_", " "),
                graph.parent(key) or "",
                size,
                place,
                node.views,
                f"{node.confidence:.2f}",
            )
        )
    table = _table(("object", "label", "in", "size (m)", "centre (m)", "views", "confidence"), rows, numbers=(5, 6))
    if len(rows) <= MANY_OBJECTS:
        return table
    counts = Counter(node.label for _, node in graph.nodes("object"))
    classes = ", ".join(f"{label.replace('_', ' ')} {count}" for label, count in counts.most_common())
    return f"<p>{for_html(classes)}</p><details><summary>All {len(rows)} objects</summary>{table}</details>"


def _tracks(graph: SceneGraph) -> list[str]:
    rows = []
    for key, track in graph.nodes("track"):
        length = sum(float(np.linalg.norm(np.diff(piece, axis=0), axis=1).sum()) for piece in stretches(track))
        rows.append(
            (key, track.label, f"{track.times[0]:.1f} to {track.times[-1]:.1f}", len(track.times), f"{length:.1f}")
        )
    header = ("track", "label", "observed (s)", "observations", "path (m)")
    return ["<h2>Tracks</h2>" + _table(header, rows, numbers=(3, 4))] if rows else []


def _surface(stages: Mapping[str, Any]) -> str:
    """Indicators of doubled walls, holes, and inconsistent depth that need no ground truth."""
    surface, depth = stages["graph"]["summary"], stages.get("align", {}).get("summary", {})
    rows = []
    if "doubled_share" in surface:
        rows += [
            ("surface", f"{surface['area']:.1f} m²"),
            ("with a second parallel sheet within 30 cm", f"{surface['doubled_share']:.1%}"),
            ("open edge per m² (holes, rims)", f"{surface['rim_per_area']:.2f} m"),
        ]
    if depth.get("applied"):
        rows += [
            ("depth scale, spread over frames", f"{depth['scale_spread']:.1%}"),
            ("depth error within frames, corrected", f"{depth['unevenness']:.1%}"),
            ("remaining disagreement between frames", "" if depth["residual"] is None else f"{depth['residual']:.1%}"),
            ("frames with outlying scale", ", ".join(map(str, depth["outliers"])) or "none"),
        ]
    elif depth:
        rows.append(("depth", depth["text"]))
    return _table(("figure", "value"), rows, numbers=(1,))


def _input(stages: Mapping[str, Any]) -> list[str]:
    """What the check of the input found, and what became of its poses."""
    lines = list(stages["check"]["summary"]["lines"]) if "check" in stages else []
    if "poses" in stages:
        lines.append(f"poses: {stages['poses']['summary']['text']}")
    items = "".join(f"<li>{for_html(line)}</li>" for line in lines)
    return [f"<h2>Check of the input</h2><ul>{items}</ul>"] if lines else []


def _visits(graph: SceneGraph) -> list[str]:
    """The recordings of a merged map, and when each was made in its time."""
    visits = graph.metadata.get("visits", [])
    rows = [
        (visit["run"], f"{visit['times'][0]:.1f} to {visit['times'][1]:.1f}", visit["by"], ", ".join(visit["tracks"]))
        for visit in visits
    ]
    return ["<h2>Visits</h2>" + _table(("run", "time (s)", "placed by", "tracks"), rows)] if rows else []


def _frames(stages: Mapping[str, Any]) -> list[str]:
    if "sequence" not in stages:  # a merged map
        return []
    summary = stages["sequence"]["summary"]
    rows = [("used", summary["used"]), *sorted(summary["unused"].items())]
    listed = '<p>One line per frame: <a href="frames.csv">frames.csv</a>.</p>'
    return ["<h2>Frames</h2>" + _table(("frames", "count"), rows, numbers=(1,)) + listed]


def _timings(stages: Mapping[str, Any]) -> str:
    rows = []
    for name, stage in stages.items():
        rate = stage["summary"].get("frames_per_second")
        rows.append((name, f"{stage['seconds']:.2f}", f"{rate:.1f}" if rate else "", f"{stage['peak_memory_mb']:.0f}"))
    return _table(("stage", "seconds", "frames/s", "peak memory (MiB)"), rows, numbers=(1, 2, 3))


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[int] = ()) -> str:
    def cells(tag: str, values: Sequence[Any]) -> str:
        kind = [' class="n"' if i in numbers else "" for i in range(len(values))]
        return "".join(f"<{tag}{kind[i]}>{for_html(str(value))}</{tag}>" for i, value in enumerate(values))

    if not rows:
        return "<p>None.</p>"
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', header)}</tr>{body}</table>"


def render_pictures(mesh: Mesh, graph: SceneGraph, intrinsics: Intrinsics) -> list[Picture]:
    """The map from above, one image per storey, by colour and by label, and from some of the camera poses."""
    from mapping.mesh.pictures import shaded_picture, top_view
    from mapping.mesh.raycast import MeshCaster

    if not len(mesh.faces):
        return []
    caster = MeshCaster(mesh)
    extent = float(np.ptp(mesh.vertices[:, :2], axis=0).max())
    label_colors = None if mesh.labels is None else graph.label_space.colorize(mesh.labels)
    pictures = []
    for key, storey in graph.nodes("storey") or [("F0", None)]:
        cut = (storey.z_range[0] if storey else 0.0) + TOP_VIEW_CUT
        name = f"storey {key} " if len(graph.nodes("storey")) > 1 else ""
        for what, colors in (("colours", None), ("labels", label_colors)):
            if what == "labels" and colors is None:
                continue
            picture = top_view(caster, pixel_size=extent / 900, cut_height=cut, colors=colors)
            pictures.append(Picture(picture, f"{name}from above, cut at {TOP_VIEW_CUT} m, {what}"))
    small = intrinsics.resized(PICTURE_SIZE[0], round(PICTURE_SIZE[0] * intrinsics.height / intrinsics.width))
    agents = [node for _, node in graph.nodes("agent")]
    for number in np.unique(np.linspace(0, len(agents) - 1, PICTURES + 2).astype(int)[1:-1]) if agents else []:
        agent = agents[number]
        picture = shaded_picture(caster, small, _pose_of(agent))
        pictures.append(Picture(picture, f"the mesh from the camera at {agent.time:.1f} s"))
    return pictures


def _pose_of(agent: Any) -> NDArray[np.float64]:
    return from_rotation_translation(rotation_from_quat_xyzw(agent.rotation_xyzw), agent.position)
