"""A finished run in other formats: a table from a format's name to its writer."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mapping.files import atomic_folder, make_folder, remove_abandoned, remove_folder
from pipelines.exports.export_input import ExportOptions, FinishedRun
from pipelines.plugins import resolve
from pipelines.sources.provenance_text import about_sizes
from pipelines.workspace import Workspace, WorkspaceError, load_run, refuse_links

Writer = Callable[[FinishedRun, Path], None]


class ExportFormat(NamedTuple):
    """A format of `m2h export`: its writer or where that is (`module:function`), the default name of what it writes, which is
    a folder where it has no suffix, and what it is in a few words. A writer of a folder gets an empty one. `lost` is a sentence
    on what its files have no place for; `keeps_unit` says that they state how metres were estimated."""

    writer: str | Writer
    name: str
    text: str
    lost: str = ""
    keeps_unit: bool = False

    @property
    def suffix(self) -> str:
        """The suffix of the file, empty for a folder."""
        return Path(self.name).suffix


_SIMPLE = "pipelines.exports.simple:"
EXPORTERS: dict[str, ExportFormat] = {
    "ply": ExportFormat(f"{_SIMPLE}write_ply", "mesh.ply", "the mesh with labels, objects and confidence"),
    "obj": ExportFormat(f"{_SIMPLE}write_obj_groups", "mesh.obj", "the mesh, one group per object"),
    "glb": ExportFormat(f"{_SIMPLE}write_glb_nodes", "mesh.glb", "the mesh in vertex colours, one node per object"),
    "textured": ExportFormat(
        "pipelines.exports.textured:write_textured", "textured.glb", "the mesh with the images on it"
    ),
    "html": ExportFormat(f"{_SIMPLE}write_html", "scene.html", "the interactive page"),
    "spark_dsg": ExportFormat(f"{_SIMPLE}write_spark_dsg", "dsg.json", "the scene graph for Hydra"),
    "graphml": ExportFormat(f"{_SIMPLE}write_graphml", "scene_graph.graphml", "the scene graph for graph programs"),
    "csv": ExportFormat(f"{_SIMPLE}write_csv", "objects.csv", "a table of the objects"),
    "geojson": ExportFormat(f"{_SIMPLE}write_geojson", "floorplan.geojson", "rooms, objects and doors"),
    "svg": ExportFormat(f"{_SIMPLE}write_svg", "floorplan.svg", "floor plans"),
    "dxf": ExportFormat(f"{_SIMPLE}write_dxf", "floorplan.dxf", "floor plans"),
    "pdf": ExportFormat(f"{_SIMPLE}write_pdf", "floorplan.pdf", "floor plans"),
    "colmap": ExportFormat(
        "pipelines.exports.colmap:write_colmap",
        "colmap",
        "a COLMAP project: images, poses, points",
        lost="COLMAP's files do not state unit and up direction: a map of them estimates both again",
    ),
    "nerfstudio": ExportFormat(
        "pipelines.exports.nerfstudio:write_nerfstudio", "nerfstudio", "a nerfstudio folder", keeps_unit=True
    ),
    "occupancy": ExportFormat(
        "pipelines.exports.occupancy:write_occupancy", "occupancy", "occupancy grids for ROS map_server"
    ),
    "free_space": ExportFormat(
        "pipelines.exports.free_space:write_free_space", "free_space.npz", "free space as voxels"
    ),
    "objects_glb": ExportFormat(
        "pipelines.exports.objects:write_glb_objects", "objects_glb", "a GLB file for each object"
    ),
    "objects_ply": ExportFormat(
        "pipelines.exports.objects:write_ply_objects", "objects_ply", "a PLY file for each object"
    ),
    "usd": ExportFormat("pipelines.exports.usd:write_usd", "map.usdc", "a USD stage"),
    "rerun": ExportFormat("pipelines.exports.rerun_export:write_rerun", "map.rrd", "a recording for Rerun"),
}


def export_run(run_folder: Path, form: str, out: Path | None = None, options: ExportOptions | None = None) -> Path:
    """Write a run as `form` to `out` and return the path. None is RUN/export/, where what is there is replaced; in a folder a
    file has the format's default name.

    Raises WorkspaceError for an unknown format, a name with the suffix of another format, a folder that is not empty, or an
    unfinished run, and ExportError for what a format needs and the run or this machine lacks.
    """
    if form not in EXPORTERS:
        near = difflib.get_close_matches(form, EXPORTERS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise WorkspaceError(f"--to {form}: unknown format, known are {', '.join(EXPORTERS)}{hint}")
    chosen = EXPORTERS[form]
    run = FinishedRun(run_folder, *load_run(run_folder), options or ExportOptions())
    if out is None:
        refuse_links(run_folder)
    path = _target(form, out) or run_folder / "export" / chosen.name
    write: Writer = resolve(form, {form: chosen.writer}) if isinstance(chosen.writer, str) else chosen.writer
    make_folder(path.parent)
    remove_abandoned(path.parent)
    if chosen.suffix:
        write(run, path)
        return path
    with atomic_folder(path) as folder:
        write(run, folder)
        if out is None:
            remove_folder(path)
    return path


def export_notes(run_folder: Path, form: str) -> list[str]:
    """What an export of a run does not state: how far its sizes are estimates, and what the format has no place for."""
    chosen = EXPORTERS[form]
    trust = Workspace.open(run_folder).manifest.get("trust", [])
    sizes = [] if chosen.keeps_unit else about_sizes(list(map(str, trust)))
    return [*sizes, *([chosen.lost] if chosen.lost else [])]


def _target(form: str, out: Path | None) -> Path | None:
    """Where a format is written; raises WorkspaceError for a name of another format or a folder that is not empty."""
    if out is None:
        return None
    name, suffix = EXPORTERS[form].name, EXPORTERS[form].suffix
    if not suffix:
        if out.exists() and not (out.is_dir() and next(out.iterdir(), None) is None):
            raise WorkspaceError(f"{out}: already exists; --to {form} writes a new folder")
        return out
    if out.is_dir():
        return out / name
    if not out.suffix:
        return out.with_suffix(suffix)
    if out.suffix.lower() not in (suffix, ".json" if suffix == ".geojson" else suffix):
        raise WorkspaceError(f"{out}: --to {form} writes a {suffix} file")
    return out
