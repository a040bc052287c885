"""report.html: the overview of a run. One file: what was found, pictures, floor plan, tables, timings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mapping.files import write_text_atomic
from mapping.text import for_html
from pipelines.views.measured import Measured
from pipelines.views.pictures import Picture, ReportPictures, Strip
from pipelines.views.plan.compose import storey_drawings
from pipelines.views.plan.svg import drawing_svg
from pipelines.views.summary_text import sentences, warnings_of, words
from scenegraph.graph import SceneGraph
from scenegraph.references import start_time
from scenegraph.tracks.positions import path_length

MANY_OBJECTS = 20
SHOWN_PER_STRIP = 6
SCENE = "scene.html"
UNKNOWN = "–"
LEGEND = (
    "What the surface is labelled as, and the share of each label. Patches of a label become an object below only where they "
    "are a whole one, and a door only where it joins two rooms:"
)
TIMES = "Times count from the first frame that was used, as in the 3D page and in <code>m2h query --time</code>"
PLAN_LEGEND = (
    '<p class="legend">One square of the grid is one metre; lengths are between the surfaces of the walls. '
    '<span style="color:#3b6fb6">━</span> the camera\'s path, <span style="color:#d23c3c">┅</span> what moved. '
    "Doors are drawn open; on which side they hang was not measured, nor how thick outer walls are. "
    "A click opens an item in 3D. "
    'The same as <a href="floorplan.pdf">PDF to scale</a>, <a href="floorplan.dxf">DXF for CAD</a>, '
    '<a href="floorplan.svg">SVG</a>.</p>'
)
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1080px;margin:2rem auto;padding:0 1rem;background:#fff}
h1{font-size:1.7rem;margin-bottom:.2rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ddd}
.lead{font-size:1.1rem;margin:.4rem 0}
.links{color:#666}
.open{display:inline-block;background:#1f5fae;color:#fff;border-radius:6px;padding:.3rem .9rem;text-decoration:none}
table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid #eee}
td.n,th.n{text-align:right}
tr.total td{font-weight:bold;border-top:2px solid #ccc}
.tiles{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}
.tile{background:#f4f5f7;border-radius:8px;padding:.6rem 1rem;min-width:7rem}
.tile b{display:block;font-size:1.4rem}
.pictures{display:grid;grid-template-columns:1fr 1fr;gap:.8rem}
.strip{display:grid;grid-template-columns:repeat(4,1fr);gap:.4rem;margin-top:1rem}
.strip img{width:100%}
figure{margin:.3rem 0}
figcaption,.legend{color:#666;font-size:.85rem}
.swatch{display:inline-block;width:.8em;height:.8em;border-radius:3px;margin:0 .3em 0 .8em}
summary{cursor:pointer}
img{max-width:100%;border-radius:6px}
.warning{background:#fff4e0;border-left:4px solid #e0912a;padding:.4rem .8rem;margin:.4rem 0}
.warning em{display:block;font-style:normal;color:#7a4d00}
.trust{background:#fdeaea;border-left:4px solid #c62828;padding:.4rem .8rem;margin:.4rem 0}
code{background:#f4f5f7;padding:.1rem .3rem;border-radius:4px}
svg{max-width:100%;height:auto;border:1px solid #eee;border-radius:6px}
svg a:hover path{stroke:#ff8c00;stroke-width:3}
@media (max-width:700px){.pictures{grid-template-columns:1fr}.strip{grid-template-columns:1fr 1fr}}
"""


class _Html(str):
    """Text that is HTML already."""


def write_report(
    path: Path, graph: SceneGraph, manifest: Mapping[str, Any], measured: Measured, pictures: ReportPictures
) -> None:
    """Write the report of a run; everything is inside one file."""
    stages = manifest["stages"]
    name = for_html(manifest["input"]["name"])
    start = start_time(graph)
    sections = [
        f"<h1>{name}</h1>",
        *(f'<p class="lead">{for_html(sentence)}</p>' for sentence in sentences(graph, measured)),
        f'<p><a class="open" href="{SCENE}">Open in 3D</a></p>',
        f'<p class="links">{for_html(manifest["input"]["format"])} sequence, predictions from '
        f"<code>{for_html(manifest['source'])}</code>. "
        'Mesh: <a href="mesh.ply">mesh.ply</a>, <a href="mesh.glb">mesh.glb</a>. '
        'Graph: <a href="scene_graph.json">scene_graph.json</a>.</p>',
        _trust(manifest),
        *_warnings(stages),
        _tiles(graph, stages, measured),
        *_pictures(pictures, graph, start),
        "<h2>Floor plan</h2>" + _floor_plans(graph, measured),
        "<h2>Rooms</h2>" + _rooms(graph, measured),
        "<h2>Objects</h2>" + _objects(graph),
        *_tracks(graph, start),
        f'<p class="legend">{TIMES}{_start_text(start)}.</p>',
        *_input(stages),
        "<h2>Surface and depth</h2>" + _surface(stages),
        *_visits(graph),
        *_frames(stages),
        "<h2>Time and memory</h2>" + _timings(stages),
        "<h2>Versions</h2>" + _table(("package", "version"), list(manifest["versions"].items())),
    ]
    body = "\n".join(sections)
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>m2h: {name}</title><style>{STYLE}</style><body>{body}</body></html>\n"
    )
    write_text_atomic(path, html)


