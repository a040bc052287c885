"""A furnished synthetic apartment or house from a few numbers and a seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from mapping.se3 import from_rotation_translation, transform_points, yaw_rotation
from pipelines.synth.base.materials import Style, room_finish
from pipelines.synth.base.plan import BuildingPlan, Construction, StoreyPlan
from pipelines.synth.base.world import Body, Light, Opening, SynthRoom, World
from pipelines.synth.building.layout import layout_storeys
from pipelines.synth.building.openings import open_storey
from pipelines.synth.building.structure import BodyList, build_structure
from pipelines.synth.furnishing.changes import ChangeCounts, Presence, one_visit, two_visits
from pipelines.synth.furnishing.clutter import clutter_room
from pipelines.synth.furnishing.pairs import touching_pairs
from pipelines.synth.furnishing.placement import RoomScene
from pipelines.synth.furnishing.rooms import furnish
from pipelines.synth.furnishing.scenes import ensure_access, room_scenes
from pipelines.synth.furniture.catalogue import Library
from scenegraph.labels import nyu40

Array = NDArray[np.float64]

STREAMS = ("layout", "openings", "style", "furniture", "clutter", "changes", "pairs")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WorldConfig:
    """Contents of a synthetic world."""

    rooms: int = Field(default=4, ge=1, le=8)
    """Rooms on each storey, the hallway counted."""
    storeys: int = Field(default=1, ge=1, le=3)
    """Storeys, connected by stairs."""
    visits: int = Field(default=1, ge=1, le=2)
    """Number of visits of the camera; objects change between the first and the second visit."""
    moved: int = Field(default=0, ge=0, le=100)
    """Objects that have moved on the second visit (with the objects on them)."""
    added: int = Field(default=0, ge=0, le=100)
    """Objects that are present only on the second visit."""
    removed: int = Field(default=0, ge=0, le=100)
    """Objects that are present only on the first visit."""
    clutter: float = Field(default=1.0, ge=0.0, le=3.0)
    """Amount of small objects: 0 none, 1 lived in, 3 very cluttered."""
    touching: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the rooms, rounded up, with two chairs or cabinets side by side, 2 mm apart."""
    turn_deg: float = Field(default=0.0, ge=-180.0, le=180.0)
    """Rotation of the whole building about the vertical relative to the world's axes, in degrees."""
    models: Path | None = None
    """Folder with OBJ furniture catalogues (*.sh3f) that replace some of the parametric furniture."""

    @model_validator(mode="after")
    def _changes_need_two_visits(self) -> WorldConfig:
        if self.visits < 2 and self.moved + self.added + self.removed > 0:
            raise ValueError("moved, added and removed are changes between two visits: set visits to 2")
        return self


def generate_world(config: WorldConfig, seed: int) -> World:
    """A world from a configuration and a seed; equal inputs give bitwise equal arrays.

    Each part draws from its own random stream, so that, for example, another number of changes does not affect the rooms and
    their furniture.
    """
    streams = {
        name: np.random.default_rng(sequence)
        for name, sequence in zip(STREAMS, SeedSequence(seed).spawn(len(STREAMS)), strict=True)
    }
    plan = plan_building(streams["layout"], streams["openings"], config)
    library = Library.read(config.models) if config.models is not None else None
    style = replace(Style.draw(streams["style"]), models=library)
    finishes = [[room_finish(streams["style"], style, room.kind) for room in floor.rooms] for floor in plan.storeys]
    bodies = BodyList(config.visits)
    build_structure(plan, finishes, style, bodies)
    scenes = [(storey, scene) for storey in range(len(plan.storeys)) for scene in room_scenes(plan, storey)]
    seeds = {name: streams[name].integers(1 << 62, size=len(scenes)) for name in ("furniture", "clutter")}
    for number, (storey, scene) in enumerate(scenes):
        rng = np.random.default_rng(int(seeds["furniture"][number]))
        windows = [w for w in plan.storeys[storey].windows if w.room == scene.index]
        furnish(rng, style, scene, windows, also=_missing_kinds(plan.storeys, storey, scene.plan.kind))
    touching_pairs(streams["pairs"], style, [scene for _, scene in scenes], config.touching)
    for number, (_, scene) in enumerate(scenes):
        clutter_room(np.random.default_rng(int(seeds["clutter"][number])), style, scene, config.clutter)
    lights = tuple(light for _, scene in scenes for light in room_lights(scene))
    rooms_only = [scene for _, scene in scenes]
    if config.visits == 2:
        counts = ChangeCounts(config.moved, config.added, config.removed)
        presences = two_visits(streams["changes"], style, rooms_only, counts)
    else:
        presences = one_visit(rooms_only)
    furniture = _bodies(presences, len(bodies.bodies))
    rooms = _rooms(plan)
    world = World(
        seed=seed,
        visits=config.visits,
        rooms=rooms,
        openings=_openings(plan, rooms),
        bodies=(*bodies.bodies, *furniture),
        lights=lights,
        credits=tuple(library.used) if library is not None else (),
        storeys=tuple((plan.floor_z(k), plan.floor_z(k) + plan.construction.ceiling) for k in range(len(plan.storeys))),
    )
    return set_down(world, np.radians(config.turn_deg))


