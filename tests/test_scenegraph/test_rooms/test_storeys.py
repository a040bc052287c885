import pytest
from apartments import Apartment

from scenegraph.faces import Faces
from scenegraph.graph_config import StoreyConfig
from scenegraph.labels import nyu40
from scenegraph.rooms.storeys import doubtful_storeys, find_storeys


@pytest.mark.parametrize(("ceiling", "words"), [(1.2, "is 1.2 m"), (2.5, ""), (5.5, ""), (8.0, "is 8.0 m")])
def test_storeys_of_unusual_height_are_doubted(ceiling, words):
    flat = Apartment([(0, 0, 4, 3)], ceiling=ceiling)
    faces = Faces.of(flat.mesh(step=0.2))
    storeys = find_storeys(faces, nyu40(), [[2.0, 1.5, min(1.5, ceiling / 2)]], StoreyConfig())
    found = doubtful_storeys(faces, storeys)
    assert len(found) == bool(words)
    assert all(words in text and "--scale" in text for text in found)
