"""What is reported of predicted objects: a name, no name, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mapping.mesh.mesh import Mesh
from scenegraph.boxes import share_inside
from scenegraph.graph_config import ObjectConfig
from scenegraph.nodes import ObjectNode
from scenegraph.objects.naming import is_named

PART = 0.7
"""Share of the box of something without a name that lies in the box of an object with one, from which it is a part of that.

In three rendered worlds and an office all seven such boxes are of no object of their own (script not kept)."""


def accepted_objects(objects: Sequence[ObjectNode], mesh: Mesh, config: ObjectConfig) -> tuple[list[ObjectNode], Mesh]:
    """The objects that predicted labels are good for, numbered anew, and the mesh with their numbers.

    A name needs half of the evidence, and a box that a whole object of the class fills (`sizes.SIZES`): others are wrong more
    often than not. Such an object is `unknown`, and its surface has no label; its `label_scores` keep the guess. Without a name
    it stays only where it is `unnamed_extent` thick in all directions, so that more than one side of it was mapped and its box
    is about right, and where it is not part of an object with a name, to which its surface belongs then. What is smaller than
    `least_extent` is dropped too: it is nowhere near where depth puts it.
    """
    assert mesh.objects is not None
    table = np.zeros(len(objects) + 1, np.uint32)
    labels = None if mesh.labels is None else mesh.labels.copy()
    named = [node for node in objects if is_named(node.label, node.box.size, node.confidence)]
    numbers = {node.number for node in named}
    wholes = [node for node in named if node.box.size.max() >= (config.least_extent or 0.0)]
    kept: list[ObjectNode] = []
    parts: dict[int, int] = {}
    for node in objects:
        size, has_name = node.box.size, node.number in numbers
        if not has_name and labels is not None:
            labels[mesh.objects == node.number] = 0
        if size.max() < (config.least_extent or 0.0) or not (has_name or size.min() >= config.unnamed_extent):
            continue
        whole = None if has_name else next((w for w in wholes if share_inside(node.box, w.box) >= PART), None)
        if whole is not None:
            parts[node.number] = whole.number
            continue
        table[node.number] = len(kept) + 1
        node = replace(node, number=len(kept) + 1)
        kept.append(node if has_name else replace(node, label="unknown", label_id=0, confidence=0.0))
    for part, number in parts.items():
        table[part] = table[number]
    return kept, replace(mesh, labels=labels, objects=table[mesh.objects])
