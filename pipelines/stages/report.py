"""The last stage: what people look at - the report, the viewer file and the floor plan of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mapping.files import write_bytes_atomic, write_text_atomic
from pipelines.stages.context import PosedFrame, RunContext
from pipelines.views.keyframes import KEYFRAMES_FILE, find_keyframes, save_keyframes
from pipelines.workspace import StageRecord, Workspace, load_run

if TYPE_CHECKING:
    from mapping.mesh.mesh import Mesh
    from scenegraph.graph import SceneGraph

PLAN_FILES = ("floorplan.svg", "floorplan.dxf", "floorplan.pdf")
REPORT_FILES = ("report.html", "scene.html", KEYFRAMES_FILE, *PLAN_FILES)


def write_report_files(context: RunContext) -> StageRecord:
    """report.html, scene.html, the images in them, and the floor plan in three formats."""
    return _write(context.workspace, context.sequence.name, partial(_keyframes, context), context.advance)


def write_run_report(workspace: Workspace, name: str) -> StageRecord:
    """The same of a run folder that has no frames of its own, such as a merged map."""
    return _write(workspace, name, lambda mesh, graph: find_keyframes(mesh, graph, {}, lambda _: ()), lambda *_: None)


def _write(
    workspace: Workspace,
    name: str,
    keyframes_of: Callable[[Mesh, SceneGraph], dict[str, Any]],
    advance: Callable[[int, int], None],
) -> StageRecord:
    from pipelines.views.measured import measured_of
    from pipelines.views.pictures import make_pictures
    from pipelines.views.plan.compose import storey_drawings
    from pipelines.views.plan.dxf import drawings_dxf
    from pipelines.views.plan.pdf import drawings_pdf
    from pipelines.views.plan.svg import drawings_svg
    from pipelines.views.report import write_report
    from pipelines.views.scene_page import write_scene_html

    begin = time.perf_counter()
    mesh, graph = load_run(workspace.root)
    root = workspace.root
    keyframes = keyframes_of(mesh, graph)
    save_keyframes(root, keyframes)
    advance(1, 4)
    write_scene_html(mesh, graph, root / "scene.html", title=name, keyframes=keyframes)
    advance(2, 4)
    measured = measured_of(graph)
    drawings = storey_drawings(graph, measured)
    write_text_atomic(root / "floorplan.svg", drawings_svg(drawings))
    write_text_atomic(root / "floorplan.dxf", drawings_dxf(drawings))
    write_bytes_atomic(root / "floorplan.pdf", drawings_pdf(drawings, name))
    pictures = make_pictures(mesh, graph, keyframes)
    advance(3, 4)
    manifest = _with_this_stage(workspace.manifest, time.perf_counter() - begin)
    write_report(root / "report.html", graph, manifest, measured, pictures)
    advance(4, 4)
    return StageRecord({"text": f"report.html and scene.html with {len(keyframes['frames'])} images, floorplan.pdf"})


def _keyframes(context: RunContext, mesh: Mesh, graph: SceneGraph) -> dict[str, Any]:
    """Images of the chosen frames that have a pose."""
    cameras = {}
    for position in context.positions:
        info = context.sequence.infos[position]
        if info.T_world_camera is not None:
            cameras[position] = (info.intrinsics, context.levelled_pose(info.T_world_camera))

    def frames_at(indices: Sequence[int]) -> Iterator[PosedFrame]:
        return context.posed_frames(indices, broken={})

    return find_keyframes(mesh, graph, cameras, frames_at)


def _with_this_stage(manifest: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The manifest with this stage's time so far, so that the report's total is of all stages."""
    record: dict[str, Any] = {"seconds": seconds, "peak_memory_mb": None, "warnings": [], "summary": {}}
    return {**manifest, "stages": {**manifest["stages"], "report": record}}
