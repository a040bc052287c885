"""Floor plans: adjacent rooms with walls of the right thickness, openings in the right positions."""

import numpy as np
import pytest
import shapely

from pipelines.synth.base.plan import Construction, RoomPlan
from pipelines.synth.building.access import access_cost, access_tree, shared_walls
from pipelines.synth.building.layout import AREAS, stair_run
from pipelines.synth.generate import WorldConfig, plan_building

GRID = [(rooms, storeys, seed) for rooms in range(1, 9) for storeys in (1, 2, 3) for seed in range(2)]


def plan_of(rooms, storeys, seed):
    streams = [np.random.default_rng([seed, k]) for k in range(2)]
    return plan_building(*streams, WorldConfig(rooms=rooms, storeys=storeys))


def rectangle(kind, x0, y0, x1, y1):
    return RoomPlan(kind, np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float))


def test_walls_are_found_where_rooms_lie_back_to_back():
    rooms = [rectangle("hallway", 0, 0, 2, 4), rectangle("kitchen", 2.1, 1, 5, 6), rectangle("bedroom", 0, 4.5, 1.9, 8)]
    (wall,) = shared_walls(rooms, 0.1)
    assert wall.rooms == (0, 1)
    assert wall.edges == (1, 3)
    assert wall.interval == pytest.approx((1.0, 4.0))
    assert shared_walls(rooms, 0.1, least=3.5) == []


def test_access_goes_through_halls_rather_than_bedrooms():
    hall, bedroom = rectangle("hallway", 0, 0, 6, 1.5), rectangle("bedroom", 0, 1.6, 3, 5)
    office, far = rectangle("office", 3.1, 1.6, 6, 5), rectangle("kitchen", 0, 5.1, 6, 8)
    tree = access_tree([hall, bedroom, office], shared_walls([hall, bedroom, office], 0.1))
    assert [wall.rooms for wall in tree] == [(0, 1), (0, 2)]
    assert access_cost([hall, bedroom, office], 0.1) == 0.0
    assert access_cost([hall, bedroom, office, far], 0.1) == pytest.approx(3.0)  # through the office, not the bedroom
    assert access_cost([hall, rectangle("office", 9, 9, 12, 12)], 0.1) == np.inf


@pytest.mark.parametrize(("rooms", "storeys", "seed"), GRID)
def test_rooms_are_rectilinear_apart_by_a_wall_and_large_enough(rooms, storeys, seed):
    plan = plan_of(rooms, storeys, seed)
    assert len(plan.storeys) == storeys
    for floor in plan.storeys:
        assert len(floor.rooms) == rooms
        polygons = [shapely.Polygon(room.polygon) for room in floor.rooms]
        for room, polygon in zip(floor.rooms, polygons, strict=True):
            assert room.kind in AREAS
            assert polygon.is_valid
            assert polygon.exterior.is_ccw
            assert room.area == pytest.approx(polygon.area)
            assert all(np.count_nonzero(np.abs(edge.end - edge.start) > 1e-6) == 1 for edge in room.edges())
            assert room.area > 2.8
            assert isinstance(polygon.buffer(-0.5), shapely.Polygon)
            assert not polygon.buffer(-0.5).is_empty
        for i, first in enumerate(polygons):
            for second in polygons[i + 1 :]:
                assert first.distance(second) >= plan.construction.inner_wall - 1e-6
        assert np.isfinite(access_cost(floor.rooms, plan.construction.inner_wall))


def test_sizes_are_those_of_homes_on_the_whole():
    areas: dict[str, list[float]] = {}
    for seed in range(40):
        for room in plan_of(3 + seed % 6, 1, seed).storeys[0].rooms:
            areas.setdefault(room.kind, []).append(room.area)
    ranges = {
        "bathroom": (4.0, 7.5),
        "bedroom": (9.0, 17.0),
        "kitchen": (7.0, 14.0),
        "living_room": (15.0, 30.0),
        "office": (8.0, 14.0),
    }
    for kind, (low, high) in ranges.items():
        within = np.mean([(low <= area <= high) for area in areas[kind]])
        assert within >= 0.9, f"{kind}: {sorted(np.round(areas[kind], 1))}"


def test_some_rooms_are_l_shaped():
    corners = [len(room.polygon) for seed in range(20) for room in plan_of(6, 1, seed).storeys[0].rooms]
    assert max(corners) >= 6
    assert corners.count(4) > len(corners) / 2


@pytest.mark.parametrize(("rooms", "storeys", "seed"), GRID)
def test_doors_pierce_the_wall_between_their_rooms_and_windows_outer_walls(rooms, storeys, seed):
    plan = plan_of(rooms, storeys, seed)
    wall = plan.construction.inner_wall
    for floor in plan.storeys:
        polygons = [shapely.Polygon(room.polygon) for room in floor.rooms]
        assert len(floor.doors) >= rooms - 1
        for door in floor.doors:
            side = np.array([-door.direction[1], door.direction[0]]) * door.width / 2
            for k, index in enumerate(door.rooms):
                for offset in (-side, side):
                    sign = 1 if k else -1
                    step = sign * door.direction * (wall / 2 + 0.01)
                    assert polygons[index].covers(shapely.Point(door.center + offset + step))
        openings = [*floor.windows, *([floor.entrance] if floor.entrance else [])]
        for opening in openings:
            side = np.array([-opening.outward[1], opening.outward[0]]) * opening.width / 2
            for offset in (-side, 0 * side, side):
                inside, outside = (
                    opening.center + offset - 0.01 * opening.outward,
                    opening.center + offset + 0.3 * opening.outward,
                )
                assert polygons[opening.room].covers(shapely.Point(inside))
                assert not any(polygon.contains(shapely.Point(outside)) for polygon in polygons)
            assert 0 <= opening.bottom < opening.top < plan.construction.ceiling - 0.1


@pytest.mark.parametrize("rooms", range(1, 9))
def test_stairs_fit_into_the_hub_of_both_storeys(rooms):
    plan = plan_of(rooms, 3, rooms)
    steps, run = stair_run(plan.construction)
    assert len(plan.stairs) == 2
    for storey, stair in enumerate(plan.stairs):
        assert stair.steps == steps
        assert stair.x1 - stair.x0 == pytest.approx(run)
        assert plan.construction.storey_height / stair.steps <= 0.19 + 1e-9
        area = shapely.box(stair.x0 - 0.9, stair.y0, stair.x1 + 0.9, stair.y1)
        for floor, index in ((plan.storeys[storey], stair.rooms[0]), (plan.storeys[storey + 1], stair.rooms[1])):
            assert shapely.Polygon(floor.rooms[index].polygon).buffer(1e-6).covers(area)
        climbed = (stair.hole_x0 - stair.x0) / run * plan.construction.storey_height
        assert plan.construction.ceiling - climbed >= 1.95  # head room where one comes under the edge of the hole


def test_construction_adds_up():
    assert Construction(0.1, 0.25, 2.5).storey_height == pytest.approx(2.75)
