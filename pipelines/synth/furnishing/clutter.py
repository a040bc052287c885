"""Small objects on tables, shelves, beds and floors."""

from __future__ import annotations

from numpy.random import Generator

from pipelines.synth.base.materials import Style
from pipelines.synth.base.model import SupportSurface
from pipelines.synth.furnishing.placement import Item, RoomScene
from pipelines.synth.furniture import bath, bedroom, decor, props
from pipelines.synth.furniture.base import Maker

ON_TOP: dict[str, tuple[Maker, ...]] = {
    "dining table": (props.bowl, props.vase, props.cup, props.cup, props.book_stack, props.bottle),
    "round table": (props.bowl, props.vase, props.cup, props.cup),
    "coffee table": (props.book_stack, props.cup, props.bowl, decor.small_plant, props.laptop),
    "side table": (decor.table_lamp, decor.table_lamp, props.book_stack, decor.small_plant),
    "desk": (props.book_stack, props.paper, props.paper, props.cup, props.small_box, decor.small_plant),
    "work table": (props.carton, props.paper, props.book_stack, props.small_box, props.laptop),
    "night stand": (decor.table_lamp, decor.table_lamp, props.book_stack, props.cup),
    "sideboard": (decor.table_lamp, props.vase, decor.small_plant, props.bowl, props.book_stack, props.small_box),
    "tv stand": (props.small_box, decor.small_plant, props.book_stack),
    "dresser": (props.small_box, decor.small_plant, props.vase, props.book_stack, bath.folded_towels),
    "filing cabinet": (props.paper, props.small_box, decor.small_plant, props.book_stack),
    "console table": (decor.table_lamp, props.bowl, props.vase, props.paper, props.bag),
    "counter": (props.pot, props.bottle, props.bowl, props.cup, props.bottle, props.small_box),
    "stove": (props.pot,),
    "refrigerator": (props.small_box, props.bowl),
    "wardrobe": (props.carton, props.small_box),
    "washing machine": (bath.folded_towels, props.bottle, props.small_box),
    "bench": (props.bag, bedroom.sofa_pillow, props.clothes_pile),
    "wall shelf": (props.book_stack, decor.small_plant, props.vase, props.small_box, props.cup),
    "rack": (props.small_box, props.carton, props.book_stack, bath.folded_towels, props.bottle),
    "bed": (bedroom.blanket, props.clothes_pile, props.book_stack, props.bag),
}
"""Makers of objects that may stand on a piece of furniture, by its name."""

ON_FLOOR: dict[str, tuple[Maker, ...]] = {
    "living_room": (props.carton, props.bag, props.book_stack, props.backpack),
    "bedroom": (props.clothes_pile, props.bag, props.backpack, props.shoes, props.carton),
    "office": (props.backpack, props.carton, props.book_stack, props.bag),
    "kitchen": (props.bag, props.carton),
    "hallway": (props.shoes, props.bag, props.backpack),
    "dining_room": (props.bag, props.carton),
    "storage": (props.carton, props.carton, props.bag),
    "bathroom": (props.clothes_pile,),
}
LIMIT = {"bed": 1, "stove": 1, "bench": 1, "wardrobe": 2, "refrigerator": 1, "side table": 2, "night stand": 2}


def clutter_room(rng: Generator, style: Style, room: RoomScene, amount: float) -> None:
    """Fill the surfaces of a furnished room and put objects on its floor; `amount` 0 is bare, 1 is lived in, 2 is cluttered."""
    for item in list(room.items):
        if item.model.label == "bookshelf" or (item.model.name == "rack" and rng.random() < 0.4):
            _books(rng, style, room, item, amount)
        elif item.model.label == "sofa" or item.model.name == "armchair":
            _cushions(rng, style, room, item, amount)
        elif item.model.name in ON_TOP:
            _on_top(rng, style, room, item, amount)
    for _ in range(int(rng.poisson(0.9 * amount))):
        choices = ON_FLOOR[room.plan.kind]
        room.on_floor(rng, choices[int(rng.integers(len(choices)))](rng, style))


def _on_top(rng: Generator, style: Style, room: RoomScene, item: Item, amount: float) -> None:
    choices = ON_TOP[item.model.name]
    limit = LIMIT.get(item.model.name, 4)
    for surface in item.model.surfaces:
        area = (surface.x[1] - surface.x[0]) * (surface.y[1] - surface.y[0])
        wanted = min(limit, int(rng.poisson(amount * min(1.2 + 2.2 * area, 3.0))))
        lamps = any(i.support is item and i.model.label == "lamp" for i in room.items)
        for _ in range(wanted):
            maker = choices[int(rng.integers(len(choices)))]
            if maker is decor.table_lamp:
                if lamps:
                    continue
                lamps = True
            room.on_item(rng, maker(rng, style), item, surface, yaw=(-0.5, 0.5))


def _books(rng: Generator, style: Style, room: RoomScene, item: Item, amount: float) -> None:
    """Rows of books on each board, some boards with boxes or vases instead."""
    for surface in item.model.surfaces:
        draw = rng.random()
        width, depth = surface.x[1] - surface.x[0], surface.y[1] - surface.y[0]
        if draw > 0.35 + 0.5 * amount:
            continue
        if draw < 0.12:
            for maker in (props.small_box, props.vase, decor.small_plant):
                room.on_item(rng, maker(rng, style), item, surface, yaw=(-0.2, 0.2))
            continue
        share = float(rng.uniform(0.4, 0.98))
        height = min(surface.headroom - 0.03, 0.31)
        if height < 0.12:
            continue
        row = props.book_row(rng, style, width * share, height, min(depth, 0.24))
        slack = (width - float(row.size[0])) / 2
        side = float(rng.choice([-1.0, 1.0]))
        middle = (surface.x[0] + surface.x[1]) / 2
        front = (surface.y[0] + surface.y[1]) / 2 + (depth - float(row.size[1])) / 2
        room.put_on(row, item, surface, (middle + side * slack, front - 0.001), 0.0)
        if share < 0.7 and rng.random() < 0.5 * amount:
            rest = SupportSurface(
                _other_half(surface, side, float(row.size[0])), surface.y, surface.z, surface.headroom
            )
            room.on_item(rng, props.small_box(rng, style), item, rest, yaw=(-0.2, 0.2), tries=4)


def _other_half(surface: SupportSurface, side: float, taken: float) -> tuple[float, float]:
    """The range along a board that a row of books at its left (-1) or right (+1) end leaves free."""
    if side < 0:
        return surface.x[0] + taken + 0.01, surface.x[1]
    return surface.x[0], surface.x[1] - taken - 0.01


def _cushions(rng: Generator, style: Style, room: RoomScene, item: Item, amount: float) -> None:
    """Loose pillows and a blanket on a sofa."""
    for surface in item.model.surfaces:
        if rng.random() < 0.55 * min(amount, 1.5):
            maker: Maker = bedroom.sofa_pillow if rng.random() < 0.8 else bedroom.blanket
            room.on_item(rng, maker(rng, style), item, surface, yaw=(-0.4, 0.4), tries=5)
        elif rng.random() < 0.1 * amount:
            room.on_item(rng, props.bag(rng, style), item, surface, yaw=(-0.4, 0.4), tries=5)
