"""The last stage: the report and the viewer file of a run."""

from __future__ import annotations

from collections.abc import Callable

from mapping.camera import Intrinsics
from pipelines.stages.context import RunContext
from pipelines.workspace import StageRecord, Workspace, load_run

REPORT_FILES = ("report.html", "scene.html")


def write_report_files(context: RunContext) -> StageRecord:
    """report.html and scene.html."""
    return write_run_report(context.workspace, context.camera, context.advance)


def write_run_report(
    workspace: Workspace, camera: Intrinsics, advance: Callable[[int, int], None] = lambda done, total: None
) -> StageRecord:
    """report.html and scene.html of a run folder, with pictures as this camera takes them."""
    from pipelines.views.report import render_pictures, write_report
    from pipelines.views.viewer import write_scene_html

    mesh, graph = load_run(workspace.root)
    pictures = render_pictures(mesh, graph, camera)
    advance(1, 2)
    write_report(workspace.path("report.html"), graph, workspace.manifest, pictures)
    write_scene_html(mesh, graph, workspace.path("scene.html"))
    advance(2, 2)
    return StageRecord({"text": f"report.html with {len(pictures)} pictures, scene.html"})
