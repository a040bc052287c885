"""Laws of generated worlds over seeds, room counts and storeys."""

import hashlib
import os
import subprocess
import sys
from dataclasses import astuple
from functools import cache
from itertools import product

import numpy as np
import pytest
import shapely
from mesh_checks import assert_closed, assert_outward
from pydantic import ValidationError
from scipy import ndimage

from pipelines.synth.base.occupancy import walkable_grid
from pipelines.synth.generate import WorldConfig, generate_world
from scenegraph.labels import nyu40

LABELS = nyu40()
SHEETS = ("wall", "floor", "ceiling")
QUICK = [(1, 1, 0), (2, 1, 1), (3, 1, 2), (4, 1, 3), (8, 1, 6), (4, 2, 7)]
THOROUGH = [(1 + k % 8, 1 + k // 8 % 3, 100 + k) for k in range(30)]
SOME = [THOROUGH[k] for k in (4, 13, 17, 19)]
"""Those of the default tests: up to three storeys, straight and turned."""
CASES = [
    *QUICK,
    *(pytest.param(*case, marks=getattr(pytest.mark, "slow" if case in SOME else "full")) for case in THOROUGH),
]
each_world = pytest.mark.parametrize(("rooms", "storeys", "seed"), CASES)


@cache
def world(rooms, storeys, seed):
    """A world with changes; every third is turned against the axes."""
    counts = {"visits": 2, "moved": 3, "added": 2, "removed": 2}
    return generate_world(
        WorldConfig(rooms=rooms, storeys=storeys, clutter=1.3, turn_deg=23.0 * (seed % 3 == 0), **counts), seed
    )


def triangles(body, visit):
    """(F, 3, 3) world triangles of a body."""
    T = body.poses[visit]
    corners = np.concatenate([part.vertices[part.faces] for part in body.parts])
    return corners @ T[:3, :3].T + T[:3, 3]


def present(w, visit, *, structure):
    return [b for b in w.bodies if b.poses[visit] is not None and (LABELS.name_of(b.label_id) in SHEETS) == structure]


def scene_of(corners):
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    vertices = corners.reshape(-1, 3).astype(np.float32)
    scene.add_triangles(
        o3d.core.Tensor(vertices), o3d.core.Tensor(np.arange(len(vertices), dtype=np.uint32).reshape(-1, 3))
    )
    return scene


def enclosed(points, corners, depth):
    """Whether points lie deeper than `depth` inside closed triangles: winding along three rays, and distance to the surface."""
    import open3d as o3d

    scene = scene_of(corners)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inside = np.ones(len(points), bool)
    for direction in ((0.011, 0.0057, 1.0), (1.0, 0.013, 0.0171), (-0.0123, -1.0, 0.0231)):
        rays = np.concatenate([points, np.tile(direction, (len(points), 1))], axis=1).astype(np.float32)
        hits = scene.list_intersections(o3d.core.Tensor(rays))
        sign = np.sign(normals[hits["primitive_ids"].numpy()] @ np.array(direction))
        inside &= np.bincount(hits["ray_ids"].numpy(), weights=sign, minlength=len(points)) > 0.5
    if inside.any():
        inside[inside] = scene.compute_distance(o3d.core.Tensor(points[inside].astype(np.float32))).numpy() > depth
    return inside


def surface_samples(corners, count):
    rng = np.random.default_rng(0)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(corners), count, p=area / area.sum())]
    weights = rng.dirichlet((1.0, 1.0, 1.0), count)
    return np.concatenate([np.einsum("nk,nkd->nd", weights, chosen), corners.reshape(-1, 3)])


@each_world
def test_no_body_reaches_into_another(rooms, storeys, seed):
    w = world(rooms, storeys, seed)
    for visit in (0, 1):
        bodies = present(w, visit, structure=False)
        corners = [triangles(body, visit) for body in bodies]
        same = [visit == 1 and b.poses[0] is not None and np.array_equal(*b.poses) for b in bodies]
        low = np.array([c.min(axis=(0, 1)) for c in corners])
        high = np.array([c.max(axis=(0, 1)) for c in corners])
        for i, j in product(range(len(bodies)), repeat=2):
            a, b = np.maximum(low[i], low[j]), np.minimum(high[i], high[j])
            if i == j or (b - a < 0.002).any() or (same[i] and same[j]):
                continue
            points = surface_samples(corners[i], 200)
            points = points[((points >= a) & (points <= b)).all(axis=1)]
            if len(points):
                count = int(enclosed(points, corners[j], 0.002).sum())
                assert count == 0, (
                    f"visit {visit}: {bodies[i].name} {bodies[i].number} in {bodies[j].name} {bodies[j].number}"
                )


