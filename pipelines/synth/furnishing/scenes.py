"""Rooms before they are furnished: areas reserved for doors, leaves, the entrance and stairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from pipelines.synth.base.plan import BuildingPlan, DoorPlan, StairPlan
from pipelines.synth.building.openings import CASING, FRAME, clear_zone, leaf_footprint
from pipelines.synth.furnishing.placement import KeepOut, RoomScene

Array = NDArray[np.float64]


def room_scenes(plan: BuildingPlan, storey: int) -> list[RoomScene]:
    """The empty rooms of a storey with their reserved areas."""
    floor, construction = plan.storeys[storey], plan.construction
    z = plan.floor_z(storey)
    scenes = []
    for index, room in enumerate(floor.rooms):
        keep: list[KeepOut] = []
        targets: list[Array] = []
        for door in floor.doors:
            if index not in door.rooms:
                continue
            second = door.rooms[1] == index
            keep.append(KeepOut(clear_zone(room, door, into_second=second), 0.02, 2.2))
            inward = door.direction if second else -door.direction
            targets.append(door.center + inward * (construction.inner_wall / 2 + 0.34))
            keep.append(KeepOut(_casing_zone(door, inward, construction.inner_wall), 0.0, door.height + 0.13))
            if door.leaf_room == index:
                keep.append(KeepOut(leaf_footprint(door, construction.inner_wall), 0.0, 2.2))
        if floor.entrance is not None and floor.entrance.room == index:
            side = np.array([-floor.entrance.outward[1], floor.entrance.outward[0]]) * 0.55
            base = floor.entrance.center
            inside = base - floor.entrance.outward * 0.9
            keep.append(KeepOut(shapely.Polygon([base - side, base + side, inside + side, inside - side]), 0.02, 2.2))
            targets.append(base - floor.entrance.outward * 0.45)
        scene = RoomScene(index, room, z, construction.ceiling, keep, targets)
        for stair, lower in _flights(plan, storey):
            if index == 0:
                _keep_stair(scene, stair, lower=lower)
        for area in keep:
            if area.z0 == 0.0:
                scene.block(area.area)
        scenes.append(scene)
    return scenes


def _casing_zone(door: DoorPlan, inward: Array, wall: float) -> shapely.Polygon:
    """The strip of wall around a door that its casing covers, seen from above."""
    side = np.array([-inward[1], inward[0]]) * (door.width / 2 + FRAME + CASING + 0.01)
    face = door.center + inward * wall / 2
    return shapely.Polygon([face - side, face + side, face + side + 0.03 * inward, face - side + 0.03 * inward])


def _flights(plan: BuildingPlan, storey: int) -> list[tuple[StairPlan, bool]]:
    """Flights that start (True) or arrive (False) on a storey."""
    flights = [(plan.stairs[storey], True)] if storey < len(plan.stairs) else []
    return flights + ([(plan.stairs[storey - 1], False)] if storey > 0 else [])


def _keep_stair(scene: RoomScene, stair: StairPlan, *, lower: bool) -> None:
    """Reserve a flight or its hole, and the floor at its ends, against furniture, and keep walkers off it."""
    body = shapely.box(stair.x0, stair.y0 - 0.08, stair.x1, stair.y1)
    scene.block(body)
    end = stair.x0 - 0.5 if lower else stair.x1 + 0.5
    landing = shapely.box(end - 0.48, stair.y0 - 0.1, end + 0.48, stair.y1)
    scene.keep_out += [KeepOut(body, 0.0, scene.height), KeepOut(landing, 0.02, 2.2)]
    scene.targets.append(np.array([end, (stair.y0 + stair.y1) / 2]))


def ensure_access(plan: BuildingPlan) -> BuildingPlan:
    """The plan with the leaf of a door removed where an open one would cut off a path through an empty room."""
    for storey in range(len(plan.storeys)):
        for _ in range(2):
            stuck = [s.index for s in room_scenes(plan, storey) if not s.grid.connected(s.grid.free, s.targets, 0.0)]
            if stuck:
                plan = _without_leaves(plan, storey, stuck)
    return plan


def _without_leaves(plan: BuildingPlan, storey: int, rooms: Sequence[int]) -> BuildingPlan:
    def open_up(door: DoorPlan) -> DoorPlan:
        return replace(door, leaf_room=-1) if door.leaf_room in rooms else door

    floor = plan.storeys[storey]
    changed = replace(floor, doors=tuple(open_up(door) for door in floor.doors))
    storeys = tuple(changed if k == storey else other for k, other in enumerate(plan.storeys))
    return replace(plan, storeys=storeys)
