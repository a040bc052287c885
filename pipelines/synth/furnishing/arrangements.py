"""Groups of furniture that belong together: a sofa before a television, chairs around a table, a kitchen run, a bed, a desk."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.random import Generator

from pipelines.synth.base.materials import Style
from pipelines.synth.base.model import Model
from pipelines.synth.base.plan import WallEdge
from pipelines.synth.furnishing.placement import REST, Item, RoomScene, yaw_facing
from pipelines.synth.furniture import bath, bedroom, decor, kitchen, props, seating, storage, tables


def sofa_group(rng: Generator, style: Style, room: RoomScene) -> Item | None:
    """A television on a stand at one wall, a sofa that faces it, a rug with a coffee table between them, an armchair.

    Where no two walls allow that, a sofa at a wall with its table and rug.
    """
    sofa = seating.sofa(rng, style)
    for _ in range(3):
        seat = _facing_television(rng, style, room, sofa)
        if seat is not None:
            return seat
    seat = room.at_wall(rng, sofa, front=0.5, tries=20)
    if seat is not None:
        _lounge(rng, style, room, seat, 2.2)
    return seat


def _facing_television(rng: Generator, style: Style, room: RoomScene, sofa: Model) -> Item | None:
    """The sofa opposite a television on a stand of some width, with the furniture between; None where that does not fit."""
    stand = storage.tv_stand(rng, style)
    half = float(stand.size[0]) / 2
    for edge in room.edges(rng, 2 * half + 0.1):
        stretches = [s for s in room.free_stretches(edge, float(stand.size[1]), 1.2) if s[1] - s[0] > 2 * half]
        for low, high in stretches * 3:
            along = float(rng.uniform(low + half, high - half))
            distance = _free_depth(room, edge, along)
            reach = distance - float(stand.size[1]) - float(sofa.size[1]) - 0.05
            if reach < 1.1:
                continue
            bench = room.at_edge(stand, edge, along)
            if bench is None:
                continue
            near = float(stand.size[1] + sofa.size[1] / 2) + 2.4
            x, y = edge.point(along, distance - float(sofa.size[1]) / 2 - 0.03 if reach < 2.9 else near)
            seat = None
            if _television(rng, style, room, bench):
                seat = room.try_at(sofa, float(x), float(y), yaw_facing(-edge.inward))
            if seat is None:
                room.remove_with_load(bench)
                continue
            gap = float(np.hypot(seat.x - bench.x, seat.y - bench.y)) - float(sofa.size[1] + stand.size[1]) / 2
            _lounge(rng, style, room, seat, gap)
            return seat
    return None


def _free_depth(room: RoomScene, edge: WallEdge, along: float) -> float:
    """Distance from a wall to the opposite one, in metres."""
    start, end = edge.point(along, 0.01), edge.point(along, 30.0)
    inside = shapely.LineString([start, end]).intersection(room.polygon)
    first = inside if isinstance(inside, shapely.LineString) else shapely.get_parts(inside)[0]
    return float(first.length) + 0.01


def _television(rng: Generator, style: Style, room: RoomScene, stand: Item) -> bool:
    """Whether a television was placed on the stand."""
    if not stand.model.surfaces:
        return False
    surface = stand.model.surfaces[-1]
    for _ in range(6):
        model = props.television(rng, style)
        if model.size[0] <= surface.x[1] - surface.x[0]:
            return room.put_on(model, stand, surface, (0.0, 0.0), 0.0) is not None
    return False


def _lounge(rng: Generator, style: Style, room: RoomScene, sofa: Item, gap: float) -> None:
    """Rug, coffee table and optionally an armchair in front of a sofa that has `gap` metres free before it."""
    table = tables.coffee_table(rng, style)
    mat = None
    front = float(sofa.model.size[1]) / 2
    if rng.random() < 0.65 and gap > 1.2:
        width, depth = float(min(sofa.model.size[0] + 0.2, 2.4)), min(gap - 0.35, 1.5)
        rug = decor.rug(rng, style, width, depth)
        x, y = sofa.to_building(0.0, front + 0.05 + depth / 2)
        mat = room.try_at(rug, x, y, sofa.yaw, soft=False)
    step = min(0.38, max(0.28, (gap - float(table.size[1])) / 2 - 0.35))
    x, y = sofa.to_building(0.0, front + step + float(table.size[1]) / 2)
    if gap - step - table.size[1] > 0.62:
        room.try_at(table, x, y, sofa.yaw, soft=False, on=mat)
    if rng.random() < 0.6:
        chair = seating.armchair(rng, style)
        for side in rng.permutation([-1.0, 1.0]):
            across = float(side) * (float(sofa.model.size[0]) / 2 + 0.62)
            x, y = sofa.to_building(across, front + 0.75)
            turn = float(side) * float(rng.uniform(0.9, 1.5))
            if room.try_at(chair, x, y, sofa.yaw + turn) is not None:
                break


def dining_group(rng: Generator, style: Style, room: RoomScene, *, seats: int = 6) -> Item | None:
    """A table with chairs pushed in around it: in the centre of free floor, or with one end or its back at a wall."""
    seed = int(rng.integers(1 << 31))
    best: tuple[int, int, int] | None = None
    for attempt in range(10):
        plan = int(rng.integers(1 << 31))
        table, count = _try_dining(np.random.default_rng(plan), style, room, (seats, seed, attempt))
        if table is None:
            continue
        if count >= min(seats, 4):
            return table
        room.remove_with_load(table, also=[item for item in room.items if item.model.name == "dining chair"])
        if best is None or count > best[0]:
            best = (count, plan, attempt)
    if best is None:
        return None
    return _try_dining(np.random.default_rng(best[1]), style, room, (seats, seed, best[2]))[0]


def _try_dining(
    rng: Generator, style: Style, room: RoomScene, request: tuple[int, int, int]
) -> tuple[Item | None, int]:
    """One table at one place with as many chairs as fit; request: seats, seed of the chairs, number of the attempt."""
    seats, seed, attempt = request
    round_one = rng.random() < 0.35 or seats <= 3
    model = tables.round_table(rng, style) if round_one else tables.dining_table(rng, style)
    low, high = room.plan.polygon.min(axis=0), room.plan.polygon.max(axis=0)
    for k in range(6):
        if attempt % 2 == 0 or round_one:
            spread = 0.08 + 0.06 * k
            x, y = (low + high) / 2 + (high - low) * rng.uniform(-spread, spread, 2)
            yaw = float(rng.choice([0.0, np.pi / 2])) + float(rng.uniform(-0.04, 0.04))
        else:
            edge = room.edges(rng, 1.0)[0]
            end_on = rng.random() < 0.6
            depth = float(model.size[0 if end_on else 1]) / 2 + 0.03
            x, y = edge.point(float(rng.uniform(0.15, 0.85)) * edge.length, depth)
            yaw = yaw_facing(edge.inward) + (np.pi / 2 if end_on else 0.0)
        table = room.try_at(model, float(x), float(y), yaw)
        if table is not None:
            return table, _chairs(rng, style, room, table, (seats, seed))
    return None, 0


def _chairs(rng: Generator, style: Style, room: RoomScene, table: Item, seats_seed: tuple[int, int]) -> int:
    """Chairs that face the table, as many of the same kind as fit; returns their number."""
    seats, seed = seats_seed
    w, d = table.model.size[:2]
    model = seating.dining_chair(np.random.default_rng(seed), style)
    depth = float(model.size[1])
    tuck = 0.14
    spots: list[tuple[float, float, float]] = []
    if table.model.name == "round table":
        count = min(seats, 4)
        for k in range(count):
            angle = 2 * np.pi * k / count + 0.2
            r = float(w) / 2 + depth / 2 - tuck + 0.04
            spots.append((r * float(np.cos(angle)), r * float(np.sin(angle)), angle + np.pi / 2))
    else:
        a_side = max(1, int((w - 0.2) / 0.58))
        for sy in (-1, 1):
            for k in range(a_side):
                x = (k - (a_side - 1) / 2) * 0.6
                spots.append((x, sy * (float(d) / 2 + depth / 2 - tuck), np.pi if sy > 0 else 0.0))
        if seats > 4:
            spots += [(s * (float(w) / 2 + depth / 2 - tuck), 0.0, s * np.pi / 2) for s in (-1, 1)]
    placed = 0
    for x, y, turn in spots:
        if placed >= seats:
            break
        out = float(rng.uniform(0, 0.12)) if rng.random() < 0.7 else float(rng.uniform(0.1, 0.3))
        scale = 1 + out / max(float(np.hypot(x, y)), 0.3)
        at = table.to_building(x * scale, y * scale)
        yaw = table.yaw + turn + float(rng.uniform(-0.15, 0.15))
        placed += room.try_at(model, *at, yaw, soft=False) is not None
    return placed


def kitchen_run(rng: Generator, style: Style, room: RoomScene) -> bool:
    """Fridge, counters, sink and stove side by side along the longest free stretch of wall, cabinets and a hood above."""
    stretches = [
        (edge, low, high)
        for edge in room.plan.edges()
        for low, high in room.free_stretches(edge, kitchen.COUNTER_DEPTH + 0.05, kitchen.COUNTER_HEIGHT)
    ]
    for edge, low, high in sorted(stretches, key=lambda s: s[1] - s[2])[:4]:
        for shorter in (0.0, 0.5, 1.0):
            units = _kitchen_units(rng, style, high - low - shorter)
            length = sum(float(model.size[0]) for model in units) + 0.01 * len(units)
            if length > high - low:
                continue
            offset = low + float(rng.choice([0.0, 1.0])) * (high - low - length)
            items: list[Item] = []
            for model in units:
                item = room.at_edge(model, edge, offset + float(model.size[0]) / 2 + 0.004)
                if item is not None:
                    items.append(item)
                offset += float(model.size[0]) + 0.01
            if len(items) == len(units) or (shorter == 1.0 and any(i.model.label == "counter" for i in items)):
                _kitchen_upper(rng, style, room, edge, items)
                return True
            for item in items:
                room.remove(item)
    return False


def _kitchen_units(rng: Generator, style: Style, length: float) -> list[Model]:
    """Base units that fill a wall of a length (metres) as completely as possible."""
    fridge, stove = kitchen.refrigerator(rng, style), kitchen.stove(rng, style)
    rest = length - float(fridge.size[0]) - float(stove.size[0]) - 0.05
    if rest < 0.7:
        return [kitchen.counter(rng, style, max(min(length - 0.02, 1.5), 0.8), sink=True)]
    rest = min(rest, 3.0)
    if rest < 1.5:
        units = [fridge, kitchen.counter(rng, style, rest, sink=True), stove]
    else:
        share = float(rng.uniform(0.5, 0.65)) * rest
        units = [
            fridge,
            kitchen.counter(rng, style, share, sink=True),
            stove,
            kitchen.counter(rng, style, rest - share),
        ]
    return units if rng.random() < 0.5 else units[::-1]


def _kitchen_upper(rng: Generator, style: Style, room: RoomScene, edge: WallEdge, items: list[Item]) -> None:
    """A sink in the cut-out, a hood over the stove and cabinets over the counters."""
    for item in items:
        along = float(np.dot(np.array([item.x, item.y]) - edge.start, edge.along))
        if item.model.label == "counter" and not _is_plain_top(item):
            sink = kitchen.kitchen_sink(rng, style)
            depth = -float(sink.solids[0, 2])
            basin = next(s for s in sink.solids if s[5] - s[2] > 0.1 and s[3] - s[0] > 0.4)
            rim = float(basin[5]) - 0.0045
            shift_y = -(float(basin[1]) + float(basin[4])) / 2
            x, y = item.to_building(-(float(basin[0]) + float(basin[3])) / 2, shift_y)
            z = item.z + kitchen.COUNTER_HEIGHT - rim + REST + depth * 0
            room.items.append(Item(sink, x, y, z, item.yaw, room.index, item))
        if item.model.name == "stove" and rng.random() < 0.8:
            room.hang(kitchen.extractor_hood(rng, style), edge, along, 1.55)
        elif item.model.label == "counter":
            half = float(item.model.size[0]) / 2
            at = along - half
            for _ in range(6):
                cabinet = storage.wall_cabinet(rng, style)
                if at + cabinet.size[0] <= along + half:
                    room.hang(cabinet, edge, at + float(cabinet.size[0]) / 2, 1.45)
                    at += float(cabinet.size[0]) + 0.012


def _is_plain_top(item: Item) -> bool:
    """Whether a counter has no cut-out: one worktop board spans its whole width."""
    top = item.model.solids[np.abs(item.model.solids[:, 5] - kitchen.COUNTER_HEIGHT) < 1e-6]
    return bool((top[:, 3] - top[:, 0]).max() > item.model.size[0] - 0.01 and len(top) == 1)


def bed_group(rng: Generator, style: Style, room: RoomScene) -> Item | None:
    """A bed with its head at a wall, night stands next to it and pillows on it."""
    for _ in range(4):
        model = bedroom.bed(rng, style)
        bed = room.at_wall(rng, model, tries=16, corner=0.35)
        if bed is not None:
            break
    else:
        return None
    for side in (-1, 1):
        stand = tables.night_stand(rng, style)
        x = side * (float(model.size[0] + stand.size[0]) / 2 + 0.05)
        y = -float(model.size[1]) / 2 + float(stand.size[1]) / 2
        room.try_at(stand, *bed.to_building(x, y), bed.yaw)
    if not model.surfaces:
        return bed
    surface = model.surfaces[0]
    pillow_rng = np.random.default_rng(int(rng.integers(1 << 31)))
    pillow = bedroom.pillow(pillow_rng, style)
    xs = [0.0] if model.size[0] < 1.2 else [-0.37, 0.37]
    for x in xs:
        y = (surface.y[0] + surface.y[1]) / 2 + float(rng.uniform(-0.02, 0.02))
        room.put_on(pillow, bed, surface, (x, y), float(rng.uniform(-0.12, 0.12)))
    return bed


def desk_group(rng: Generator, style: Style, room: RoomScene) -> Item | None:
    """A desk at a wall with a chair, a screen or laptop and a lamp."""
    model = tables.desk(rng, style)
    desk = room.at_wall(rng, model, tries=20, front=0.75)
    if desk is None:
        return None
    chair = seating.swivel_chair(rng, style) if rng.random() < 0.75 else seating.dining_chair(rng, style)
    for _ in range(8):
        x = float(rng.uniform(-0.2, 0.2)) * float(model.size[0])
        y = float(model.size[1]) / 2 + float(chair.size[1]) / 2 + float(rng.uniform(-0.02, 0.2))
        turn = np.pi + float(rng.uniform(-0.5, 0.5))
        if room.try_at(chair, *desk.to_building(x, y), desk.yaw + turn, soft=False) is not None:
            break
    if not model.surfaces:
        return desk
    surface = model.surfaces[0]
    if rng.random() < 0.6:
        room.put_on(props.monitor(rng, style), desk, surface, (0.0, surface.y[0] + 0.13), 0.0)
        room.put_on(props.keyboard(rng, style), desk, surface, (0.0, surface.y[0] + 0.38), 0.0)
    else:
        room.put_on(props.laptop(rng, style), desk, surface, (0.0, surface.y[0] + 0.3), float(rng.uniform(-0.2, 0.2)))
    if rng.random() < 0.7:
        side = float(rng.choice([-1.0, 1.0])) * (float(model.size[0]) / 2 - 0.2)
        room.put_on(
            decor.desk_lamp(rng, style), desk, surface, (side, surface.y[0] + 0.12), float(rng.uniform(-0.6, 0.6))
        )
    return desk


def bath_group(rng: Generator, style: Style, room: RoomScene) -> None:
    """Tub with curtain, basin with mirror, toilet with paper."""
    tub = room.at_wall(rng, bath.bathtub(rng, style), corner=0.95) if rng.random() < 0.85 else None
    model = bath.toilet(rng, style)
    toilet = room.at_wall(rng, model, tries=30, front=0.4, corner=0.15)
    if toilet is None and tub is not None:  # a toilet has priority over a tub
        room.remove(tub)
        tub = None
        toilet = room.at_wall(rng, model, tries=30, front=0.4, corner=0.15)
    basin = room.at_wall(rng, bath.basin(rng, style), tries=30, front=0.4, corner=0.3)
    if tub is not None:
        _shower_curtain(rng, style, room, tub)
    if basin is not None:
        edge, along = room.edge_behind(basin)
        room.hang(decor.mirror(rng, style), edge, along, 1.15)
    if toilet is not None:
        edge, along = room.edge_behind(toilet)
        for side in (-0.38, 0.38, -0.5, 0.5):
            if room.hang(props.toilet_paper(rng, style), edge, along + side, 0.65) is not None:
                break


def _shower_curtain(rng: Generator, style: Style, room: RoomScene, tub: Item) -> None:
    """A curtain that hangs from a rail over the front edge of a tub, outside of it."""
    model = bath.shower_curtain(rng, style)
    side = float(rng.choice([-1.0, 1.0])) * (float(tub.model.size[0]) - float(model.size[0])) / 2
    x, y = tub.to_building(side, float(tub.model.size[1]) / 2 + float(model.size[1]) / 2 + 0.012)
    item = Item(model, x, y, room.z + 0.3, tub.yaw, room.index)
    if room.fits(item, soft=False) and room.keeps_access(item):
        room.add(item)