def _trust(manifest: Mapping[str, Any]) -> str:
    """Where depth and labels come from and how good they are known to be."""
    lines = "<br>".join(for_html(line) for line in manifest.get("trust", []))
    return f'<div class="trust">{lines}</div>' if lines else ""


def _warnings(stages: Mapping[str, Any]) -> list[str]:
    return [
        f'<div class="warning">{for_html(text)}{f"<em>{for_html(advice)}</em>" if advice else ""}</div>'
        for text, advice in warnings_of(stages)
    ]


def _tiles(graph: SceneGraph, stages: Mapping[str, Any], measured: Measured) -> str:
    rooms = graph.nodes("room")
    areas = [area for area in measured.areas.values() if area is not None]
    tiles = [
        _counted(len(rooms), "room"),
        _counted(len(graph.nodes("object")), "object"),
        (len(graph.nodes("track")), "moving"),
        _counted(len(graph.nodes("place")), "place"),
        (f"{sum(areas):.0f} m²" if areas else UNKNOWN, "floor in rooms"),
        (f"{stages['graph']['summary']['faces'] / 1e3:.0f} k", "triangles"),
        (stages["fuse"]["summary"]["frames"], "frames fused"),
        (_duration(sum(stage["seconds"] for stage in stages.values())), "in all"),
    ]
    return '<div class="tiles">' + "".join(f'<div class="tile"><b>{v}</b>{name}</div>' for v, name in tiles) + "</div>"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _counted(count: int, name: str) -> tuple[int, str]:
    return count, name if count == 1 else f"{name}s"


def _pictures(pictures: ReportPictures, graph: SceneGraph, start: float) -> list[str]:
    if not pictures.above and not pictures.strips:
        return []
    above = "".join(_figure(picture) for picture in pictures.above)
    swatches = "".join(
        f'<span class="swatch" style="background:rgb{kind.color}"></span>{for_html(words(kind.name))} {_share(share)}'
        for kind, share in pictures.legend
    )
    legend = f'<p class="legend">{LEGEND}{swatches}</p>' if swatches else ""
    parts = ["<h2>Pictures</h2>", f'<div class="pictures">{above}</div>{legend}']
    parts += [_strip(strip, graph, start) for strip in pictures.strips]
    return ["".join(parts)]


def _share(share: float) -> str:
    return "< 1 %" if share < 0.005 else f"{100 * share:.0f} %"


def _figure(picture: Picture) -> str:
    caption = for_html(picture.caption)
    return f'<figure><img alt="{caption}" src="{picture.address}"><figcaption>{caption}</figcaption></figure>'


def _strip(strip: Strip, graph: SceneGraph, start: float) -> str:
    """A frame's image, depth and labels, and the map from the same camera, side by side."""
    far = "" if strip.far is None else f", dark is near, bright {strip.far:.1f} m"
    texts = {"image": "image", "depth": f"depth{far}", "labels": "labels", "map": "the map from there"}
    figures = "".join(
        f'<figure><img alt="{kind}" src="{address}"><figcaption>{texts[kind]}</figcaption></figure>'
        for kind, address in strip.images.items()
    )
    links = [_link(key, f"{words(graph[key].label)} {key}") for key in strip.shows[:SHOWN_PER_STRIP]]  # type: ignore[union-attr]
    more = f" and {len(strip.shows) - len(links)} more" if len(strip.shows) > len(links) else ""
    caption = f"at {strip.time - start:.1f} s" + (f": {', '.join(links)}{more}" if links else "")
    return f'<div class="strip">{figures}</div><p class="legend">{caption}</p>'


def _floor_plans(graph: SceneGraph, measured: Measured) -> str:
    drawings = storey_drawings(graph, measured)
    if not drawings:
        return "<p>Nothing to draw.</p>"
    if len(drawings) == 1:
        return drawing_svg(drawings[0], link=SCENE) + PLAN_LEGEND
    heights = {f"storey {key}": storey.z_range[0] for key, storey in graph.nodes("storey")}
    plans = [
        f"<h3>{for_html(drawing.title)}, floor at {heights[drawing.title]:.2f} m</h3>{drawing_svg(drawing, link=SCENE)}"
        for drawing in drawings
    ]
    return PLAN_LEGEND + "".join(plans)


