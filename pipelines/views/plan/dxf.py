"""A plan as DXF for CAD programs: the ASCII form of release 12, which all of them read. Units are metres.

Layers have the names of the drawing's, with the storey before them where there are several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.views.plan.drawing import Drawing, Label, PlanItem

COLORS = {"ROOMS": 8, "WALLS": 7, "FURNITURE": 3, "DOORS": 30, "CAMERA": 5, "MOVING": 1, "NAMES": 7, "DIMENSIONS": 150}
"""AutoCAD's colour number of each layer."""
NOT_WRITTEN = frozenset({"GRID"})
Tag = tuple[int, object]


def drawings_dxf(drawings: Sequence[Drawing]) -> str:
    """All drawings in one file, each storey where it is in the world."""
    prefixes = [f"{_name(drawing.title)}_" if len(drawings) > 1 else "" for drawing in drawings]
    layers = [(f"{prefix}{layer}", color) for prefix in prefixes for layer, color in COLORS.items()]
    tags: list[Tag] = [*_header(drawings), *_layer_table(layers), (0, "SECTION"), (2, "ENTITIES")]
    for prefix, drawing in zip(prefixes, drawings, strict=True):
        for shape in drawing.shapes:
            if shape.layer not in NOT_WRITTEN:
                tags += _lines(shape, prefix)
        for label in drawing.labels:
            tags += _text(label, prefix)
    tags += [(0, "ENDSEC"), (0, "EOF")]
    return "".join(f"{code:>3}\n{_value(value)}\n" for code, value in tags)


def _value(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _header(drawings: Sequence[Drawing]) -> list[Tag]:
    low = [min((float(drawing.low[axis]) for drawing in drawings), default=0.0) for axis in (0, 1)]
    high = [max((float(drawing.high[axis]) for drawing in drawings), default=1.0) for axis in (0, 1)]
    return [
        (0, "SECTION"), (2, "HEADER"), (9, "$ACADVER"), (1, "AC1009"), (9, "$INSUNITS"), (70, 6),
        (9, "$EXTMIN"), (10, low[0]), (20, low[1]), (9, "$EXTMAX"), (10, high[0]), (20, high[1]), (0, "ENDSEC"),
    ]  # fmt: skip


def _layer_table(layers: Sequence[tuple[str, int]]) -> list[Tag]:
    tags: list[Tag] = [(0, "SECTION"), (2, "TABLES"), (0, "TABLE"), (2, "LTYPE"), (70, 1)]
    tags += [(0, "LTYPE"), (2, "CONTINUOUS"), (70, 0), (3, "Solid line"), (72, 65), (73, 0), (40, 0.0), (0, "ENDTAB")]
    tags += [(0, "TABLE"), (2, "LAYER"), (70, len(layers))]
    for name, color in layers:
        tags += [(0, "LAYER"), (2, name), (70, 0), (62, color), (6, "CONTINUOUS")]
    tags += [(0, "ENDTAB"), (0, "TABLE"), (2, "STYLE"), (70, 1), (0, "STYLE"), (2, "STANDARD"), (70, 0), (40, 0.0)]
    tags += [(41, 1.0), (50, 0.0), (71, 0), (42, 0.1), (3, "arial.ttf"), (4, ""), (0, "ENDTAB"), (0, "ENDSEC")]
    return tags


def _lines(shape: PlanItem, prefix: str) -> Iterator[Tag]:
    layer = f"{prefix}{shape.layer}"
    for ring in shape.rings:
        yield from ((0, "POLYLINE"), (8, layer), (66, 1), (10, 0.0), (20, 0.0), (30, 0.0), (70, int(shape.closed)))
        for x, y in ring:
            yield from ((0, "VERTEX"), (8, layer), (10, float(x)), (20, float(y)), (30, 0.0))
        yield from ((0, "SEQEND"), (8, layer))


def _text(label: Label, prefix: str) -> Iterator[Tag]:
    x, y = (float(value) for value in label.at)
    yield from ((0, "TEXT"), (8, f"{prefix}{label.layer}"), (10, x), (20, y), (30, 0.0), (40, float(label.height)))
    yield from ((1, _escaped(label.text)), (50, float(label.angle)), (7, "STANDARD"), (72, 1), (73, 2))
    yield from ((11, x), (21, y), (31, 0.0))


def _escaped(text: str) -> str:
    """One line of ASCII; other characters as DXF writes them, and no control codes (`%%`, `^J`)."""
    plain = text.replace("%%", "% %").replace("^", "^ ").replace("\\", "/")
    return "".join(c if " " <= c <= "~" else f"\\U+{ord(c):04X}" if 0x7F < ord(c) < 0x10000 else "?" for c in plain)


def _name(text: str) -> str:
    """A name of a layer: capitals, digits and underscores."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text.upper())
