"""What every writer of a format is given: a finished run, and what the user wants of the format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mapping.mesh.mesh import Mesh
from scenegraph.graph import SceneGraph

if TYPE_CHECKING:
    from pipelines.views.plan.drawing import Drawing


class ExportError(ValueError):
    """Raised for an export that cannot be made; the message says what is missing."""


@dataclass(frozen=True)
class ExportOptions:
    """What a user may want of a format.

    height : metres of what moves over an occupancy grid. sequence : where the recording of the run is now, None for where it was.
    """

    height: float = 1.8
    sequence: Path | None = None


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run folder with its mesh and scene graph."""

    folder: Path
    mesh: Mesh
    graph: SceneGraph
    options: ExportOptions = field(default_factory=ExportOptions)

    def drawings(self) -> list[Drawing]:
        """The floor plan of every storey."""
        from pipelines.views.measured import measured_of
        from pipelines.views.plan.compose import storey_drawings

        return storey_drawings(self.graph, measured_of(self.graph))
