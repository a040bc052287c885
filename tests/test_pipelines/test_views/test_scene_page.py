"""scene.html in a browser: it draws, asks nobody for anything, and does what its buttons say."""

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from browser import MapPage, chromium, file_address
from flat_scene import COLORS, flat_keyframes, flat_mesh
from helpers import sphere_mesh
from scenes import make_object, small_flat

from mapping.mesh.mesh import Mesh
from pipelines.views import packing
from pipelines.views.changes import page_changes
from pipelines.views.keyframes import load_keyframes, save_keyframes
from pipelines.views.measured import measured_of
from pipelines.views.packing import clustered, pack_mesh
from pipelines.views.scene_page import scene_html, write_scene_html
from pipelines.workspace import WorkspaceError
from scenegraph.files.json_io import save_scene_graph
from scenegraph.labels import nyu40

FLOOR_OF_KITCHEN = [3.3, 2.5, 0.0]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "scene.html"
    write_scene_html(flat_mesh(), small_flat(), path, title="a small flat", keyframes=flat_keyframes())
    return MapPage(browser, file_address(path))


@pytest.fixture
def page(opened):
    """The page of the flat as it was when it was opened, without complaints."""
    opened.reset()
    yield opened
    assert opened.problems == []
    assert [address for address in opened.requests if not address.startswith(("file:", "data:"))] == []


def looks_like(color, expected):
    """Whether a colour is a shade of another: of the same direction, and not darker than half of it."""
    color, expected = np.asarray(color, float), np.asarray(expected, float)
    cosine = color @ expected / np.linalg.norm(color) / np.linalg.norm(expected)
    return cosine > 0.995 and 0.5 < np.linalg.norm(color) / np.linalg.norm(expected) < 1.1


def target(page):
    return np.array(page.run("m2hScene.app.camera.target"))


