"""A plan as SVG: alone as a file, or within a page whose items are links."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.text import for_html
from pipelines.views.plan.drawing import Color, Drawing, Label, PlanItem

Array = NDArray[np.float64]

WIDTH_PX, TALLEST_PX = 1040, 1400
PX_PER_POINT = 1.35
FONT = "Helvetica, Arial, system-ui, sans-serif"
HALO = 2.5


def drawing_svg(drawing: Drawing, *, link: str = "") -> str:
    """One drawing as an SVG element; `link` is the address of the page in which an item's key is a fragment."""
    scale = min(WIDTH_PX / max(drawing.size[0], 1e-6), TALLEST_PX / max(drawing.size[1], 1e-6))
    width, height = drawing.size * scale
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" font-family="{FONT}">',
            *_content(drawing, scale, np.zeros(2), link),
            "</svg>",
        ]
    )


def drawings_svg(drawings: Sequence[Drawing]) -> str:
    """All drawings in one file, one below another at one scale, the lowest storey at the bottom."""
    if not drawings:
        return '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>\n'
    scale = WIDTH_PX / max(max(float(drawing.size[0]) for drawing in drawings), 1e-6)
    parts: list[str] = []
    top = 0.0
    for drawing in reversed(drawings):
        if len(drawings) > 1:
            parts.append(
                f'<text x="8" y="{top + 18:.0f}" font-size="15" font-weight="bold">{for_html(drawing.title)}</text>'
            )
            top += 26
        parts += _content(drawing, scale, np.array([0.0, top]), "")
        top += float(drawing.size[1] * scale)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {top:.0f}" width="{WIDTH_PX}" height="{top:.0f}" '
        f'font-family="{FONT}">\n<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _content(drawing: Drawing, scale: float, shift: Array, link: str) -> list[str]:
    def at(points: Array) -> Array:
        flipped = np.stack([points[:, 0] - drawing.low[0], drawing.high[1] - points[:, 1]], axis=1)
        return np.asarray(flipped * scale + shift)

    return [
        *(_shape(shape, at, scale, link) for shape in drawing.shapes),
        *(_label(label, at(label.at[None])[0], scale) for label in drawing.labels),
    ]


def _shape(shape: PlanItem, at: object, scale: float, link: str) -> str:
    rings = [" ".join(f"{x:.1f},{y:.1f}" for x, y in at(ring)) for ring in shape.rings]  # type: ignore[operator]
    path = " ".join(f"M{ring}{'Z' if shape.closed else ''}" for ring in rings)
    style = f'fill="{_color(shape.fill)}" fill-rule="evenodd"'
    if shape.fill is not None and shape.fill_opacity < 1:
        style += f' fill-opacity="{shape.fill_opacity}"'
    if shape.stroke is not None:
        style += f' stroke="{_color(shape.stroke)}" stroke-width="{shape.width * PX_PER_POINT:.2f}"'
    if shape.dash:
        style += f' stroke-dasharray="{" ".join(f"{length * scale:.1f}" for length in shape.dash)}"'
    title = f"<title>{for_html(shape.title)}</title>" if shape.title else ""
    drawn = f'<path d="{path}" {style}>{title}</path>' if title else f'<path d="{path}" {style}/>'
    return f'<a href="{for_html(link)}#{for_html(shape.key)}">{drawn}</a>' if link and shape.key else drawn


def _label(label: Label, at: Array, scale: float) -> str:
    turned = f' transform="rotate({-label.angle:g} {at[0]:.1f} {at[1]:.1f})"' if label.angle else ""
    bold = ' font-weight="bold"' if label.bold else ""
    return (
        f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" dy="0.35em" font-size="{label.height * scale:.1f}" fill="{_color(label.color)}" '
        f'text-anchor="middle" pointer-events="none" stroke="#fff" stroke-width="{HALO}" stroke-opacity="0.8" '
        f'paint-order="stroke"{bold}{turned}>{for_html(label.text)}</text>'
    )


def _color(color: Color | None) -> str:
    return "none" if color is None else "#" + "".join(f"{part:02x}" for part in color)
