"""Contract of every maker of furniture, at several seeds."""

import inspect

import numpy as np
import pytest
from mesh_checks import assert_closed, assert_outward

from pipelines.synth.base.materials import Style
from pipelines.synth.furniture import bath, bedroom, decor, kitchen, props, seating, storage, tables
from pipelines.synth.rendering.textures import TEXTURES
from scenegraph.labels import nyu40

MODULES = (bath, bedroom, decor, kitchen, props, seating, storage, tables)
ARGUMENTS = {
    "counter": (1.8,),
    "curtain": (1.6, 2.2),
    "blinds": (1.2, 1.3),
    "rug": (2.0, 1.4),
    "book_row": (0.5, 0.3, 0.2),
}
MAKERS = {
    name: maker
    for module in MODULES
    for name, maker in inspect.getmembers(module, inspect.isfunction)
    if maker.__module__ == module.__name__
    and list(inspect.signature(maker).parameters)[:2] == ["rng", "style"]
    and name[0] != "_"
}


def make(name, seed):
    rng = np.random.default_rng(seed)
    style = Style.draw(rng)
    return MAKERS[name](rng, style, *ARGUMENTS.get(name, ()))


def test_there_are_makers_for_most_classes():
    labels = {make(name, 0).label for name in MAKERS}
    assert len(MAKERS) > 60
    assert len(labels) >= 30
    assert labels <= set(nyu40().names)


@pytest.mark.parametrize("name", MAKERS)
def test_models_are_closed_stand_on_zero_and_declare_themselves_truly(name):
    for seed in range(4):
        model = make(name, seed)
        points = np.concatenate([part.vertices for part in model.parts])
        for part in model.parts:
            assert_closed(part.faces, name)
            assert_outward(part.vertices, part.faces, name)
            assert part.faces.dtype == np.int32
            assert part.material.texture in TEXTURES
            assert max(part.material.color) <= 1
            assert min(part.material.color) >= 0
            assert part.material.scale > 0
        low, high = points.min(axis=0), points.max(axis=0)
        np.testing.assert_allclose(low, [-high[0], -high[1], 0.0], atol=1e-9, err_msg="not centred on its base")
        np.testing.assert_allclose(
            [model.low, model.high], [low, high], atol=1e-9, err_msg="solids do not fit the parts"
        )
        inside = (
            (points[:, None] >= model.solids[None, :, :3] - 1e-9)
            & (points[:, None] <= model.solids[None, :, 3:] + 1e-9)
        ).all(axis=2)
        assert inside.any(axis=1).all(), "a vertex lies outside of all solids"
        assert sum(len(part.faces) for part in model.parts) <= 9000
        assert (model.size < 2.7).all()


@pytest.mark.parametrize("name", MAKERS)
def test_surfaces_are_level_and_supported(name):
    """Under the middle of each surface lies material at its height, and its rectangle is within the footprint."""
    for seed in range(3):
        model = make(name, seed)
        for surface in model.surfaces:
            x, y = np.mean(surface.x), np.mean(surface.y)
            assert model.low[0] - 1e-9 <= surface.x[0] < surface.x[1] <= model.high[0] + 1e-9
            assert model.low[1] - 1e-9 <= surface.y[0] < surface.y[1] <= model.high[1] + 1e-9
            over = model.solids[
                (model.solids[:, 0] <= x)
                & (model.solids[:, 3] >= x)
                & (model.solids[:, 1] <= y)
                & (model.solids[:, 4] >= y)
            ]
            tops = over[:, 5]
            assert (np.abs(tops - surface.z) < 0.03).any(), f"nothing below surface at {surface.z}"
            blocking = over[(over[:, 2] > surface.z + 0.03)]
            assert not len(blocking) or blocking[:, 2].min() >= surface.z + min(surface.headroom, 0.99) - 0.03


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    for name in ("sofa", "plant", "dining_chair"):
        first, second, other = make(name, 5), make(name, 5), make(name, 6)
        assert all(np.array_equal(a.vertices, b.vertices) for a, b in zip(first.parts, second.parts, strict=True))
        assert not np.array_equal(first.parts[0].vertices, other.parts[0].vertices)