@pytest.mark.slow
class TestPage:
    def test_it_shows_the_surface_as_it_is(self, page):
        assert looks_like(page.color_at(FLOOR_OF_KITCHEN), COLORS["floor"])
        assert page.page.inner_text("#panel h1") == "a small flat"
        assert page.page.inner_text("#summary") == "2 rooms, 4 objects, 1 moving"
        mesh = flat_mesh()
        drawn = page.run(
            "(({mesh: m}) => ({faces: [...m.faces], positions: [...m.positions], low: m.low, size: m.size,"
            " objects: [...m.objects]}))(m2hScene.app.renderer)"
        )
        np.testing.assert_array_equal(np.array(drawn["faces"]).reshape(-1, 3), mesh.faces)
        at = np.array(drawn["positions"]).reshape(-1, 3) / 65535 * drawn["size"] + drawn["low"]
        np.testing.assert_allclose(at, mesh.vertices, atol=1e-4)
        keys = [key for key, _ in small_flat().nodes("object")]
        numbers = {0: 0} | {node.number: keys.index(key) + 1 for key, node in small_flat().nodes("object")}
        assert drawn["objects"] == [numbers[number] for number in mesh.objects]

    def test_a_click_on_an_object_shows_its_card(self, page):
        before = page.color_at([1.2, 2.2, 0.8])
        page.click_point([0.6, 1.9, 0.8])
        assert page.facts["chosen"] == "O0"
        text = page.page.inner_text("#card")
        for expected in ("O0 table", "1.20 × 0.80 × 0.80 m", "R0 kitchen", "12 frames", "90 %", "O3 box is on it"):
            assert expected in text
        assert page.page.inner_text("#tree .chosen").startswith("O0 table")
        assert page.page.url.endswith("#O0")
        after = page.color_at([1.2, 2.2, 0.8]).astype(int)
        assert (after - before)[0] > 40  # it is orange now
        outline = page.page.get_attribute("#card polygon", "points")
        assert outline == "0.3333,0.2500 1.0000,0.2500 1.0000,0.7500 0.3333,0.7500"
        page.page.keyboard.press("Escape")
        assert page.facts["chosen"] == ""
        assert not page.page.is_visible("#card")

    def test_cards_lead_from_one_to_another(self, page):
        page.click('.row[data-key="O3"]')
        page.click("#card .relation button")
        assert page.facts["chosen"] == "O0"
        page.click('#card button.link:has-text("R0 kitchen")')
        assert page.facts["chosen"] == "R0"
        text = page.page.inner_text("#card")
        for expected in ("12.0 m²", "4.00 × 3.00 m", "1 × table", "to", "R1 bedroom"):
            assert expected in text

    def test_an_image_shows_depth_and_the_view_of_its_camera(self, page):
        page.click('.row[data-key="O0"]')
        page.click("#card figure")
        assert page.facts["frame"] == "1"
        assert page.page.locator("#card img").count() == 2
        assert "bright 3.0 m" in page.page.inner_text("#card")
        assert float(page.facts["time"]) == 1.0
        page.click('button:has-text("look from here")')
        page.page.wait_for_timeout(700)
        page.settle()
        np.testing.assert_allclose(page.run("m2hScene.app.camera.eye"), [2, 1, 1.5], atol=0.05)

    def test_a_row_flies_to_its_object(self, page):
        page.click('.row[data-key="O2"]')
        page.page.wait_for_timeout(700)
        page.settle()
        np.testing.assert_allclose(target(page), [6, 1, 0.5], atol=1e-6)
        assert page.run("m2hScene.app.camera.distance") < 4

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("chair", ["O1", "O2"]),
            ("chair kitchen", ["O1"]),
            ("O2", ["O2"]),
            ("bedroom", ["O2"]),
            ("person", ["T0"]),
            ("", ["O0", "O1", "O3", "O2", "T0"]),
            ("sofa", []),
        ],
    )
    def test_the_search_finds(self, page, text, found):
        page.page.fill("#search", text)
        rows = page.page.locator("#tree li .row")
        assert [row.get_attribute("data-key") for row in rows.all() if row.is_visible()] == found

    def test_names_do_not_overlap_and_only_near_ones_are_shown(self, page):
        def shown():
            return page.run(
                "[...document.querySelectorAll('.name')].filter((n) => !n.hidden).map((n) => [n.textContent,"
                " ...['left','top','right','bottom'].map((s) => n.getBoundingClientRect()[s])])"
            )

        assert {name for name, *_ in shown()} == {"kitchen", "bedroom", "T0 person"}
        page.click('.row[data-key="R0"]')
        page.page.wait_for_timeout(700)
        page.settle()
        names = shown()
        assert {"chair", "kitchen", "table"} <= {name for name, *_ in names}
        for (_, *a), (_, *b) in itertools.combinations(names, 2):
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]

    def test_the_slider_moves_the_camera_and_people_and_shows_who_was_there(self, page):
        page.slide("#when", 1.5)
        assert page.facts["camera"] == "2.50 1.00 1.50"
        assert page.facts["moving"] == "T0"
        assert page.run("m2hScene.app.timeline.trackAt(m2hScene.app.scene.tracks.get('T0'), 1.5)") == [2.5, 1.5, 0.9]
        assert page.facts["absent"] == "0"
        page.slide("#when", 4.5)
        assert page.facts["moving"] == ""  # not seen from 2 to 6 s
        assert page.facts["absent"] == "2"  # a chair was taken away at 4 s, the other is absent until 6 s
        page.click("#all-times")
        assert (page.facts["absent"], page.facts["time"], page.facts["moving"]) == ("0", "", "")

    def test_playing_moves_the_time(self, page):
        page.page.click("#play")
        page.page.wait_for_timeout(1500)
        page.page.click("#play")
        page.settle()
        assert 0.2 < float(page.facts["time"]) <= 6

    def test_colours_and_their_legend(self, page):
        page.page.select_option("#mode", "1")
        page.settle()
        palette = {c.name: c.color for c in nyu40().classes}
        assert looks_like(page.color_at(FLOOR_OF_KITCHEN), palette["floor"])
        legend = page.page.inner_text("#legend")
        assert all(name in legend for name in ("wall", "floor", "ceiling", "chair", "table", "box"))
        page.click('#legend [data-class="table"]')  # leaves only tables in colour
        assert np.ptp(page.color_at(FLOOR_OF_KITCHEN).astype(int)) < 12
        page.page.select_option("#mode", "3")
        page.settle()
        confident, doubtful = page.color_at([2.5, 1.0, 1.0]).astype(int), page.color_at(FLOOR_OF_KITCHEN).astype(int)
        assert confident[1] > confident[0]  # green
        assert doubtful[0] >= doubtful[1]  # yellow
        page.page.select_option("#mode", "2")
        page.settle()
        assert np.ptp(page.color_at(FLOOR_OF_KITCHEN).astype(int)) < 12
        assert np.ptp(page.color_at([2.5, 1.0, 1.0]).astype(int)) > 60

    def test_measuring(self, page):
        page.page.click("#top")
        page.page.wait_for_timeout(700)
        page.settle()
        page.page.click("#measure")
        a, b = [2.0, 0.3, 0.0], [3.5, 2.3, 0.0]
        page.click_point(a)
        page.click_point(b)
        assert float(page.facts["measured"]) == pytest.approx(2.5, abs=0.03)
        assert "height 0.0" in page.page.inner_text("#hint")
        page.page.keyboard.press("Escape")
        assert not page.page.is_visible("#hint")

    def test_the_section_cuts_what_is_seen_and_what_is_clicked(self, page):
        page.click("#section-button")
        assert page.facts["section"] == "z 1.50"
        page.slide("#section-at", 0.5)
        assert page.facts["section"] == "z 0.50"
        page.click_point([2.5, 1.0, 1.0])  # the top of the chair, which is cut away
        assert page.facts["chosen"] == ""
        page.page.check("#section-flip")
        page.settle()
        assert np.ptp(page.color_at(FLOOR_OF_KITCHEN).astype(int)) < 12  # the floor is cut away instead

    def test_an_address_chooses(self, browser, page):
        other = MapPage(browser, page.page.url.partition("#")[0] + "#O2")
        assert other.facts["chosen"] == "O2"
        assert other.problems == []
        other.page.close()

    def test_layers(self, page):
        page.page.evaluate("document.querySelector('#layers').parentElement.open = true")
        page.page.uncheck('[data-layer="surface"]')
        page.settle()
        assert not looks_like(page.color_at(FLOOR_OF_KITCHEN), COLORS["floor"])
        page.page.check('[data-layer="surface"]')
        page.page.check('[data-layer="frames"]')
        page.settle()
        image = page.run("m2hScene.app.renderer.pictures[1].corners")
        middle = np.mean(image, axis=0).tolist()
        page.run("m2hScene.app.choose(null)")
        eye = [middle[0] - 1.5, middle[1], middle[2] + 0.4]
        page.run(f"m2hScene.app.camera.flyFrom({eye}, {middle})")
        page.page.wait_for_timeout(700)
        page.settle()
        page.click_point(middle)
        assert page.facts.get("frame") == "0"
        page.page.uncheck('[data-layer="frames"]')


