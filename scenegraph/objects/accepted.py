"""What is reported of predicted objects: a name, no name, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mapping.mesh.mesh import Mesh
from scenegraph.graph_config import ObjectConfig
from scenegraph.nodes import ObjectNode
from scenegraph.objects.evidence import MORE_OFTEN_THAN_NOT
from scenegraph.objects.sizes import is_whole, plausible


def accepted_objects(objects: Sequence[ObjectNode], mesh: Mesh, config: ObjectConfig) -> tuple[list[ObjectNode], Mesh]:
    """The objects that predicted labels are good for, numbered anew, and the mesh with their numbers.

    A name needs half of the evidence, and a box that a whole object of the class fills (`sizes.SIZES`): others are wrong more
    often than not. Such an object is `unknown`, and its surface has no label; its `label_scores` keep the guess. Without a name
    it stays only where it is `unnamed_extent` thick in all directions, so that more than one side of it was mapped and its box
    is about right. What is smaller than `least_extent` is dropped too: it is nowhere near where depth puts it.
    """
    assert mesh.objects is not None
    table = np.zeros(len(objects) + 1, np.uint32)
    labels = None if mesh.labels is None else mesh.labels.copy()
    kept: list[ObjectNode] = []
    for node in objects:
        named = _has_name(node)
        size = node.box.size
        if not named and labels is not None:
            labels[mesh.objects == node.number] = 0
        if size.max() < (config.least_extent or 0.0) or not (named or size.min() >= config.unnamed_extent):
            continue
        table[node.number] = len(kept) + 1
        node = replace(node, number=len(kept) + 1)
        kept.append(node if named else replace(node, label="unknown", label_id=0, confidence=0.0))
    return kept, replace(mesh, labels=labels, objects=table[mesh.objects])


def _has_name(node: ObjectNode) -> bool:
    """Whether the name of an object is right more often than not."""
    likely = node.confidence >= MORE_OFTEN_THAN_NOT
    return likely and plausible(node.label, node.box.size) and is_whole(node.label, node.box.size)