def _rooms(graph: SceneGraph, measured: Measured) -> str:
    rows = []
    for key, room in graph.nodes("room"):
        contents = Counter(node.label for child, node in graph.nodes("object") if graph.parent(child) == key)
        things = ", ".join(f"{words(label)} {count}" for label, count in sorted(contents.items()))
        area, height = measured.areas[key], measured.heights[key]
        extent = " × ".join(f"{side:.2f}" for side in np.ptp(room.polygon, axis=0))
        figures = (UNKNOWN if area is None else f"{area:.1f}", extent, UNKNOWN if height is None else f"{height:.2f}")
        rows.append((_Html(_link(key, key)), words(room.label), *figures, things))
    unknown = (
        ""
        if all(row[2] != UNKNOWN and row[4] != UNKNOWN for row in rows)
        else (f'<p class="legend">{UNKNOWN}: not measured. Too little of the floor, or no ceiling, was in view.</p>')
    )
    return (
        _table(("room", "name", "area (m²)", "extent (m)", "height (m)", "objects"), rows, numbers=(2, 3, 4)) + unknown
    )


def _objects(graph: SceneGraph) -> str:
    rows = []
    for key, node in graph.nodes("object"):
        size = " × ".join(f"{s:.2f}" for s in node.box.size)
        place = ", ".join(f"{c:.2f}" for c in node.box.center)
        link, label = _Html(_link(key, key)), words(node.label)
        rows.append((link, label, graph.parent(key) or "", size, place, node.views, f"{node.confidence:.2f}"))
    header = ("object", "label", "in", "size (m)", "centre (m)", "views", "confidence")
    table = _table(header, rows, numbers=(5, 6))
    if len(rows) <= MANY_OBJECTS:
        return table
    counts = Counter(node.label for _, node in graph.nodes("object"))
    classes = ", ".join(f"{words(label)} {count}" for label, count in counts.most_common())
    return f"<p>{for_html(classes)}</p><details><summary>All {len(rows)} objects</summary>{table}</details>"


def _tracks(graph: SceneGraph, start: float) -> list[str]:
    rows = []
    for key, track in graph.nodes("track"):
        length = path_length(track)
        seen = f"{track.times[0] - start:.1f} to {track.times[-1] - start:.1f}"
        rows.append((_Html(_link(key, key)), words(track.label), seen, len(track.times), f"{length:.1f}"))
    header = ("track", "label", "observed (s)", "observations", "path (m)")
    return ["<h2>Tracks</h2>" + _table(header, rows, numbers=(3, 4))] if rows else []


def _start_text(start: float) -> str:
    """When that was in the recording's clock, where it does not begin with 0."""
    return f", which the recording's clock has as {start:.2f} s" if abs(start) >= 0.005 else ""


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
    """Every stage with its share, and their sum; a stage that was up to date has the seconds of when it last ran."""
    total = sum(stage["seconds"] for stage in stages.values())
    rows = []
    for name, stage in stages.items():
        rate = stage["summary"].get("frames_per_second")
        share = f"{stage['seconds'] / total:.0%}" if total > 0 else ""
        memory = f"{stage['peak_memory_mb']:.0f}" if stage.get("peak_memory_mb") is not None else ""
        rows.append((name, f"{stage['seconds']:.2f}", share, f"{rate:.1f}" if rate else "", memory))
    most = max((stage["peak_memory_mb"] or 0 for stage in stages.values()), default=0)
    rows.append(("total", f"{total:.2f}", "", "", f"{most:.0f}"))
    header = ("stage", "seconds", "share", "frames/s", "peak memory (MiB)")
    return _table(header, rows, numbers=(1, 2, 3, 4), has_total=True)


def _link(key: str, text: str) -> str:
    return f'<a href="{SCENE}#{for_html(key)}">{for_html(text)}</a>'


def _table(
    header: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[int] = (), has_total: bool = False
) -> str:
    def cells(tag: str, values: Sequence[Any]) -> str:
        kind = [' class="n"' if i in numbers else "" for i in range(len(values))]
        texts = [value if isinstance(value, _Html) else for_html(str(value)) for value in values]
        return "".join(f"<{tag}{kind[i]}>{text}</{tag}>" for i, text in enumerate(texts))

    if not rows:
        return "<p>None.</p>"
    lines = [f"<tr>{cells('td', row)}</tr>" for row in rows]
    if has_total:
        lines[-1] = lines[-1].replace("<tr>", '<tr class="total">', 1)
    return f"<table><tr>{cells('th', header)}</tr>{''.join(lines)}</table>"