@pytest.mark.slow
def test_names_of_others_are_only_text(browser, tmp_path):
    graph, bad = small_flat(), "</script><img src=x onerror=alert(1)>{{mesh}}"
    graph.replace("R0", replace(graph["R0"], label=bad))
    path = tmp_path / "scene.html"
    write_scene_html(flat_mesh(), graph, path, title=bad)
    page = MapPage(browser, file_address(path))
    assert page.page.inner_text("#panel h1") == bad
    assert bad in page.page.inner_text("#tree")
    assert page.page.locator("img").count() == 0
    assert (page.problems, page.requests) == ([], [file_address(path)])
    page.page.close()


@pytest.mark.slow
def test_changes_since_another_visit(browser, tmp_path):
    earlier, graph = small_flat(), small_flat()
    graph.replace("O0", make_object("table", [3, 2, 0.4], (1.2, 0.8, 0.8), yaw=0.3, views=12, number=3))
    changes = page_changes(earlier, graph)
    assert [(change["kind"], change["b"], round(change["distance"], 2)) for change in changes] == [("moved", "O0", 2.0)]
    path = tmp_path / "scene.html"
    write_scene_html(flat_mesh(), graph, path, changes=changes)
    page = MapPage(browser, file_address(path))
    assert "O0 table moved 2.00 m" in page.page.inner_text("#tree")
    page.click("[data-change]")
    page.page.wait_for_timeout(700)
    page.settle()
    np.testing.assert_allclose(target(page), [3, 2, 0.4], atol=1e-6)
    assert page.problems == []
    page.page.close()


@pytest.mark.slow
def test_a_map_without_anything_opens(browser, tmp_path):
    path = tmp_path / "scene.html"
    write_scene_html(Mesh.empty(), type(small_flat())(nyu40()), path)
    page = MapPage(browser, file_address(path))
    assert page.page.inner_text("#summary") == "0 rooms, 0 objects"
    assert page.problems == []
    page.page.close()


