"""A plan as PDF at a scale of drawings: one page per storey, A4 or A3, with title, scale bar and dimensions.

Written as PDF 1.4 (ISO 32000-1) with the font Helvetica, which every reader has.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.views.plan.drawing import Color, Drawing, Label, PlanItem, text_width

Array = NDArray[np.float64]

POINTS_PER_METRE = 72 / 0.0254
PAGES = ((0.297, 0.210), (0.210, 0.297), (0.420, 0.297), (0.297, 0.420))
"""Width and height in metres: A4 and A3, across and upright."""
SCALES = (20, 25, 50, 75, 100, 150, 200, 250, 500, 750, 1000, 2000, 5000, 10_000)
LARGE_SCALE = 50
"""A4 is taken where it shows the plan at this scale or a larger one, else A3."""
BORDER, FOOT = 0.012, 0.016
"""Metres of paper around the drawing, and below it for title and scale."""
TITLE_POINTS, SMALL_POINTS = 11.0, 8.0
FIRST_PAGE = 5
"""Number of the object that is the first page."""


def drawings_pdf(drawings: Sequence[Drawing], title: str) -> bytes:
    """All drawings, one on each page; a page with the title alone where there are none."""
    pages = [_page(drawing, title, several=len(drawings) > 1) for drawing in drawings]
    pages = pages or [(PAGES[0], _words("F2", TITLE_POINTS, (40.0, 40.0), f"{title}: nothing to draw"))]
    kids = " ".join(f"{FIRST_PAGE + 2 * i} 0 R" for i in range(len(pages)))
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica{} /Encoding /WinAnsiEncoding >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        font.format("").encode(),
        font.format("-Bold").encode(),
    ]
    for i, (size, content) in enumerate(pages):
        width, height = size
        box = f"[0 0 {width * POINTS_PER_METRE:.2f} {height * POINTS_PER_METRE:.2f}]"
        resources = "<< /Font << /F1 3 0 R /F2 4 0 R >> >>"
        data = zlib.compress(content.encode("cp1252", "replace"))
        contents = f"/Contents {FIRST_PAGE + 2 * i + 1} 0 R"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Resources {resources} {contents} >>".encode())
        objects.append(f"<< /Length {len(data)} /Filter /FlateDecode >>\nstream\n".encode() + data + b"\nendstream")
    objects.append(b"<< /Title " + _string(title) + b" /Producer (m2h) >>")
    return _file(objects)


def _file(objects: Sequence[bytes]) -> bytes:
    """The objects with their table of places; the last one is the document's information."""
    out = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    count = len(objects) + 1
    end = f"trailer\n<< /Size {count} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + f"xref\n0 {count}\n0000000000 65535 f \n{table}{end}".encode()


def paper_of(size: Array) -> tuple[tuple[float, float], int]:
    """The page (width, height in metres) and the scale 1 : n for a drawing of a size (2,) in metres."""
    found = []
    for page in PAGES:
        room = np.array(page) - 2 * BORDER - [0, FOOT]
        needed = float((size / room).max())
        scale = next((scale for scale in SCALES if scale >= needed), int(np.ceil(needed)))
        found.append((scale, page[0] * page[1], needed, page))
    small = min(found[:2])
    chosen = small if small[0] <= LARGE_SCALE else min(found)
    return chosen[3], chosen[0]


def _page(drawing: Drawing, title: str, *, several: bool) -> tuple[tuple[float, float], str]:
    page, scale = paper_of(drawing.size)
    per_metre = POINTS_PER_METRE / scale
    left = (page[0] * POINTS_PER_METRE - drawing.size[0] * per_metre) / 2
    room = (page[1] - 2 * BORDER - FOOT) * POINTS_PER_METRE
    bottom = (BORDER + FOOT) * POINTS_PER_METRE + (room - drawing.size[1] * per_metre) / 2
    shift = np.array([left, bottom]) - drawing.low * per_metre
    parts = [_shape(shape, per_metre, shift) for shape in drawing.shapes]
    parts += [_label(label, per_metre, shift) for label in drawing.labels]
    name = f"{title}, {drawing.title}" if several else title
    return page, "\n".join([*parts, *_foot(page, scale, name)])