@each_world
def test_things_lie_inside_one_room_and_rest_on_something(rooms, storeys, seed):
    w = world(rooms, storeys, seed)
    polygons = [shapely.Polygon(room.polygon).buffer(1e-6) for room in w.rooms]
    by_number = {body.number: body for body in w.bodies}
    for visit, body in product((0, 1), w.bodies):
        if body.poses[visit] is None or LABELS.name_of(body.label_id) in (*SHEETS, "door", "window", "otherstructure"):
            continue
        points = triangles(body, visit).reshape(-1, 3)
        inside = [
            bool(shapely.contains_xy(polygon, points[:, 0], points[:, 1]).all())
            and room.z_range[0] < points[:, 2].min()
            and points[:, 2].max() < room.z_range[1]
            for room, polygon in zip(w.rooms, polygons, strict=True)
        ]
        assert sum(inside) == 1, f"{body.name} is in {sum(inside)} rooms at visit {visit}"
        if body.supported_by and by_number[body.supported_by].poses[visit] is not None:
            support = by_number[body.supported_by].box(visit)
            base = points[:, 2].min()
            bottom, top = support.center[2] - support.size[2] / 2, support.center[2] + support.size[2] / 2
            assert bottom < base <= top + 0.003, f"{body.name} does not stand on {by_number[body.supported_by].name}"
            middle = support.rotation.T @ (body.box(visit).center - support.center)
            assert (np.abs(middle[:2]) <= support.size[:2] / 2 + 1e-6).all()