def test_changes_are_in_the_world_of_the_map_they_are_shown_in():
    shift = np.eye(4)
    shift[:3, 3] = [5.0, 0, 0]
    graph = small_flat().transformed(shift)
    earlier = small_flat()
    earlier.add(make_object("sofa", [6, 2, 0.4], (1.5, 0.8, 0.8), views=9, number=9), parent="R1")
    (change,) = page_changes(earlier, graph)
    assert (change["kind"], change["a"], change["b"]) == ("disappeared", "O4", None)
    np.testing.assert_allclose(change["boxes"][0]["center"], [11, 2, 0.4], atol=1e-3)


def test_the_page_is_the_same_each_time_and_asks_for_nothing():
    pages = {scene_html(flat_mesh(), small_flat(), title="flat", keyframes=flat_keyframes()) for _ in range(2)}
    assert len(pages) == 1
    (page,) = pages
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert [node["key"] for node in data["objects"]] == ["O0", "O1", "O2", "O3"]


@pytest.mark.parametrize(
    "damage",
    [
        {"frames": 3},
        {"objects": []},
        {"frames": [{}]},
        {"objects": {"O0": [{"frame": 9, "outline": []}]}},
        {"objects": {"O0": [{"frame": 0, "outline": [[["x", 1]]]}]}},
        *(
            {"frame": change}
            for change in ({"fx": 0}, {"rotation": [0, 0, 0, 0]}, {"position": [1, 2]}, {"time": "now"})
        ),
        *(
            {"frame": change}
            for change in ({"image": {"type": "text/html", "data": ""}}, {"depth": 1}, {"shows": [1]}, {"width": 0})
        ),
    ],
)
def test_images_that_no_run_writes_are_refused(tmp_path, damage):
    save_scene_graph(small_flat(), tmp_path / "scene_graph.json")
    save_keyframes(tmp_path, flat_keyframes())
    assert load_keyframes(tmp_path) == flat_keyframes()
    record = flat_keyframes() | {name: value for name, value in damage.items() if name != "frame"}
    if "frame" in damage:
        record["frames"][1] |= damage["frame"]
    save_keyframes(tmp_path, record)
    with pytest.raises(WorkspaceError, match=r"keyframes\.json: .*expected.*remove the file"):
        load_keyframes(tmp_path)


def test_large_maps_are_simplified_and_have_a_coarse_version(monkeypatch):
    mesh = replace(sphere_mesh(subdivisions=5), objects=np.ones(10242, np.uint32))
    assert len(mesh.faces) == 20480
    monkeypatch.setattr(packing, "MOST_FACES", 5000)
    monkeypatch.setattr(packing, "COARSE_FACES", 1000)
    packed = pack_mesh(mesh, np.zeros(1, np.int64), np.array([0, 1]))
    arrays = packed.header["arrays"]
    assert 2000 < arrays["faces"]["count"] / 3 <= 5000
    assert 300 < arrays["coarse"]["count"] / 3 <= 1000
    assert packed.cell > 0
    faces = clustered(mesh, 0.1)
    radii = np.linalg.norm(mesh.vertices[faces].mean(axis=1), axis=1)
    assert radii.min() > 0.98  # it is still the sphere
    closed = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    assert (np.unique(closed, axis=0, return_counts=True)[1] == 2).mean() > 0.99


def test_what_was_not_measured_has_no_number():
    graph = small_flat()
    measured = measured_of(graph)
    assert measured.heights == {"R0": 2.5, "R1": 2.5}
    assert measured.ceilings == {"F0": 2.5}
    assert measured.areas == {"R0": 12.0, "R1": 12.0}
    graph.replace("R0", replace(graph["R0"], evidence={"ceiling_seen": 0.0, "floor_seen": 0.9}))
    graph.replace("R1", replace(graph["R1"], evidence={"ceiling_seen": 0.0, "floor_seen": 0.1}))
    measured = measured_of(graph)
    assert measured.heights == {"R0": None, "R1": None}
    assert measured.ceilings == {"F0": None}
    assert measured.areas == {"R0": 12.0, "R1": None}
    page = scene_html(flat_mesh(), graph, title="flat")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert [(room["area"], room["height"]) for room in data["rooms"]] == [(12.0, None), (None, None)]
    assert data["storeys"][0]["ceiling"] is None