def _foot(page: tuple[float, float], scale: int, title: str) -> list[str]:
    """Title and scale below the drawing, with a bar of whole metres."""
    left, base = BORDER * POINTS_PER_METRE, BORDER * POINTS_PER_METRE
    metres = next((m for m in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if m / scale >= 0.025), 1000)
    length = metres * POINTS_PER_METRE / scale
    right = page[0] * POINTS_PER_METRE - left
    note = f"1 : {scale}   {metres} m"
    bar = [(right - length, base), (right, base)]
    ticks = [f"{x:.2f} {y:.2f} m {x:.2f} {y + 5:.2f} l S" for x, y in bar]
    return [
        "0 0 0 RG 0 0 0 rg 0.8 w [] 0 d",
        f"{bar[0][0]:.2f} {base:.2f} m {right:.2f} {base:.2f} l S",
        *ticks,
        _words("F2", TITLE_POINTS, (left, base + 4), title),
        _words("F1", SMALL_POINTS, (left, base - 8), "metres between the surfaces of walls; not surveyed"),
        _words("F1", SMALL_POINTS, (right - text_width(note, SMALL_POINTS), base + 9), note),
    ]


def _shape(shape: PlanItem, per_metre: float, shift: Array) -> str:
    lines = []
    color = _over_white(shape.fill, shape.fill_opacity)
    if color is not None:
        lines.append(f"{_color(color)} rg")
    if shape.stroke is not None:
        dash = " ".join(f"{length * per_metre:.2f}" for length in shape.dash)
        lines.append(f"{_color(shape.stroke)} RG {shape.width:.2f} w [{dash}] 0 d")
    for ring in shape.rings:
        points = [f"{x:.2f} {y:.2f}" for x, y in ring * per_metre + shift]
        lines.append(
            " ".join([f"{points[0]} m", *(f"{point} l" for point in points[1:])]) + (" h" if shape.closed else "")
        )
    paint = {(True, True): "B*", (True, False): "f*", (False, True): "S", (False, False): "n"}
    lines.append(paint[color is not None, shape.stroke is not None])
    return "\n".join(lines)


def _over_white(color: Color | None, opacity: float) -> Color | None:
    """What a translucent colour is on white paper."""
    if color is None:
        return None
    red, green, blue = (round(255 - opacity * (255 - part)) for part in color)
    return red, green, blue


def _label(label: Label, per_metre: float, shift: Array) -> str:
    points = label.height * per_metre
    at = label.at * per_metre + shift
    angle = np.deg2rad(label.angle)
    along, up = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    start = at - along * text_width(label.text, points) / 2 - up * 0.36 * points
    halo = f"1 1 1 RG {0.18 * points:.2f} w 1 j [] 0 d"
    font = "F2" if label.bold else "F1"
    turn = (float(along[0]), float(along[1]))
    where = (float(start[0]), float(start[1]))
    return "\n".join(
        [halo, _words(font, points, where, label.text, mode=1, turn=turn), f"{_color(label.color)} rg",
         _words(font, points, where, label.text, turn=turn)]
    )  # fmt: skip


def _words(
    font: str,
    points: float,
    at: tuple[float, float],
    text: str,
    *,
    mode: int = 0,
    turn: tuple[float, float] = (1.0, 0.0),
) -> str:
    """A text from a place on; mode 0 fills, 1 draws outlines."""
    cos, sin = turn
    shown = _string(text).decode("cp1252")
    matrix = f"{cos:.4f} {sin:.4f} {-sin:.4f} {cos:.4f} {at[0]:.2f} {at[1]:.2f}"
    return f"BT {mode} Tr /{font} {points:.2f} Tf {matrix} Tm {shown} Tj ET"


def _string(text: str) -> bytes:
    """A string of PDF in the encoding of Windows 1252; other characters become question marks."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    data = plain.encode("cp1252", "replace")
    return b"(" + data.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)") + b")"


def _color(color: Color) -> str:
    return " ".join(f"{part / 255:.3f}" for part in color)
