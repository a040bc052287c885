"""A finished run for Python users: its files, read when they are asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mapping.text import table_html
from pipelines.workspace import Workspace, load_graph, load_run

if TYPE_CHECKING:
    from mapping.mesh.mesh import Mesh
    from scenegraph import SceneGraph


class Run:
    """A run folder: `graph`, `mesh` and `manifest` are read at first use; a notebook shows it as a table.

    Raises WorkspaceError for a folder that is no run, and where the run has not come as far as what is asked for.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest: dict[str, Any] = Workspace.open(self.folder).manifest

    @cached_property
    def graph(self) -> SceneGraph:
        """The scene graph; its world is in metres, z up, the floor at 0."""
        return load_graph(self.folder)

    @cached_property
    def mesh(self) -> Mesh:
        """The mesh in the graph's world, with colours, labels, object numbers and confidences of its vertices."""
        return load_run(self.folder)[0]

    def _repr_html_(self) -> str:
        """What each stage did, with seconds, and how far to trust the map, as a table for notebooks."""
        stages = self.manifest["stages"]
        rows = [(name, stage["summary"].get("text", ""), f"{stage['seconds']:.1f}") for name, stage in stages.items()]
        warnings = [warning for stage in stages.values() for warning in stage["warnings"]]
        note = " ".join(f"{line.rstrip('.')}." for line in (*warnings, *self.manifest.get("trust", ())))
        name = self.manifest.get("input", {}).get("name", self.folder.name)
        return table_html(f"Map of {name} ({self.folder})", ("stage", "result", "seconds"), rows, note)
