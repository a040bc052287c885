"""The last stage: the report and the viewer file of a run."""

from __future__ import annotations

from pipelines.stages.context import RunContext
from pipelines.workspace import StageRecord, load_run

REPORT_FILES = ("report.html", "scene.html")


def write_report_files(context: RunContext) -> StageRecord:
    """report.html and scene.html."""
    from pipelines.views.report import render_pictures, write_report
    from pipelines.views.viewer import write_scene_html

    mesh, graph = load_run(context.workspace.root)
    pictures = render_pictures(mesh, graph, context.camera)
    context.advance(1, 2)
    write_report(context.workspace.path("report.html"), graph, context.workspace.manifest, pictures)
    write_scene_html(mesh, graph, context.workspace.path("scene.html"))
    context.advance(2, 2)
    return StageRecord({"text": f"report.html with {len(pictures)} pictures, scene.html"})
