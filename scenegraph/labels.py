"""Label spaces: what the numbers in a label image mean, and how each class behaves in a map."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mapping.reading.documents import read_yaml
from mapping.reading.files import shown

Kind = Literal["unknown", "structure", "object", "dynamic"]
LONGEST_NAME = 100
KINDS = ("unknown", "structure", "object", "dynamic")

NYU40_NAMES = tuple(
    (
        "unknown wall floor cabinet bed chair sofa table door window bookshelf picture counter blinds desk shelves curtain "
        "dresser pillow mirror floor_mat clothes ceiling books refrigerator television paper towel shower_curtain box whiteboard "
        "person night_stand toilet sink lamp bathtub bag otherstructure otherfurniture otherprop"
    ).split()
)
NYU40_STRUCTURE = {"wall", "floor", "ceiling", "door", "window", "floor_mat", "otherstructure", "blinds", "curtain"}


class LabelSpaceError(ValueError):
    """Raised for a label space file or name that cannot be used; the message names the file and the field."""


@dataclass(frozen=True)
class LabelClass:
    """One class: its id in label images, its name, display colour and kind.

    Kinds: `structure` belongs to the building (walls, floors, ceilings, openings) and is never an object; `object` forms objects;
    `dynamic` moves by itself, is kept out of the static map and tracked; `unknown` carries no information. `nyu40` is the class
    that it is in NYU40, empty where there is none; `also` are further names by which networks call it.
    """

    id: int
    name: str
    color: tuple[int, int, int]
    kind: Kind
    nyu40: str = field(default="", compare=False)
    also: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class LabelSpace:
    """A named set of classes; id 0 is always `unknown`. Names are printable and no longer than `LONGEST_NAME`."""

    name: str
    classes: tuple[LabelClass, ...]

    def __post_init__(self) -> None:
        for name in (self.name, *self.names):
            if not (name.isprintable() and 0 < len(name) <= LONGEST_NAME):
                raise LabelSpaceError(
                    f"label space {shown(self.name)}: {shown(name)} is not a printable name of 1-{LONGEST_NAME} characters"
                )
        ids = [c.id for c in self.classes]
        if len(set(ids)) != len(ids) or any(not 0 <= i < 65536 for i in ids):
            raise LabelSpaceError(f"label space {self.name}: ids must be distinct and in 0..65535")
        if 0 not in ids or self.by_id[0].kind != "unknown":
            raise LabelSpaceError(f"label space {self.name}: id 0 must exist and be of kind unknown")

    @property
    def by_id(self) -> dict[int, LabelClass]:
        """Classes by id."""
        return {c.id: c for c in self.classes}

    def id_of(self, name: str) -> int:
        """The id of a class name; raises LabelSpaceError with the known names."""
        for c in self.classes:
            if c.name == name:
                return c.id
        raise LabelSpaceError(f"label space {self.name} has no class {name!r}; it has {', '.join(self.names)}")

    def name_of(self, label: int) -> str:
        """The name of an id; `unknown` for an id that the space does not have."""
        return self.by_id[label].name if label in self.by_id else "unknown"

    @property
    def unnamed(self) -> int:
        """An id that no class has, for evidence of pixels that a network left without a name: 255, or the highest free one."""
        return next(i for i in (255, *range(65535, 0, -1)) if i not in self.by_id)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of the file."""
        return tuple(c.name for c in self.classes)

    def ids_of_kind(self, kind: Kind) -> frozenset[int]:
        """Ids of all classes of a kind."""
        return frozenset(c.id for c in self.classes if c.kind == kind)

    def mask_of_kind(self, kind: Kind, labels: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Where a label image or array has a class of the kind; any shape."""
        return np.isin(labels, sorted(self.ids_of_kind(kind)))

    def palette(self) -> NDArray[np.uint8]:
        """(max id + 1, 3) display colours, grey for ids that are not used."""
        table = np.full((max(c.id for c in self.classes) + 1, 3), 128, np.uint8)
        for c in self.classes:
            table[c.id] = c.color
        return table

    def colorize(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Display colours (..., 3) of labels of any shape; ids outside of the space are grey."""
        table = np.vstack([self.palette(), [[128, 128, 128]]]).astype(np.uint8)
        return np.asarray(table[np.minimum(np.asarray(labels, dtype=np.int64), len(table) - 1)])


def _distinct_color(index: int) -> tuple[int, int, int]:
    """Hues by the golden ratio, so that neighbours in the list differ; two lightness levels."""
    r, g, b = colorsys.hls_to_rgb(index * 0.618034 % 1.0, 0.45 + 0.18 * (index % 2), 0.65)
    return round(255 * r), round(255 * g), round(255 * b)


def nyu40() -> LabelSpace:
    """NYU40 (Gupta et al., CVPR 2013): ids 1-40 in the published order, 0 unknown; people are dynamic."""

    def kind(name: str) -> Kind:
        if name == "person":
            return "dynamic"
        return "structure" if name in NYU40_STRUCTURE else "object"

    fixed = {
        "unknown": (90, 90, 90),
        "wall": (190, 198, 210),
        "floor": (165, 130, 98),
        "ceiling": (232, 232, 236),
        "person": (230, 40, 40),
    }
    classes = [
        LabelClass(i, name, fixed.get(name, _distinct_color(i)), "unknown" if i == 0 else kind(name))
        for i, name in enumerate(NYU40_NAMES)
    ]
    return LabelSpace("nyu40", tuple(classes))


LABEL_SPACES = Path(__file__).parent / "label_spaces"
"""Those that are known by name, one file each, besides NYU40."""
FIELDS = {"id", "name", "kind", "color", "nyu40", "also"}


def label_space_from_mapping(data: object, where: str) -> LabelSpace:
    """A label space from parsed YAML: `{name, classes: [{id, name, kind, color?, nyu40?, also?}]}`.

    Raises LabelSpaceError naming `where`, the entry and the field.
    """
    if (
        not isinstance(data, Mapping)
        or not isinstance(data.get("classes"), list)
        or not isinstance(data.get("name"), str)
    ):
        raise LabelSpaceError(f"{where}: expected a mapping with name (text) and classes (a list)")
    entries = data["classes"]
    classes = [_label_class(entry, f"{where}: classes[{number}]") for number, entry in enumerate(entries)]
    try:
        return LabelSpace(data["name"], tuple(classes))
    except LabelSpaceError as error:
        raise LabelSpaceError(f"{where}: {error}") from error


def _label_class(entry: object, at: str) -> LabelClass:
    """One class from parsed YAML; raises LabelSpaceError that begins with `at`."""
    if not isinstance(entry, Mapping) or set(entry) - FIELDS:
        raise LabelSpaceError(
            f"{at}: expected a mapping with id, name, kind and optionally color, nyu40 and also, got {shown(entry)}"
        )
    if (
        not isinstance(entry.get("id"), int)
        or isinstance(entry["id"], bool)
        or not isinstance(entry.get("name"), str)
        or entry.get("kind") not in KINDS
    ):
        raise LabelSpaceError(
            f"{at}: id must be a whole number, name text and kind one of {', '.join(KINDS)}, got {shown(entry)}"
        )
    color = entry.get("color", _distinct_color(entry["id"]))
    if (
        not isinstance(color, list | tuple)
        or len(color) != 3
        or not all(isinstance(c, int) and 0 <= c <= 255 for c in color)
    ):
        raise LabelSpaceError(f"{at}.color: expected three whole numbers 0-255, got {shown(color)}")
    target, also = entry.get("nyu40", ""), entry.get("also", [])
    if "nyu40" in entry and target not in NYU40_NAMES[1:]:
        raise LabelSpaceError(f"{at}.nyu40: expected a class of NYU40, got {shown(target)}")
    if not isinstance(also, list) or not all(isinstance(name, str) for name in also):
        raise LabelSpaceError(f"{at}.also: expected a list of names, got {shown(also)}")
    return LabelClass(entry["id"], entry["name"], tuple(color), entry["kind"], target, tuple(also))


def known_label_spaces() -> tuple[str, ...]:
    """The names that `load_label_space` knows."""
    return ("nyu40", *(path.stem for path in sorted(LABEL_SPACES.glob("*.yaml"))))


def load_label_space(name_or_path: str) -> LabelSpace:
    """The space of a name (`nyu40`, `nyu13`, `ade20k`, `coco`, `scannet20`, `cityscapes19`) or one read from a YAML file."""
    if name_or_path == "nyu40":
        return nyu40()
    known = known_label_spaces()
    path = LABEL_SPACES / f"{name_or_path}.yaml" if name_or_path in known else Path(name_or_path)
    if not path.is_file():
        raise LabelSpaceError(f"{name_or_path}: neither a known label space ({', '.join(known)}) nor a file")
    return label_space_from_mapping(read_yaml(path, LabelSpaceError), str(path))
