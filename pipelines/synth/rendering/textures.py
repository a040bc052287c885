"""Materials as arrays for the kernels, and the table of texture names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.synth.base.world import Material
from pipelines.synth.rendering.kernels import texture as texture_kernels
from pipelines.synth.rendering.kernels.texture import MaterialTable

TEXTURES: dict[str, int] = {
    "plain": texture_kernels.PLAIN,
    "wood": texture_kernels.WOOD,
    "planks": texture_kernels.PLANKS,
    "tiles": texture_kernels.TILES,
    "carpet": texture_kernels.CARPET,
    "fabric": texture_kernels.FABRIC,
    "stripes": texture_kernels.STRIPES,
    "checker": texture_kernels.CHECKER,
    "marble": texture_kernels.MARBLE,
    "brick": texture_kernels.BRICK,
    "painting": texture_kernels.PAINTING,
    "books": texture_kernels.BOOKS,
    "noise": texture_kernels.NOISE,
    "plaster": texture_kernels.PLASTER,
    "speckle": texture_kernels.SPECKLE,
    "leaves": texture_kernels.LEAVES,
    "metal": texture_kernels.METAL,
    "screen": texture_kernels.SCREEN,
    "text": texture_kernels.TEXT,
    "rug": texture_kernels.RUG,
}
"""Texture keys of `Material.texture` and the kernel's number of each."""


def material_table(materials: Sequence[Material]) -> MaterialTable:
    """The table of some materials.

    Raises ValueError that names the material's field for an unknown texture or a scale that is not positive.
    """
    for material in materials:
        if material.texture not in TEXTURES:
            raise ValueError(f"Material.texture {material.texture!r} is unknown; known are {', '.join(TEXTURES)}")
        if not material.scale > 0:
            raise ValueError(f"Material.scale must be a positive number of metres, got {material.scale}")
    count = len(materials)
    return MaterialTable(
        np.array([TEXTURES[m.texture] for m in materials], np.int64),
        np.array([m.color for m in materials], np.float64).reshape(count, 3),
        np.array([m.color2 for m in materials], np.float64).reshape(count, 3),
        np.array([m.scale for m in materials], np.float64),
        np.array([m.strength for m in materials], np.float64),
        np.array([m.specular for m in materials], np.float64),
        np.array([m.emission for m in materials], np.float64),
        np.array([m.seed for m in materials], np.int64),
    )


def mean_albedo(table: MaterialTable, samples: int = 8) -> NDArray[np.float64]:
    """(M, 3) mean reflectance of each material over a plane of two periods: the colour of indirect light."""
    return np.asarray(texture_kernels.mean_albedo(table, samples))
