import numpy as np
import pytest
import shapely
from apartments import LABELS, WALL, Apartment, Opening, box, patch, two_rooms

from mapping.distance_field import build_free_space
from mapping.mesh.mesh import concatenate
from scenegraph.faces import Faces
from scenegraph.graph_config import PlaceConfig, RoomConfig, StoreyConfig
from scenegraph.rooms.layout import find_rooms, room_node
from scenegraph.rooms.places import extract_places
from scenegraph.rooms.storeys import find_storeys

CONFIG = RoomConfig()


def layout_of(flat, storeys=None, free=None):
    free = free or flat.free_space()
    storeys = storeys or [(flat.z, flat.z + flat.ceiling)]
    return find_rooms(Faces.of(flat.mesh()), LABELS, free, extract_places(free, PlaceConfig()), storeys, CONFIG)


def overlap(a, b):
    a, b = shapely.Polygon(a), shapely.Polygon(b)
    return a.intersection(b).area / a.union(b).area


def assert_rooms(layout, polygons, tolerance=0.97):
    """As many rooms as polygons, one for each."""
    scores = np.array([[overlap(room.polygon, truth) for room in layout.rooms] for truth in polygons])
    assert scores.shape == (len(polygons), len(polygons))
    assert (scores.max(axis=1) > tolerance).all()


def hydra_f1(layout, flat):
    """Hydra's overlap precision and recall on free-space voxels, as their harmonic mean."""
    free = flat.free_space()
    points = free.centers(np.argwhere(free.free))
    inside = [
        np.array([shapely.contains_xy(shapely.Polygon(p), *points[:, :2].T) for p in polygons])
        for polygons in (flat.polygons(), [room.polygon for room in layout.rooms])
    ]
    shared = inside[0].astype(float) @ inside[1].T
    recall, precision = shared.max(axis=1).sum() / inside[0].sum(), shared.max(axis=0).sum() / inside[1].sum()
    return 2 * precision * recall / (precision + recall)


def grid_flat(columns, rows, size=3.0, height=2.05, width=0.9):
    """A grid of square rooms with doors from each to the next in its row, and between the rows in the first column."""
    pitch = size + WALL
    flat = Apartment(
        [(i * pitch, j * pitch, i * pitch + size, j * pitch + size) for j in range(rows) for i in range(columns)]
    )
    for j in range(rows):
        for i in range(columns - 1):
            flat.openings.append(Opening(0, i * pitch + size + WALL / 2, j * pitch + 1.1, width, height))
    for j in range(rows - 1):
        flat.openings.append(Opening(1, j * pitch + size + WALL / 2, 1.9, width, height))
    return flat


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (2, 1), (3, 1), (2, 2), (4, 2)])
def test_rooms_with_doors_are_found_to_the_centimetre(columns, rows):
    flat = grid_flat(columns, rows)
    layout = layout_of(flat)
    assert_rooms(layout, flat.polygons(), 0.99)
    assert hydra_f1(layout, flat) > 0.99
    assert len(layout.doors) == len(flat.openings)
    for o in flat.openings:
        middle = np.zeros(2)
        middle[o.axis], middle[1 - o.axis] = o.at, o.middle
        assert min(np.linalg.norm(np.array(d.position[:2]) - middle) for d in layout.doors) < 0.15
    assert [d.width for d in layout.doors] == pytest.approx([0.9] * len(flat.openings), abs=0.15)


@pytest.mark.parametrize("width", [1.2, 1.6, 2.0])
@pytest.mark.parametrize("height", [2.1, 2.5])
def test_open_passages_part_rooms_with_and_without_a_lintel(width, height):
    flat = two_rooms(width, height)
    layout = layout_of(flat)
    assert_rooms(layout, flat.polygons(), 0.95)
    evidence = layout.doors[0].evidence
    assert evidence["lintel"] if height < 2.5 else evidence["jambs"]


def test_furniture_does_not_cut_a_room():
    flat = Apartment([(0, 0, 5, 4)])
    flat.furnish(box((1.5, 0, 0), (2.1, 2.9, 1.0), "counter")).furnish(box((3.4, 3.3, 0), (4.4, 4, 2.0), "cabinet"))
    assert_rooms(layout_of(flat), flat.polygons())


def test_an_alcove_belongs_to_its_room():
    """An L: 4 x 3 m with a nook of 2 x 2 m that opens over its whole width."""
    flat = Apartment([(0, 0, 4, 3), (4, 0, 6, 2)], [Opening(0, 4.0, 1.0, 1.999, 2.5)])
    layout = layout_of(flat)
    assert len(layout.rooms) == 1
    assert layout.rooms[0].area == pytest.approx(16.0, rel=0.05)


def test_a_wide_opening_joins_two_halves_of_a_room():
    flat = two_rooms(width=2.9, height=2.5)
    assert len(layout_of(flat).rooms) == 1


def test_rooms_are_apart_when_no_door_joins_them():
    flat = two_rooms()
    flat.openings.clear()
    layout = layout_of(flat)
    assert_rooms(layout, flat.polygons())
    assert layout.doors == ()


