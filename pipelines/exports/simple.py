"""Formats for which a finished run has a function already."""

from __future__ import annotations

from pathlib import Path

from mapping.files import write_bytes_atomic, write_text_atomic
from mapping.mesh.glb import write_glb
from mapping.mesh.io import write_mesh
from mapping.mesh.obj import write_obj
from mapping.text import for_name
from pipelines.exports.export_input import FinishedRun
from pipelines.views.scene_nodes import scene_nodes
from pipelines.workspace import run_name


def write_ply(run: FinishedRun, path: Path) -> None:
    """The mesh with every field."""
    write_mesh(run.mesh, path)


def write_obj_groups(run: FinishedRun, path: Path) -> None:
    """The mesh with a group for each object."""
    names = {node.number: for_name(f"{key}_{node.label}") for key, node in run.graph.nodes("object")}
    write_obj(run.mesh, path, names=names)


def write_glb_nodes(run: FinishedRun, path: Path) -> None:
    """The mesh in its colours with a node for each object."""
    write_glb(path, scene_nodes(run.mesh, run.graph))


def write_html(run: FinishedRun, path: Path) -> None:
    """The interactive page."""
    from pipelines.views.keyframes import load_keyframes
    from pipelines.views.scene_page import write_scene_html

    title = run_name(run.folder)
    write_scene_html(run.mesh, run.graph, path, title=title, keyframes=load_keyframes(run.folder))


def write_spark_dsg(run: FinishedRun, path: Path) -> None:
    """The scene graph for spark_dsg."""
    from scenegraph.files.spark_dsg import export_map_dsg

    export_map_dsg(run.graph, path, run.mesh)


def write_graphml(run: FinishedRun, path: Path) -> None:
    """The scene graph for programs that draw graphs."""
    from scenegraph.files.export import export_graphml

    export_graphml(run.graph, path)


def write_csv(run: FinishedRun, path: Path) -> None:
    """The table of objects."""
    from scenegraph.files.export import export_objects_csv

    export_objects_csv(run.graph, path)


def write_geojson(run: FinishedRun, path: Path) -> None:
    """Rooms, objects and doors."""
    from scenegraph.files.export import export_floorplan

    export_floorplan(run.graph, path)


def write_svg(run: FinishedRun, path: Path) -> None:
    """The floor plans."""
    from pipelines.views.plan.svg import drawings_svg

    write_text_atomic(path, drawings_svg(run.drawings()))


def write_dxf(run: FinishedRun, path: Path) -> None:
    """The floor plans."""
    from pipelines.views.plan.dxf import drawings_dxf

    write_text_atomic(path, drawings_dxf(run.drawings()))


def write_pdf(run: FinishedRun, path: Path) -> None:
    """The floor plans."""
    from pipelines.views.plan.pdf import drawings_pdf

    write_bytes_atomic(path, drawings_pdf(run.drawings(), run_name(run.folder)))