@each_world
def test_structure_closes_off_the_rooms_and_looks_into_them(rooms, storeys, seed):
    """Rays from walkable positions hit something, and always its front."""
    import open3d as o3d

    w = world(rooms, storeys, seed)
    rng = np.random.default_rng(seed)
    corners = np.concatenate([triangles(body, 0) for body in w.bodies if body.poses[0] is not None])
    scene = scene_of(corners)
    for storey in range(storeys):
        origin, cell, grid = walkable_grid(w, storey, 0)
        cells = np.argwhere(grid)
        eyes = origin + (cells[rng.integers(len(cells), size=3000)] + 0.5) * cell
        directions = rng.normal(size=(3000, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        rays = np.column_stack((eyes, np.full(3000, w.storeys[storey][0] + 1.6), directions)).astype(np.float32)
        hit = scene.cast_rays(o3d.core.Tensor(rays))
        assert np.isfinite(hit["t_hit"].numpy()).all(), "a ray leaves the building"
        facing = np.einsum("ij,ij->i", hit["primitive_normals"].numpy(), rays[:, 3:])
        assert (facing < 1e-3).all(), "a surface is seen from behind"


@each_world
def test_one_can_walk_through_all_rooms(rooms, storeys, seed):
    w = world(rooms, storeys, seed)
    for visit, storey in product((0, 1), range(storeys)):
        origin, cell, grid = walkable_grid(w, storey, visit)
        numbers, _ = ndimage.label(grid)
        largest = int(np.argmax(np.bincount(numbers.ravel())[1:])) + 1
        xy = origin + (np.argwhere(numbers == largest) + 0.5) * cell
        for room in w.rooms:
            if room.storey == storey:
                reached = shapely.contains_xy(shapely.Polygon(room.polygon), xy[:, 0], xy[:, 1]).sum() * cell**2
                assert reached > 0.1, f"{room.kind} {room.number} cannot be reached at visit {visit}"


@each_world
def test_openings_join_the_rooms_they_name_and_join_all(rooms, storeys, seed):
    w = world(rooms, storeys, seed)
    by_number = {room.number: room for room in w.rooms}
    reached, edges = {w.rooms[0].number}, [opening.rooms for opening in w.openings]
    for opening in w.openings:
        first, second = (by_number[number] for number in opening.rooms)
        ends = opening.waypoints[0], opening.waypoints[-1]
        for room, end in zip((first, second), ends, strict=True):
            assert shapely.Polygon(room.polygon).contains(shapely.Point(end[:2]))
            assert end[2] == pytest.approx(room.z_range[0])
        assert np.linalg.norm(opening.direction) == pytest.approx(1.0)
        assert np.dot(ends[1][:2] - ends[0][:2], opening.direction) > 0
        assert opening.kind == ("stair" if first.storey != second.storey else opening.kind)
        if opening.kind != "stair":
            assert 0.78 <= opening.width <= 2.0
            assert 2.0 <= opening.height <= 2.1
    for _ in w.rooms:
        reached |= {n for edge in edges if reached & set(edge) for n in edge}
    assert reached == set(by_number)
    assert len(w.rooms) == rooms * storeys
    assert len(w.storeys) == storeys


@each_world
def test_closed_bodies_are_watertight_and_numbers_are_unique(rooms, storeys, seed):
    w = world(rooms, storeys, seed)
    assert [body.number for body in w.bodies] == list(range(1, len(w.bodies) + 1))
    for body in w.bodies:
        name = LABELS.name_of(body.label_id)
        assert body.is_object == (LABELS.by_id[body.label_id].kind == "object")
        if name in SHEETS:
            continue
        for part in body.parts:
            assert_closed(part.faces, body.name)
            assert_outward(part.vertices, part.faces, body.name)
    per_room = sum(len(part.faces) for body in w.bodies for part in body.parts) / len(w.rooms)
    assert per_room < 60000


@each_world
def test_changes_between_visits_are_counted_by_what_moves_itself(rooms, storeys, seed):
    w = world(rooms, storeys, seed)
    gone = [b for b in w.bodies if b.poses[1] is None]
    new = [b for b in w.bodies if b.poses[0] is None]
    moved = {b.number: b for b in w.bodies if b not in gone and b not in new and not np.array_equal(*b.poses)}
    first = [b for b in moved.values() if b.supported_by not in moved]
    assert len(new) <= 2
    assert len(gone) <= 2
    assert len(first) <= 3
    if rooms * storeys > 2:
        assert len(new) == 2
        assert len(gone) == 2
        assert len(first) == 3
    for body in first:
        assert np.linalg.norm(body.poses[0][:2, 3] - body.poses[1][:2, 3]) >= 0.8
    for body in moved.values():
        if body.supported_by in moved:  # it keeps its position on its support
            carrier = moved[body.supported_by]
            relative = [np.linalg.inv(carrier.poses[k]) @ body.poses[k] for k in (0, 1)]
            np.testing.assert_allclose(relative[0], relative[1], atol=1e-9)


def digest(w):
    """A hash of every number of a world."""
    sha = hashlib.sha256()
    for room in w.rooms:
        sha.update(f"{room.number} {room.kind} {room.storey} {room.z_range}".encode() + room.polygon.tobytes())
    for opening in w.openings:
        sha.update(f"{opening.rooms} {opening.kind} {opening.width}".encode() + opening.waypoints.tobytes())
    for body in w.bodies:
        sha.update(f"{body.number} {body.label_id} {body.name} {body.supported_by}".encode())
        for pose in body.poses:
            sha.update(b"-" if pose is None else pose.tobytes())
        for part in body.parts:
            sha.update(part.vertices.tobytes() + part.faces.tobytes() + repr(astuple(part.material)).encode())
    for light in w.lights:
        sha.update(light.position.tobytes() + repr(light.intensity).encode())
    return sha.hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_another_process():
    here = digest(world(4, 2, 7))
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_generate as t; print(t.digest(t.world(4, 2, 7)))"
    folder = str(__file__).rsplit("/", 1)[0]
    paths = ":".join([folder.rsplit("/", 2)[0], folder.rsplit("/", 3)[0]])
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "17"}
    there = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True, env=environment
    )
    assert there.stdout.strip() == here
    assert digest(world(4, 1, 3)) != here


def test_changes_leave_the_first_visit_as_it_is():
    plain = generate_world(WorldConfig(rooms=3), 11)
    changed = generate_world(WorldConfig(rooms=3, visits=2, moved=2, added=1, removed=1), 11)
    before = [body for body in changed.bodies if body.poses[0] is not None]
    assert len(before) == len(plain.bodies)
    for a, b in zip(plain.bodies, before, strict=True):
        np.testing.assert_array_equal(a.poses[0], b.poses[0])
        assert a.name == b.name


