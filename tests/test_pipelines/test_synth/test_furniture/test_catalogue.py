"""OBJ catalogues: a tiny one made here, broken ones, and the Debian package where it is installed."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from mesh_checks import assert_closed, assert_outward

from pipelines.synth.base.materials import Style
from pipelines.synth.base.shapes import block, merge, signed_volume
from pipelines.synth.base.world import Material, Part
from pipelines.synth.furniture import catalogue, seating
from pipelines.synth.furniture.base import MODEL_SHARE
from pipelines.synth.furniture.catalogue import (
    CatalogueError,
    Library,
    load_entry,
    parse_properties,
    read_catalogues,
    role_of,
)
from pipelines.synth.furniture.obj_model import ObjError, collision_boxes, level_surface, parse_mtl, parse_obj
from pipelines.synth.generate import WorldConfig, generate_world

PACKAGE = Path("/usr/share/sweethome3d/furniture")

# A unit cube with y up (x right, front towards +z) whose faces look inwards, and a marker on its front.
CUBE = """mtllib things.mtl
v 0 0 0
v 2 0 0
v 2 1 0
v 0 1 0
v 0 0 4
v 2 0 4
v 2 1 4
v 0 1 4
usemtl red wood
f 1/1 2/2 3/3 4/4
f 5 8 7 6
f 1 5 6 2
f 4 3 7 8
f 1 4 8 5
usemtl pale
f -7 -3 -2 -6
"""
MTL = "newmtl red wood\nKd 1.0 0.0 0.0\nKs 0.5 0.5 0.5\nnewmtl pale\nKd 0.5\nmap_Kd pale.png\n"
ENTRY = """id#1=x
name#1=Chair
category#1=Living room
model#1=/m/cube.obj
width#1=50
depth#1=40
height#1=90
creator#1=Somebody
"""


def write_catalogue(folder, entries=ENTRY, obj=CUBE, name="tiny.sh3f"):
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 1] = 255
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", "# c\nid=t\nlicense=CC-BY\n" + entries)
        archive.writestr("m/cube.obj", obj)
        archive.writestr("m/things.mtl", MTL)
        archive.writestr("m/pale.png", cv2.imencode(".png", image)[1].tobytes())
    return folder


def test_an_entry_becomes_a_model_of_true_size_that_faces_plus_y(tmp_path):
    (entry,) = read_catalogues(write_catalogue(tmp_path))
    assert entry.credit == "Chair by Somebody (CC-BY)"
    model = load_entry(entry)
    assert (model.name, model.label) == ("dining chair", "chair")
    np.testing.assert_allclose(model.size, (0.5, 0.4, 0.9), atol=1e-9)
    np.testing.assert_allclose(model.low, (-0.25, -0.2, 0.0), atol=1e-9)
    red, pale = (part.material for part in model.parts)
    assert red.texture == "wood"
    assert red.color[0] > 0.8 > 0.05 > red.color[1]
    assert pale.color[1] > 0.8 > 0.05 > pale.color[0]  # the texture's mean colour
    # In the file the pale face lies at x = 2, to the right of one who looks at the front: at -x of a body that faces +y.
    np.testing.assert_allclose(model.parts[1].vertices[:, 0], -0.25, atol=1e-9)


def test_closed_pieces_are_turned_outwards_and_double_faces_dropped(tmp_path):
    obj = CUBE.replace("usemtl pale\n", "f 1 4 3 2\n")
    model = load_entry(*read_catalogues(write_catalogue(tmp_path, obj=obj)))
    (part,) = model.parts
    assert len(part.faces) == 12
    assert_closed(part.faces)
    assert_outward(part.vertices, part.faces)
    assert signed_volume(part.vertices, part.faces) == pytest.approx(0.5 * 0.4 * 0.9)


def test_model_rotation_turns_the_file_before_it_is_scaled(tmp_path):
    entries = ENTRY + "modelRotation#1=0 0 1 0 1 0 -1 0 0\n"  # a quarter turn about y: +z of the file becomes +x
    model = load_entry(*read_catalogues(write_catalogue(tmp_path, entries)))
    np.testing.assert_allclose(model.size, (0.5, 0.4, 0.9), atol=1e-9)
    np.testing.assert_allclose(model.parts[1].vertices[:, 1], -0.2, atol=1e-9)  # x = 2 became the back


@pytest.mark.parametrize(
    "change",
    [
        ("Living room", "Exterior"),
        ("Chair", "Submarine"),
        ("width#1=50", "width#1=250"),
        ("creator", "doorOrWindow#1=true\ncreator"),
        ("creator", "elevation#1=80\ncreator"),
        ("/m/cube.obj", "/m/other.obj"),
    ],
)
def test_what_is_unusable_is_ignored(tmp_path, change):
    assert read_catalogues(write_catalogue(tmp_path, ENTRY.replace(*change, 1))) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("width#1=50", "width#1=wide"), r"tiny.sh3f: width#1: expected centimetres, got 'wide'"),
        (("width#1=50\n", ""), "width#1: expected centimetres, got None"),
        (("creator", "modelRotation#1=1 0\ncreator"), "modelRotation#1: expected nine numbers"),
        (("creator", "modelRotation#1=1 0 0 0 1 0 0 0 x\ncreator"), "modelRotation#1: expected nine numbers"),
        (("creator", "elevation#1=high\ncreator"), "elevation#1: expected a number of centimetres, got 'high'"),
    ],
)
def test_numbers_that_are_none_are_named(tmp_path, change, said):
    with pytest.raises(CatalogueError, match=said):
        read_catalogues(write_catalogue(tmp_path, ENTRY.replace(*change, 1)))


def test_folders_and_files_that_are_no_catalogue_are_rejected(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CatalogueError, match="expected a folder with furniture catalogues"):
            read_catalogues(folder)
    (tmp_path / "broken.sh3f").write_bytes(b"no zip")
    with pytest.raises(CatalogueError, match=r"broken.sh3f: not readable as a zip file"):
        read_catalogues(tmp_path)
    (tmp_path / "broken.sh3f").unlink()
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(CatalogueError, match=r"empty.zip: expected a member PluginFurnitureCatalog.properties"):
        read_catalogues(tmp_path)


def test_members_outside_of_the_zip_are_never_touched(tmp_path):
    (tmp_path / "things.mtl").write_text(MTL)
    obj = CUBE.replace("mtllib things.mtl", "mtllib ../../../things.mtl")
    model = load_entry(*read_catalogues(write_catalogue(tmp_path, obj=obj)))
    assert {part.material for part in model.parts} == {Material((0.5, 0.5, 0.5))}


def test_models_that_are_too_large_are_ignored_or_simplified(tmp_path, monkeypatch):
    (entry,) = read_catalogues(write_catalogue(tmp_path))
    monkeypatch.setattr(catalogue, "MOST_TRIANGLES_READ", 11)
    assert load_entry(entry) is None
    assert Library((entry,)).draw(np.random.default_rng(0), "dining chair") is None
    monkeypatch.setattr(catalogue, "MOST_TRIANGLES_READ", 12)
    monkeypatch.setattr(catalogue, "MAX_MEMBER_BYTES", 50)
    assert load_entry(entry) is None


def test_coarser_models_keep_their_size(tmp_path, monkeypatch):
    lines, faces = [], []
    for k in range(400):  # a strip of thin upright slabs
        x = k / 400
        lines += [f"v {x} {y} {z}" for y in (0, 1) for z in (0, 1)]
        if k:
            a = 4 * k
            faces += [f"f {a - 3} {a - 1} {a + 3} {a + 1}", f"f {a - 2} {a + 2} {a + 4} {a}"]
    monkeypatch.setattr(catalogue, "MOST_TRIANGLES", 200)
    model = load_entry(*read_catalogues(write_catalogue(tmp_path, obj="\n".join(lines + faces))))
    assert 20 < sum(len(part.faces) for part in model.parts) <= 200
    np.testing.assert_allclose(model.size, (0.5, 0.4, 0.9), atol=0.02)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v 0 0\n", "line 1: .*"),
        ("v 0 0 a\n", "line 1: could not convert"),
        ("v 0 0 0\nf 1 2 3\n", "line 2: face refers to vertex 2 of 1"),
        ("v 0 0 0\nf 0 1 1\n", "line 2: face refers to vertex 0 of 1"),
        ("# nothing\n", "expected vertices and faces, found none"),
        ("v nan 0 0\nf 1 1 1\n", "expected finite vertices"),
    ],
)
def test_broken_obj_files_are_named_by_line(tmp_path, text, said):
    with pytest.raises(ObjError, match=said):
        parse_obj(text)
    with pytest.raises(CatalogueError, match=r"m/cube\.obj"):
        load_entry(*read_catalogues(write_catalogue(tmp_path, obj=text)))


def test_broken_colours_are_named():
    with pytest.raises(ObjError, match="Kd red: expected one or three numbers"):
        parse_mtl("newmtl a\nKd red\n", lambda _: None)


def test_properties_follow_java():
    text = "# c\n! c\na = 1\nb=two \\\n   words\nc#1=caf\\u00e9\nno\n"
    assert parse_properties(text) == {"a": "1", "b": "two words", "c#1": "café", "no": ""}


def test_names_are_matched_with_their_sizes():
    assert role_of("Table", (1.4, 0.8, 0.75)).name == "dining table"
    assert role_of("Table", (1.0, 0.6, 0.4)).name == "coffee table"
    assert role_of("table", (9.0, 0.6, 0.4)) is None
    assert role_of("Turntable", (1.0, 0.6, 0.4)) is None


def test_collision_boxes_hold_the_surface_and_leave_room_under_a_table():
    top, legs = (
        block((1.2, 0.8, 0.04), (0, 0, 0.7)),
        [block((0.05, 0.05, 0.7), (x, y, 0)) for x in (-0.55, 0.55) for y in (-0.35, 0.35)],
    )
    table = merge([top, *legs])
    boxes = collision_boxes(table.vertices[table.faces], 0.08)
    points = table.vertices
    inside = ((points[:, None] >= boxes[None, :, :3] - 1e-9) & (points[:, None] <= boxes[None, :, 3:] + 1e-9)).all(
        axis=2
    )
    assert inside.any(axis=1).all()
    assert len(boxes) < 40
    under = np.array([0.0, 0.0, 0.3])
    assert not ((boxes[:, :3] <= under) & (boxes[:, 3:] >= under)).all(axis=1).any()
    surface = level_surface([Part(table.vertices, table.faces, Material((0.5, 0.5, 0.5)))], 0.74)
    assert surface.z == pytest.approx(0.74)
    assert surface.x[1] - surface.x[0] > 1.0
    assert level_surface([Part(table.vertices, table.faces, Material((0.5, 0.5, 0.5)))], 0.4) is None


def test_makers_take_models_where_there_are_some(tmp_path):
    library = Library.read(write_catalogue(tmp_path))
    rng = np.random.default_rng(0)
    style = Style.draw(rng)
    with_models = Style(**{**vars(style), "models": library})
    sizes = [round(float(seating.dining_chair(rng, with_models).size[2]), 6) for _ in range(60)]
    assert abs(np.mean([size == 0.9 for size in sizes]) - MODEL_SHARE) < 0.2
    assert list(library.used) == ["Chair by Somebody (CC-BY)"]
    assert seating.sofa(rng, with_models).name == "sofa"


def test_worlds_name_the_authors_of_their_models(tmp_path):
    folder = write_catalogue(tmp_path)
    worlds = [generate_world(WorldConfig(rooms=3, models=folder), seed) for seed in (1, 1)]
    chairs = [body for body in worlds[0].bodies if body.name == "dining chair"]
    assert worlds[0].credits in ((), ("Chair by Somebody (CC-BY)",))
    assert bool(worlds[0].credits) >= any(len(body.parts) == 2 and len(body.parts[0].faces) == 10 for body in chairs)
    for a, b in zip(worlds[0].bodies, worlds[1].bodies, strict=True):
        assert all(np.array_equal(p.vertices, q.vertices) for p, q in zip(a.parts, b.parts, strict=True))


@pytest.mark.full
@pytest.mark.skipif(not PACKAGE.is_dir(), reason="the Debian package sweethome3d-furniture is not installed")
def test_the_debian_package_is_readable():
    library = Library.read(PACKAGE)
    roles = {entry.role.name for entry in library.entries}
    assert len(library.entries) > 100
    assert len(roles) > 25
    rng = np.random.default_rng(0)
    for role in sorted(roles):
        model = library.draw(rng, role)
        if model is None:
            continue
        points = np.concatenate([part.vertices for part in model.parts])
        np.testing.assert_allclose([model.low, model.high], [points.min(axis=0), points.max(axis=0)], atol=0.05)
        assert sum(len(part.faces) for part in model.parts) <= catalogue.MOST_TRIANGLES
    world = generate_world(WorldConfig(rooms=4, models=PACKAGE), 1)
    assert len(world.credits) > 5
