"""A walking person: limbs of simple solids attached to joints, random clothes, and a gait.

A figure stands on z = 0 at the origin and faces +x; y is its left. Joint angles follow a sine gait (hips and shoulders in
opposition, knees bending in the swing), which resembles a person from a few metres and is not a model of walking.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mapping.se3 import from_rotation_translation
from pipelines.synth.base.shapes import Shape, cushion, lathe, merge, rounded_box, sphere, tube
from pipelines.synth.base.world import Body, Material, Part
from scenegraph.labels import NYU40_NAMES

Array = NDArray[np.float64]
Color = tuple[float, float, float]

PERSON_LABEL = NYU40_NAMES.index("person")
STRIDE = 0.78
"""Metres of a full step of one leg (half a gait cycle) of a person of 1.75 m at an easy walk."""
LIMBS = ("torso", "head", "arm_l", "arm_r", "hand_l", "hand_r", "thigh_l", "thigh_r", "shin_l", "shin_r")
SKINS: tuple[Color, ...] = (
    (0.72, 0.46, 0.34),
    (0.60, 0.36, 0.25),
    (0.42, 0.23, 0.14),
    (0.20, 0.11, 0.07),
    (0.78, 0.54, 0.43),
)
HAIRS: tuple[Color, ...] = (
    (0.03, 0.02, 0.02),
    (0.10, 0.05, 0.03),
    (0.25, 0.14, 0.07),
    (0.45, 0.33, 0.18),
    (0.40, 0.39, 0.38),
)
TOPS: tuple[Color, ...] = (
    (0.55, 0.06, 0.06),
    (0.07, 0.18, 0.45),
    (0.08, 0.30, 0.14),
    (0.62, 0.45, 0.06),
    (0.60, 0.60, 0.58),
    (0.30, 0.09, 0.32),
    (0.70, 0.30, 0.08),
    (0.05, 0.33, 0.36),
)
TROUSERS: tuple[Color, ...] = (
    (0.04, 0.06, 0.14),
    (0.05, 0.05, 0.05),
    (0.24, 0.19, 0.12),
    (0.14, 0.15, 0.17),
    (0.10, 0.14, 0.24),
)


@dataclass(frozen=True, eq=False)
class Figure:
    """A person's limbs in their joints' frames (one `Body` each, in the order of LIMBS) and lengths in metres."""

    bodies: tuple[Body, ...]
    height: float
    hip: float
    shoulder: float
    thigh: float
    arm: float
    shoulder_width: float


def make_figure(rng: Generator, number: int) -> Figure:
    """A person at random: 1.55-1.92 m, slim or sturdy, dressed; `number` is its instance number."""
    height = float(rng.uniform(1.55, 1.92))
    girth = float(rng.uniform(0.92, 1.16)) * (height / 1.75) ** 0.5
    s = height / 1.75
    skin = Material(_pick(rng, SKINS), specular=0.08)
    hair = Material(_pick(rng, HAIRS), (0.01, 0.01, 0.01), "noise", 0.02, 0.4, 0.05, seed=int(rng.integers(1000)))
    top, second = _pick(rng, TOPS), _pick(rng, TOPS)
    if rng.random() < 0.3:
        shirt = Material(top, second, "stripes", 0.07, 0.8, 0.02)
    else:
        shirt = Material(top, (top[0] * 0.7, top[1] * 0.7, top[2] * 0.7), "fabric", 0.01, 0.6, 0.02)
    leg = _pick(rng, TROUSERS)
    trousers = Material(leg, (leg[0] * 0.6, leg[1] * 0.6, leg[2] * 0.6), "fabric", 0.012, 0.6, 0.02)
    shoe = Material(_pick(rng, ((0.03, 0.03, 0.03), (0.55, 0.55, 0.52), (0.16, 0.08, 0.04))), specular=0.2)
    bare = rng.random() < 0.4  # bare forearms
    shoulder_width = 0.185 * s * girth
    limbs = {
        "torso": _torso(s, girth, shirt, trousers),
        "head": _head(s, skin, hair, long_hair=bool(rng.random() < 0.45)),
        "thigh": [(_limb(0.44 * s, 0.083 * girth, 0.06 * girth), trousers)],
        "shin": [(_limb(0.42 * s, 0.058 * girth, 0.045 * girth), trousers), (_shoe(s), shoe)],
        "arm": [(_limb(0.30 * s, 0.054 * girth, 0.043 * girth), shirt)],
        "hand": [
            (_limb(0.26 * s, 0.042 * girth, 0.031 * girth), skin if bare else shirt),
            (cushion((0.05 * s, 0.035 * s, 0.17 * s), (0.0, 0.0, -0.42 * s), 3.0, 4), skin),
        ],
    }
    bodies = []
    for name in LIMBS:
        parts = tuple(Part(shape.vertices, shape.faces, material) for shape, material in limbs[name.split("_")[0]])
        bodies.append(Body(number, PERSON_LABEL, parts, (np.eye(4),), is_object=True, name=name))
    return Figure(tuple(bodies), height, 0.90 * s, 1.43 * s, 0.44 * s, 0.30 * s, shoulder_width)


def _pick(rng: Generator, colors: tuple[Color, ...]) -> Color:
    r, g, b = (
        np.clip(np.array(colors[int(rng.integers(len(colors)))]) * rng.uniform(0.85, 1.15, 3), 0, 1).round(4).tolist()
    )
    return (r, g, b)


def _limb(length: float, top: float, bottom: float) -> Shape:
    """A tapered capsule from the joint at the origin down to -length."""
    cap = np.linspace(0, np.pi / 2, 4)
    low = np.c_[bottom * np.sin(cap), -length - bottom * np.cos(cap) * 0.8]
    high = np.c_[top * np.cos(cap), top * np.sin(cap) * 0.8]
    profile = np.concatenate([low, [[0.55 * bottom + 0.5 * top, -0.45 * length]], high])
    profile[[0, -1], 0] = 0.0
    return lathe(profile, 12)


def _shoe(s: float) -> Shape:
    return rounded_box((0.265 * s, 0.095 * s, 0.085 * s), 0.035 * s, 2, (0.06 * s, 0.0, -0.475 * s))


def _torso(s: float, girth: float, shirt: Material, trousers: Material) -> list[tuple[Shape, Material]]:
    """Hips, belly, chest and shoulders as rings (half widths across and deep), from the hip joints at the origin up."""
    rings = [(-0.06, 0.105, 0.085), (0.0, 0.165, 0.115), (0.08, 0.168, 0.118), (0.2, 0.148, 0.108)]
    upper = [
        (0.10, 0.166, 0.120),
        (0.2, 0.156, 0.114),
        (0.34, 0.176, 0.122),
        (0.46, 0.185, 0.112),
        (0.53, 0.150, 0.085),
    ]
    upper += [(0.57, 0.070, 0.062), (0.60, 0.055, 0.056)]
    return [(_stack(upper, s, girth), shirt), (_stack(rings, s, girth), trousers)]


def _stack(rings: list[tuple[float, float, float]], s: float, girth: float) -> Shape:
    """Connected superellipse rings (height, half width along y, half depth along x)."""
    heights = np.array([ring[0] for ring in rings]) * s
    unit = lathe(np.c_[np.ones(len(rings)), np.arange(len(rings), dtype=np.float64)], 16)
    out = unit.vertices.copy()
    radius = np.hypot(out[:, 0], out[:, 1])
    level = np.rint(out[:, 2]).astype(int)
    wide = np.array([ring[1] for ring in rings])[level] * girth
    deep = np.array([ring[2] for ring in rings])[level] * girth
    angle = np.arctan2(out[:, 1], out[:, 0])
    square = (np.abs(np.cos(angle)) ** 2.6 + np.abs(np.sin(angle)) ** 2.6) ** (-1 / 2.6)
    out[:, 0], out[:, 1] = radius * deep * np.cos(angle) * square, radius * wide * np.sin(angle) * square
    out[:, 2] = heights[level]
    return Shape(out, unit.faces)


def _head(s: float, skin: Material, hair: Material, *, long_hair: bool) -> list[tuple[Shape, Material]]:
    """Neck, face, nose, ears and hair; the origin is the base of the neck."""
    neck = tube([(0, 0, -0.03 * s), (0.015 * s, 0, 0.09 * s)], 0.052 * s, 10)
    skull = sphere(1.0, segments=18).scaled(0.098 * s, 0.078 * s, 0.118 * s).moved(0.02 * s, 0, 0.185 * s)
    nose = sphere(0.016 * s, segments=8).moved(0.118 * s, 0, 0.17 * s)
    ear = sphere(1.0, segments=8).scaled(0.016 * s, 0.008 * s, 0.028 * s)
    ears = [ear.moved(0.015 * s, y * s, 0.18 * s) for y in (-0.08, 0.08)]
    cap = sphere(1.0, segments=18).scaled(0.104 * s, 0.086 * s, 0.112 * s).moved(0.004 * s, 0, 0.207 * s)
    cover = [cap]
    if long_hair:
        cover.append(cushion((0.09 * s, 0.17 * s, 0.24 * s), (-0.055 * s, 0, 0.0), 3.0, 5))
    eyes = [sphere(0.011 * s, segments=8).moved(0.106 * s, y * s, 0.196 * s) for y in (-0.034, 0.034)]
    dark = Material((0.03, 0.02, 0.02), specular=0.3)
    return [(merge([neck, skull, nose, *ears]), skin), (merge(cover), hair), (merge(eyes), dark)]


def _pitch(angle: float) -> Array:
    """Turn about y that swings a hanging limb forwards (towards +x) by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def _roll(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def pose_figure(figure: Figure, position: Array, heading: float, phase: float, stride: float, idle: float) -> Array:
    """Poses `T_world_limb` (10, 4, 4) in the order of LIMBS.

    Parameters
    ----------
    position : (3,) position on the floor. heading : radians from +x, counter-clockwise.
    phase : radians of the gait cycle. stride : 0 standing to 1 walking at full stride. idle : slow phase for breathing.
    """
    swing = 0.46 * stride
    c, s = np.cos(heading), np.sin(heading)
    R_heading = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    lean = _pitch(-0.04 * stride) @ _roll(0.02 * np.sin(phase) * stride + 0.008 * np.sin(idle))
    poses: dict[str, tuple[Array, Array]] = {}
    hip_sway = np.array([0.0, 0.015 * np.sin(phase) * stride + 0.006 * np.sin(0.7 * idle), 0.0])
    hips = np.array([0.0, 0.0, figure.hip]) + hip_sway
    poses["torso"] = (lean, hips)
    neck = hips + lean @ np.array([0.0, 0.0, figure.shoulder + 0.025 * figure.height / 1.75 - figure.hip])
    poses["head"] = (_pitch(0.03 * np.sin(0.9 * idle)) @ _roll(0.03 * np.sin(0.6 * idle)), neck)
    for side, name in ((1.0, "l"), (-1.0, "r")):
        leg = phase if side > 0 else phase + np.pi
        thigh = _pitch(swing * np.sin(leg) + 0.05 * stride)
        # The knee bends while its leg comes forward, and a little at the heel strike.
        bend = stride * (0.12 + 0.85 * max(0.0, np.cos(leg)) ** 1.5)
        shin = _pitch(swing * np.sin(leg) + 0.05 * stride - bend)
        hip = hips + lean @ np.array([0.0, side * 0.088 * figure.height / 1.75, 0.0])
        poses[f"thigh_{name}"] = (thigh, hip)
        poses[f"shin_{name}"] = (shin, hip + thigh @ np.array([0.0, 0.0, -figure.thigh]))
        arm_swing = -0.55 * stride * np.sin(leg) + 0.03 * np.sin(0.8 * idle + side)
        arm = _roll(side * 0.13) @ _pitch(arm_swing)
        fore = _roll(side * 0.08) @ _pitch(arm_swing + 0.22 + 0.3 * stride * (0.6 - 0.4 * np.sin(leg)))
        at = hips + lean @ np.array([0.0, side * figure.shoulder_width, figure.shoulder - figure.hip - 0.03])
        poses[f"arm_{name}"] = (arm, at)
        poses[f"hand_{name}"] = (fore, at + arm @ np.array([0.0, 0.0, -figure.arm]))
    lowest = min(_lowest(figure, index, *poses[LIMBS[index]]) for index in (8, 9))
    ground = np.array([0.0, 0.0, -lowest])
    rotations, joints = (np.stack([poses[name][k] for name in LIMBS]) for k in (0, 1))
    return from_rotation_translation(R_heading @ rotations, position + (joints + ground) @ R_heading.T)


def _lowest(figure: Figure, index: int, R: Array, t: Array) -> float:
    """Height of the lowest point of a shin with its shoe."""
    return min(float((part.vertices @ R[2] + t[2]).min()) for part in figure.bodies[index].parts)
