"""A finished run in other formats: a table from a format's name to its writer."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mapping.files import make_folder, remove_abandoned, write_bytes_atomic, write_text_atomic
from mapping.mesh.glb import GlbNode, write_glb
from mapping.mesh.io import write_mesh
from mapping.mesh.mesh import Mesh
from mapping.mesh.obj import write_obj
from mapping.text import for_name
from pipelines.workspace import WorkspaceError, load_run, refuse_links, run_name
from scenegraph.graph import SceneGraph

if TYPE_CHECKING:
    from pipelines.views.plan.drawing import Drawing


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run folder with its mesh and scene graph."""

    folder: Path
    mesh: Mesh
    graph: SceneGraph

    def drawings(self) -> list[Drawing]:
        """The floor plan of every storey."""
        from pipelines.views.measured import measured_of
        from pipelines.views.plan.compose import storey_drawings

        return storey_drawings(self.graph, measured_of(self.graph))


Writer = Callable[[FinishedRun, Path], None]


def export_run(run_folder: Path, form: str, out: Path | None = None) -> Path:
    """Write a run as `form` to `out` and return the path. None is RUN/export/; in a folder the file has the format's
    default name.

    Raises WorkspaceError for an unknown format, a name with the suffix of another format, or an unfinished run.
    """
    if form not in EXPORTERS:
        near = difflib.get_close_matches(form, EXPORTERS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise WorkspaceError(f"--to {form}: unknown format, known are {', '.join(EXPORTERS)}{hint}")
    write, default_name = EXPORTERS[form]
    run = FinishedRun(run_folder, *load_run(run_folder))
    suffix = Path(default_name).suffix
    if out is None:
        refuse_links(run_folder)
    path = run_folder / "export" / default_name if out is None else out
    if path.is_dir():
        path /= default_name
    elif not path.suffix:
        path = path.with_suffix(suffix)
    elif path.suffix.lower() not in (suffix, ".json" if suffix == ".geojson" else suffix):
        raise WorkspaceError(f"{path}: --to {form} writes a {suffix} file")
    make_folder(path.parent)
    remove_abandoned(path.parent)
    write(run, path)
    return path


def scene_glb_nodes(mesh: Mesh, graph: SceneGraph) -> list[GlbNode]:
    """One node for each object with its own triangles, and one for the rest of the map."""
    face_object = np.zeros(len(mesh.faces), np.uint32) if mesh.objects is None else mesh.objects[mesh.faces].min(axis=1)
    nodes = [GlbNode("structure", mesh.submesh(face_object == 0), {"id": "structure"})]
    for key, node in graph.nodes("object"):
        extras = {
            "id": key,
            "label": node.label,
            "room": graph.parent(key) or "",
            "confidence": round(node.confidence, 3),
        }
        nodes.append(GlbNode(f"{key} {node.label}", mesh.submesh(face_object == node.number), extras))
    return nodes


def _write_mesh(run: FinishedRun, path: Path) -> None:
    write_mesh(run.mesh, path)


def _write_obj(run: FinishedRun, path: Path) -> None:
    names = {node.number: for_name(f"{key}_{node.label}") for key, node in run.graph.nodes("object")}
    write_obj(run.mesh, path, names=names)


def _write_glb(run: FinishedRun, path: Path) -> None:
    write_glb(path, scene_glb_nodes(run.mesh, run.graph))


def _write_html(run: FinishedRun, path: Path) -> None:
    from pipelines.views.keyframes import load_keyframes
    from pipelines.views.scene_page import write_scene_html

    title = run_name(run.folder)
    write_scene_html(run.mesh, run.graph, path, title=title, keyframes=load_keyframes(run.folder))


def _write_spark_dsg(run: FinishedRun, path: Path) -> None:
    from scenegraph.files.spark_dsg import export_spark_dsg

    export_spark_dsg(run.graph, path, mesh=run.mesh)


def _write_graphml(run: FinishedRun, path: Path) -> None:
    from scenegraph.files.export import export_graphml

    export_graphml(run.graph, path)


def _write_csv(run: FinishedRun, path: Path) -> None:
    from scenegraph.files.export import export_objects_csv

    export_objects_csv(run.graph, path)


def _write_geojson(run: FinishedRun, path: Path) -> None:
    from scenegraph.files.export import export_floorplan

    export_floorplan(run.graph, path)


def _write_svg(run: FinishedRun, path: Path) -> None:
    from pipelines.views.plan.svg import drawings_svg

    write_text_atomic(path, drawings_svg(run.drawings()))


def _write_dxf(run: FinishedRun, path: Path) -> None:
    from pipelines.views.plan.dxf import drawings_dxf

    write_text_atomic(path, drawings_dxf(run.drawings()))


def _write_pdf(run: FinishedRun, path: Path) -> None:
    from pipelines.views.plan.pdf import drawings_pdf

    write_bytes_atomic(path, drawings_pdf(run.drawings(), run_name(run.folder)))


def _write_rerun(run: FinishedRun, path: Path) -> None:
    from pipelines.views.rerun_export import export_rerun

    export_rerun(run.mesh, run.graph, path)


EXPORTERS: dict[str, tuple[Writer, str]] = {
    "ply": (_write_mesh, "mesh.ply"),
    "obj": (_write_obj, "mesh.obj"),
    "glb": (_write_glb, "mesh.glb"),
    "html": (_write_html, "scene.html"),
    "spark_dsg": (_write_spark_dsg, "dsg.json"),
    "graphml": (_write_graphml, "scene_graph.graphml"),
    "csv": (_write_csv, "objects.csv"),
    "geojson": (_write_geojson, "floorplan.geojson"),
    "svg": (_write_svg, "floorplan.svg"),
    "dxf": (_write_dxf, "floorplan.dxf"),
    "pdf": (_write_pdf, "floorplan.pdf"),
    "rerun": (_write_rerun, "map.rrd"),
}