def set_down(world: World, turn: float) -> World:
    """The world rotated about the vertical by `turn` radians, the centre of its rooms' bounds above the origin."""
    corners = np.concatenate([room.polygon for room in world.rooms])
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    R = yaw_rotation(turn)
    T = from_rotation_translation(R, -R @ [*middle, 0.0])

    def polygon(points: Array) -> Array:
        return (points - middle) @ R[:2, :2].T

    rooms = tuple(replace(room, polygon=polygon(room.polygon)) for room in world.rooms)
    openings = tuple(
        replace(
            o,
            position=transform_points(T, o.position),
            direction=R[:2, :2] @ o.direction,
            waypoints=transform_points(T, o.waypoints),
        )
        for o in world.openings
    )
    bodies = tuple(
        replace(body, poses=tuple(None if pose is None else T @ pose for pose in body.poses)) for body in world.bodies
    )
    lights = tuple(replace(light, position=transform_points(T, light.position)) for light in world.lights)
    return replace(world, rooms=rooms, openings=openings, bodies=bodies, lights=lights)


def plan_building(layout: Generator, openings: Generator, config: WorldConfig) -> BuildingPlan:
    """Rooms and openings of all storeys."""
    inner_wall = float(layout.choice([0.1, 0.12, 0.15, 0.18]))
    layout.choice(3)  # nothing takes it, but without it every seed would be another building
    construction = Construction(
        inner_wall=inner_wall,
        slab=float(layout.choice([0.25, 0.3])),
        ceiling=float(layout.choice([2.4, 2.5, 2.6, 2.75, 3.0])),
    )
    rooms, stairs = layout_storeys(layout, config.rooms, config.storeys, construction)
    storeys = []
    for storey, plans in enumerate(rooms):
        flights = stairs[max(storey - 1, 0) : storey + 1]
        storeys.append(open_storey(openings, plans, construction, flights, ground=storey == 0))
    return ensure_access(BuildingPlan(construction, tuple(storeys), tuple(stairs)))


def _missing_kinds(storeys: tuple[StoreyPlan, ...], storey: int, kind: str) -> list[str]:
    """Functions of a living room on its storey: cooking, eating and sleeping where there is no room for them."""
    kinds = [room.kind for room in storeys[storey].rooms]
    if kind != "living_room" or storey > 0:
        return []
    missing = [] if "dining_room" in kinds or "kitchen" in kinds else ["dining_room"]
    if "kitchen" not in kinds and len(kinds) < 3:
        missing.append("kitchen")
    if len(kinds) == 1 and len(storeys) == 1:
        missing.insert(0, "bedroom")
    return missing


def room_lights(scene: RoomScene) -> list[Light]:
    """A point light below each ceiling lamp, in the bulb of each table and floor lamp; brighter in larger rooms."""
    lights = []
    ceiling = [i for i in scene.items if i.model.name in ("ceiling lamp", "pendant lamp")]
    for item in ceiling:
        power = 0.34 * scene.plan.area / len(ceiling) + 0.6
        lights.append(Light(np.array([item.x, item.y, item.z - 0.04]), (power, 0.93 * power, 0.82 * power)))
    for item in scene.items:
        if item.model.name in ("table lamp", "floor lamp"):
            power = 0.5
            z = item.z + float(item.model.size[2]) + 0.03
            lights.append(Light(np.array([item.x, item.y, z]), (power, 0.82 * power, 0.6 * power)))
    return lights


def _bodies(presences: list[Presence], first: int) -> list[Body]:
    """Objects as bodies numbered after the structure, with their pose at each visit."""
    labels = nyu40()
    objects = labels.ids_of_kind("object")
    number = {id(p): first + 1 + k for k, seen in enumerate(presences) for p in seen.places if p is not None}
    bodies = []
    for seen in presences:
        item = seen.first
        label = labels.id_of(item.model.label)
        bodies.append(
            Body(
                number=number[id(item)],
                label_id=label,
                parts=item.model.parts,
                poses=tuple(None if place is None else place.pose for place in seen.places),
                is_object=label in objects,
                name=item.model.name,
                supported_by=number[id(item.support)] if item.support is not None else 0,
            )
        )
    return bodies


def _rooms(plan: BuildingPlan) -> tuple[SynthRoom, ...]:
    rooms: list[SynthRoom] = []
    for storey, floor in enumerate(plan.storeys):
        z = plan.floor_z(storey)
        for room in floor.rooms:
            rooms.append(SynthRoom(len(rooms) + 1, room.kind, room.polygon, (z, z + plan.construction.ceiling), storey))
    return tuple(rooms)


def _openings(plan: BuildingPlan, rooms: tuple[SynthRoom, ...]) -> tuple[Opening, ...]:
    """Doors and passages storey by storey, then stairs."""
    first = [next(r.number for r in rooms if r.storey == k) for k in range(len(plan.storeys))]
    openings = []
    for storey, floor in enumerate(plan.storeys):
        z = plan.floor_z(storey)
        for door in floor.doors:
            reach = door.direction * (plan.construction.inner_wall / 2 + 0.4)
            points = [np.array([*(door.center + k * reach), z]) for k in (-1.0, 0.0, 1.0)]
            numbers = (first[storey] + door.rooms[0], first[storey] + door.rooms[1])
            openings.append(
                Opening(numbers, points[1], door.width, door.height, door.direction, door.kind, np.stack(points))
            )
    for storey, stair in enumerate(plan.stairs):
        z0, z1 = plan.floor_z(storey), plan.floor_z(storey + 1)
        y = (stair.y0 + stair.y1) / 2
        waypoints = np.array([(stair.x0 - 0.5, y, z0), (stair.x0, y, z0), (stair.x1, y, z1), (stair.x1 + 0.5, y, z1)])
        numbers = (first[storey] + stair.rooms[0], first[storey + 1] + stair.rooms[1])
        width = stair.y1 - stair.y0
        openings.append(Opening(numbers, waypoints[1], width, 2.05, np.array([1.0, 0.0]), "stair", waypoints))
    return tuple(openings)