def test_a_turned_building_is_the_same_seen_from_elsewhere():
    straight, turned = (generate_world(WorldConfig(rooms=3, turn_deg=angle), 4) for angle in (0.0, 30.0))
    corners = np.concatenate([room.polygon for room in straight.rooms])
    np.testing.assert_allclose(corners.min(axis=0) + corners.max(axis=0), 0.0, atol=1e-9)
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    for a, b in zip(straight.bodies, turned.bodies, strict=True):
        np.testing.assert_allclose(triangles(b, 0), triangles(a, 0) @ R.T, atol=1e-9)
    for a, b in zip(straight.rooms, turned.rooms, strict=True):
        np.testing.assert_allclose(b.polygon, a.polygon @ R[:2, :2].T, atol=1e-9)
    for a, b in zip(straight.openings, turned.openings, strict=True):
        np.testing.assert_allclose(b.waypoints, a.waypoints @ R.T, atol=1e-9)
    for a, b in zip(straight.lights, turned.lights, strict=True):
        np.testing.assert_allclose(b.position, R @ a.position, atol=1e-9)
    areas = [walkable_grid(w, 0, 0)[2].sum() for w in (straight, turned)]
    assert areas[1] == pytest.approx(areas[0], rel=0.1)


def test_every_class_but_people_comes_up_over_seeds():
    seen = {body.label_id for case in QUICK for body in world(*case).bodies}
    missing = {name for name in LABELS.names if LABELS.id_of(name) not in seen} - {"unknown", "person"}
    assert len(missing) <= 4, missing


@pytest.mark.full
def test_every_class_but_people_comes_up_over_many_seeds():
    seen = {body.label_id for case in [*QUICK, *THOROUGH] for body in world(*case).bodies}
    missing = {name for name in LABELS.names if LABELS.id_of(name) not in seen} - {"unknown", "person"}
    assert not missing


def test_clutter_adds_small_things():
    counts = [len(generate_world(WorldConfig(rooms=2, clutter=amount), 4).bodies) for amount in (0.0, 1.0, 3.0)]
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rooms": 0}, "rooms"),
        ({"rooms": 9}, "rooms"),
        ({"storeys": 4}, "storeys"),
        ({"visits": 3}, "visits"),
        ({"moved": 1}, "visits"),
        ({"added": -1, "visits": 2}, "added"),
        ({"clutter": 4.0}, "clutter"),
        ({"room": 3}, "room"),
        ({"turn_deg": 200.0}, "turn_deg"),
    ],
)
def test_configurations_that_make_no_world_are_rejected(fields, said):
    with pytest.raises(ValidationError, match=said):
        WorldConfig(**fields)


def touching_boxes(w):
    """Pairs of objects of one name on the floor whose boxes are side by side, less than 5 mm apart."""
    things = [body for body in w.bodies if body.is_object and not body.supported_by]
    pairs = []
    for k, a in enumerate(things):
        for b in things[k + 1 :]:
            if a.name != b.name:
                continue
            one, other = a.box(0), b.box(0)
            gap = np.abs(one.rotation.T @ (other.center - one.center)) - (one.size + other.size) / 2
            if (gap[1:] < 0).all() and abs(gap[0]) < 0.005 and np.allclose(one.rotation, other.rotation):
                pairs.append((a, b))
    return pairs


@pytest.mark.parametrize(("rooms", "seed", "wanted"), [(1, 304, 1), (6, 301, 2)])
def test_pairs_that_touch_are_added_to_a_share_of_the_rooms(rooms, seed, wanted):
    plain = generate_world(WorldConfig(rooms=rooms), seed)
    paired = generate_world(WorldConfig(rooms=rooms, touching=1 / 3), seed)
    found = touching_boxes(paired)
    assert len(found) - len(touching_boxes(plain)) == wanted
    assert {LABELS.name_of(a.label_id) for a, _ in found} <= {"chair", "cabinet"}
    for room, other in zip(plain.rooms, paired.rooms, strict=True):
        assert np.array_equal(room.polygon, other.polygon)
