"""Presence of objects over several visits."""

import numpy as np
import pytest
from visit_maps import block, visit_of

from mapping.se3 import from_rotation_translation, inverse
from scenegraph.visits.joined_presence import PlacedVisit, fill_visit_presence, joined_presence
from scenegraph.visits.space import VisitMap

SPAN = (0.0, 30.0)
FIRST, SECOND, THIRD = (0.0, 8.0), (10.0, 18.0), (20.0, 30.0)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(FIRST, (FIRST,)), (SECOND, (SECOND,)), (THIRD, (THIRD,))], ((0, 30),)),
        ([(FIRST, (FIRST,)), (SECOND, ()), (THIRD, (THIRD,))], ((0, 9), (19, 30))),
        ([(FIRST, ()), (SECOND, (SECOND,)), (THIRD, ())], ((9, 19),)),
        ([(SECOND, (SECOND,))], ((0, 30),)),  # the others did not look
        ([(FIRST, (FIRST,)), (THIRD, ())], ((0, 14),)),
        ([(FIRST, ((0.0, 4.0),)), (SECOND, ())], ((0, 4),)),  # left within the first visit
        ([(FIRST, ((3.0, 8.0),)), (SECOND, (SECOND,))], ((3, 30),)),
        ([(FIRST, ((0.0, 2.0), (5.0, 8.0))), (SECOND, (SECOND,))], ((0, 2), (5, 30))),
        ([(FIRST, ())], ()),
        ([], ()),
    ],
)
def test_intervals_of_visits_are_joined(said, expected):
    assert joined_presence(said, SPAN) == expected


def test_each_visit_says_whether_an_object_was_there():
    """A chair is gone on the second visit, a box comes with it, a table stays; the second map has its own origin."""
    table, chair, box = (
        block("table", (0, 0), (1.4, 0.8, 0.75)),
        block("chair", (1.6, 0.4), (0.5, 0.5, 0.9)),
        block("box", (-1.5, 1.0), (0.5, 0.4, 0.4)),
    )
    everything = visit_of([table, chair, box])
    T = from_rotation_translation(np.eye(3), [1.0, 2.0, 0.0])
    before = PlacedVisit(visit_of([table, chair]), np.eye(4), FIRST)
    later = visit_of([table, box])
    elsewhere = VisitMap(
        later.graph.transformed(inverse(T)), later.mesh.transformed(inverse(T)), later.volume.transformed(inverse(T))
    )
    after = PlacedVisit(elsewhere, T, SECOND)
    graph = everything.graph
    fill_visit_presence(graph, everything.mesh, [after, before])
    assert {node.label: node.presence for _, node in graph.nodes("object")} == {
        "table": ((0.0, 18.0),),
        "chair": ((0.0, 9.0),),
        "box": ((9.0, 18.0),),
    }
