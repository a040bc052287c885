"""Roles of catalogue models by name: the pieces of furniture a model can replace, and size limits."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Role:
    """A piece of furniture as `furniture` names it, its NYU40 class, and the accepted sizes (metres: width, depth, height).

    `carries`: objects can stand on it; `hangs`: it may hang on a wall.
    """

    name: str
    label: str
    limits: tuple[Range, Range, Range]
    carries: bool = False
    hangs: bool = False


def _role(name: str, label: str, limits: tuple[float, ...], *, carries: bool = False, hangs: bool = False) -> Role:
    width, depth, height = zip(limits[::2], limits[1::2], strict=True)
    return Role(name, label, (width, depth, height), carries, hangs)


ROLES: tuple[tuple[str, Role], ...] = (
    (
        r"(oak |osaka |folding |plastic )?chair( with cushion)?",
        _role("dining chair", "chair", (0.35, 0.62, 0.35, 0.68, 0.7, 1.15)),
    ),
    (r"(modern |winchester )?armchair", _role("armchair", "chair", (0.6, 1.15, 0.6, 1.05, 0.6, 1.2))),
    (
        r"(winchester |clear |burlap )?(sofa|couch)( [23] seats)?|futon couch",
        _role("sofa", "sofa", (1.3, 2.5, 0.65, 1.1, 0.55, 1.1)),
    ),
    (r"(bar )?stool", _role("stool", "chair", (0.25, 0.5, 0.25, 0.5, 0.4, 0.85))),
    (r"(piano )?bench", _role("bench", "otherfurniture", (0.6, 1.5, 0.25, 0.6, 0.35, 0.6))),
    (r"(oak |black |glass )?table", _role("dining table", "table", (1.1, 2.0, 0.7, 1.05, 0.68, 0.82), carries=True)),
    (r"round table", _role("round table", "table", (0.8, 1.3, 0.8, 1.3, 0.68, 0.82), carries=True)),
    (r"coffee table|table", _role("coffee table", "table", (0.6, 1.3, 0.4, 0.9, 0.25, 0.5), carries=True)),
    (
        r"(wooden )?desk( table)?|wooden (teak |alder )?table",
        _role("desk", "desk", (1.0, 1.8, 0.5, 0.9, 0.65, 0.85), carries=True),
    ),
    (r"bedside table", _role("night stand", "night_stand", (0.3, 0.6, 0.3, 0.55, 0.35, 0.7), carries=True)),
    (r"wardrobe|cupboard", _role("wardrobe", "cabinet", (0.8, 2.2, 0.45, 0.75, 1.6, 2.3))),
    (r"dresser with drawers", _role("dresser", "dresser", (0.7, 1.6, 0.35, 0.6, 0.6, 1.3), carries=True)),
    (r"filing cabinet", _role("filing cabinet", "cabinet", (0.35, 0.9, 0.35, 0.7, 0.6, 1.4), carries=True)),
    (r"television cabinet|tv stand", _role("tv stand", "cabinet", (1.0, 2.0, 0.3, 0.6, 0.3, 0.7), carries=True)),
    (r"(full )?bookcase", _role("full bookcase", "bookshelf", (0.6, 1.4, 0.2, 0.5, 1.2, 2.2))),
    (r"shelves|vertical shelves", _role("filled rack", "shelves", (0.5, 1.4, 0.2, 0.55, 0.9, 2.1))),
    (r"(iron |day )?bed", _role("bed", "bed", (0.85, 2.0, 1.85, 2.4, 0.4, 1.3))),
    (r"refrigerator|fridge", _role("refrigerator", "refrigerator", (0.5, 0.8, 0.5, 0.8, 1.3, 2.0))),
    (
        r"clothes washing machine|washing machine|dryer machine",
        _role("washing machine", "otherfurniture", (0.5, 0.7, 0.5, 0.7, 0.75, 0.95)),
    ),
    (r"toilets unit", _role("toilet", "toilet", (0.3, 0.5, 0.5, 0.85, 0.6, 1.0))),
    (r"washbasin|vanity", _role("wash basin", "sink", (0.4, 1.0, 0.35, 0.7, 0.75, 1.15))),
    (r"bath|island bath", _role("bathtub", "bathtub", (1.4, 1.85, 0.6, 0.9, 0.4, 0.8))),
    (
        r"(little |indoor |decorative |spider )?plant|ficus|yucca|bamboo|spathiphyllum",
        _role("plant", "otherprop", (0.2, 0.9, 0.2, 0.9, 0.5, 1.6)),
    ),
    (
        r"(little |succulent |decorative )?plant|cactus|orchids|bonsai tree",
        _role("small plant", "otherprop", (0.05, 0.35, 0.05, 0.35, 0.1, 0.45)),
    ),
    (r"clothes basket", _role("laundry basket", "otherprop", (0.25, 0.6, 0.25, 0.6, 0.3, 0.8))),
    (r"dustbin|bullet trash can|recycling bin", _role("waste bin", "otherprop", (0.15, 0.45, 0.15, 0.45, 0.2, 0.7))),
    (r"handbag|briefcase", _role("bag", "bag", (0.2, 0.6, 0.06, 0.3, 0.15, 0.5))),
    (r"backpack", _role("backpack", "bag", (0.2, 0.5, 0.12, 0.4, 0.3, 0.6))),
    (r"(cardboard |open cardboard )?box|crate", _role("box", "box", (0.2, 0.8, 0.2, 0.8, 0.12, 0.6))),
    (r"folded clothes", _role("pile of clothes", "clothes", (0.15, 0.5, 0.15, 0.5, 0.05, 0.4))),
    (r"slippers|sneakers|woman shoes|mocassin", _role("shoes", "clothes", (0.1, 0.4, 0.15, 0.4, 0.03, 0.25))),
    (r"laptop|apple ibook", _role("laptop", "otherprop", (0.25, 0.4, 0.2, 0.4, 0.1, 0.35))),
    (r"apple imac \d+", _role("monitor", "otherprop", (0.3, 0.6, 0.15, 0.5, 0.3, 0.6))),
    (r"coffee (cup|mug)|cup", _role("cup", "otherprop", (0.05, 0.18, 0.05, 0.18, 0.05, 0.15))),
    (r"bowl( with (fruits|salad))?", _role("bowl", "otherprop", (0.12, 0.4, 0.12, 0.4, 0.04, 0.25))),
    (r"vase|pottery|old jar", _role("vase", "otherprop", (0.08, 0.3, 0.08, 0.3, 0.15, 0.5))),
    (
        r"wine bottle|beer bottle|yogurt bottle|flacon|bottle",
        _role("bottle", "otherprop", (0.04, 0.15, 0.04, 0.15, 0.1, 0.4)),
    ),
    (r"large pan", _role("pot", "otherprop", (0.15, 0.5, 0.15, 0.5, 0.05, 0.25))),
    (r"radiator", _role("radiator", "otherfurniture", (0.4, 1.3, 0.04, 0.2, 0.3, 0.75), hangs=True)),
    (r"puff", _role("ottoman", "otherfurniture", (0.3, 0.8, 0.3, 0.8, 0.25, 0.55))),
)
"""(pattern of the lower-case name, role); a name that matches several is tried in this order with its size."""