def test_a_closed_door_joins_its_rooms():
    flat = two_rooms(width=0.9, height=2.05)
    flat.furnish(box((4.03, 1.06, 0), (4.09, 1.94, 2.04), "door"))
    layout = layout_of(flat)
    assert_rooms(layout, flat.polygons())
    (door,) = layout.doors
    assert door.rooms == (0, 1)
    assert door.evidence["door"] is True
    assert door.position == pytest.approx((4.06, 1.5, 0.0), abs=0.1)


def test_an_open_leaf_along_a_wall_is_no_door_through_it():
    """Two rooms side by side without a door; a leaf stands open flat against the wall between them."""
    flat = two_rooms()
    flat.openings.clear()
    flat.furnish(box((3.90, 1.0, 0), (3.95, 1.85, 2.0), "door"))
    layout = layout_of(flat)
    assert_rooms(layout, flat.polygons(), 0.95)
    assert layout.doors == ()


@pytest.mark.parametrize("wrong", [{"split_ratio": 0.95}, {"min_dilation": 2.0}, {"railing_height": 2.2}])
def test_settings_out_of_order_are_rejected(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be below"):
        RoomConfig(**wrong)


def test_polygons_are_simple_counter_clockwise_and_have_no_holes():
    flat = grid_flat(2, 2).furnish(box((1.0, 1.0, 0), (2.0, 2.0, 2.5), "cabinet"))
    for room in layout_of(flat).rooms:
        ring = shapely.Polygon(room.polygon)
        assert ring.is_valid
        assert shapely.LinearRing(room.polygon).is_ccw


def test_every_place_and_point_has_the_room_it_is_in():
    flat = grid_flat(2, 2)
    layout = layout_of(flat)
    free = flat.free_space()
    places = extract_places(free, PlaceConfig())
    numbers = layout.room_of(places.positions)
    assert (numbers >= 0).all()
    for number, room in enumerate(layout.rooms):
        inside = shapely.contains_xy(shapely.Polygon(room.polygon).buffer(-0.1), *places.positions[:, :2].T)
        assert (numbers[inside] == number).all()
    assert layout.room_of([[100.0, 100.0, 1.0]])[0] in range(4)  # the nearest one, far outside


def test_rooms_and_their_order_are_the_same_in_every_run():
    first, second = (layout_of(grid_flat(3, 2)) for _ in range(2))
    assert [r.polygon.tobytes() for r in first.rooms] == [r.polygon.tobytes() for r in second.rooms]
    assert first.doors == second.doors


def test_storeys_have_their_own_rooms_joined_by_the_stair():
    low, high = Apartment([(0, 0, 4, 3)]), Apartment([(0, 0, 4, 3)], z=2.8)
    hole = ((1.0, 1.0), (3.0, 2.0))
    mesh = concatenate([low.mesh(), high.mesh()])

    def is_free(points):
        x, y, z = points.T
        shaft = (x > hole[0][0]) & (x < hole[1][0]) & (y > hole[0][1]) & (y < hole[1][1]) & (z > 2.4) & (z < 2.9)
        return low.is_free(points) | high.is_free(points) | shaft

    through = (np.abs(mesh.vertices[:, 2] - 2.65) < 0.2) & (np.abs(mesh.vertices[:, :2] - [2.0, 1.5]) < [1.0, 0.5]).all(
        axis=1
    )
    kept = mesh.submesh(~through[mesh.faces].any(axis=1))
    cameras = np.concatenate([low.cameras(), high.cameras()])[:, :3, 3]
    storeys = find_storeys(Faces.of(kept), LABELS, cameras, StoreyConfig())
    assert np.array(storeys) == pytest.approx(np.array([[0, 2.5], [2.8, 5.3]]), abs=0.02)
    free = build_free_space(kept.vertices, is_free)
    layout = find_rooms(Faces.of(kept), LABELS, free, extract_places(free, PlaceConfig()), storeys, CONFIG)
    assert [room.storey for room in layout.rooms] == [0, 1]
    assert [door.rooms for door in layout.doors] == [(0, 1)]
    assert layout.doors[0].evidence == {"stair": True}
    assert layout.room_of([[2, 1.5, 1.2], [2, 1.5, 4.0]]).tolist() == [0, 1]


def test_a_map_without_any_free_space_is_one_room_around_its_surface():
    mesh = patch(np.zeros(3), np.array([2.0, 0, 0]), np.array([0, 1.0, 0]), "floor", 0.05)
    mesh = concatenate([mesh, box((0.5, 0.3, 0), (1.0, 0.8, 0.7), "desk")])
    free = build_free_space(mesh.vertices, lambda p: np.zeros(len(p), bool))
    layout = find_rooms(Faces.of(mesh), LABELS, free, extract_places(free, PlaceConfig()), [(0.0, 2.4)], CONFIG)
    assert len(layout.rooms) == 1
    assert layout.room_of([[0.7, 0.5, 0.8]]).tolist() == [0]


def test_a_room_is_named_and_placed_inside_itself():
    flat = two_rooms()
    layout = layout_of(flat)
    node = room_node(layout, 0, ["bed", "pillow", "pillow", "night_stand"])
    assert node.label == "bedroom"
    assert shapely.contains_xy(shapely.Polygon(node.polygon), *node.position[:2])
    assert node.area == pytest.approx(12.0, rel=0.02)
    assert node.z_range == (0.0, 2.5)
    assert node.evidence["doors"] == 1
