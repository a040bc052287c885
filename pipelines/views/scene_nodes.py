"""The map as named pieces: one for each object and one for the rest."""

from __future__ import annotations

import numpy as np

from mapping.mesh.io import GlbNode
from mapping.mesh.mesh import Mesh
from scenegraph.graph import SceneGraph


def scene_nodes(mesh: Mesh, graph: SceneGraph) -> list[GlbNode]:
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
