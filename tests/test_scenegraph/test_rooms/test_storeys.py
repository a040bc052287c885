import numpy as np
import pytest
from apartments import LABELS, Apartment, box, two_rooms

from mapping.mesh.mesh import Mesh, concatenate
from scenegraph.faces import Faces
from scenegraph.graph_config import StoreyConfig
from scenegraph.rooms.storeys import doubtful_storeys, find_storeys, storey_of


def storeys_of(mesh, cameras, config=None):
    return find_storeys(Faces.of(mesh), LABELS, cameras, config or StoreyConfig())


def test_one_storey_from_floor_to_ceiling():
    flat = two_rooms()
    assert np.array(storeys_of(flat.mesh(), flat.cameras()[:, :3, 3])) == pytest.approx(np.array([[0, 2.5]]), abs=0.01)


def test_a_floor_that_nobody_walked_on_is_no_storey():
    low, high = Apartment([(0, 0, 4, 3)]), Apartment([(0, 0, 4, 3)], z=2.8)
    found = storeys_of(concatenate([low.mesh(), high.mesh()]), low.cameras()[:, :3, 3])
    assert len(found) == 1


def test_without_labels_tables_are_no_storeys():
    flat = Apartment([(0, 0, 4, 3)]).furnish(box((0.5, 0.5, 0), (3.5, 2.5, 0.75), "table"))
    mesh = flat.mesh()
    bare = Mesh(mesh.vertices, mesh.faces)
    assert np.array(storeys_of(bare, flat.cameras()[:, :3, 3])) == pytest.approx(np.array([[0, 2.5]]), abs=0.01)


def test_a_table_that_hides_the_floor_is_no_floor_where_its_height_is_known():
    """A table as large as what is seen of the room, and half a square metre of floor beside it."""
    top, floor = (
        box((0, 0, 0.68), (3, 2, 0.72), "table", step=0.1),
        box((3, 0, -0.05), (3.7, 0.7, 0), "floor", step=0.1),
    )
    mesh = concatenate([top, floor])
    bare, cameras = Mesh(mesh.vertices, mesh.faces), [[1.5, 1.0, 1.6]]
    assert storeys_of(bare, cameras)[0][0] == pytest.approx(0.72, abs=0.02)
    known = StoreyConfig(ground=0.0)
    assert storeys_of(bare, cameras, known)[0][0] == 0.0
    upper = Apartment([(0, 0, 4, 3)], z=2.8)
    both = concatenate([bare, Mesh(upper.mesh().vertices, upper.mesh().faces)])
    found = storeys_of(both, [*cameras, [2.0, 1.5, 4.3]], known)
    assert [low for low, _ in found] == pytest.approx([0.0, 2.8], abs=0.02)


def test_a_storey_without_a_ceiling_ends_above_what_was_seen():
    mesh = box((0, 0, -0.1), (4, 3, 0), "floor", step=0.1)
    assert storeys_of(mesh, [[2, 1, 1.5]])[0][1] == pytest.approx(StoreyConfig().default_height, abs=0.02)


def test_an_empty_map_has_a_storey_under_its_cameras():
    assert storeys_of(Mesh.empty(), [[0, 0, 1.5]]) == [(0.0, 2.4)]
    assert storeys_of(Mesh.empty(), np.zeros((0, 3))) == [(0.0, 2.4)]


def test_heights_belong_to_the_floor_below_them():
    storeys = [(0.0, 2.5), (2.8, 5.3)]
    assert storey_of([-0.3, 0.0, 2.5, 2.7, 2.9, 9.0], storeys).tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("ceiling", "words"), [(1.2, "is 1.2 m"), (2.5, ""), (5.5, ""), (8.0, "is 8.0 m")])
def test_storeys_of_unusual_height_are_doubted(ceiling, words):
    flat = Apartment([(0, 0, 4, 3)], ceiling=ceiling)
    faces = Faces.of(flat.mesh(step=0.2))
    storeys = find_storeys(faces, LABELS, [[2.0, 1.5, min(1.5, ceiling / 2)]], StoreyConfig())
    found = doubtful_storeys(faces, storeys)
    assert len(found) == bool(words)
    assert all(words in text and "--scale" in text for text in found)
