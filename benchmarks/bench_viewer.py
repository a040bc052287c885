"""How large the page of a map is, how long it takes to write and to open, and how long a picture of it takes.

    python benchmarks/bench_viewer.py [--faces N...]

opens pages of surfaces of so many triangles in Chromium without a graphics card, which draws far more slowly than any card: what
is bearable here is fluent there. Needs playwright and Chromium. Writes benchmarks/results/viewer.json.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json
from playwright.sync_api import Browser, sync_playwright

from mapping.mesh.io import write_mesh
from mapping.mesh.mesh import Mesh
from pipelines.views.scene_page import write_scene_html
from scenegraph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import ObjectNode, OrientedBox

ROOT = Path(__file__).parents[1]
SOFTWARE = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SIZE = {"width": 1280, "height": 800}
VERTEX_SPACING = 0.02
OBJECT_SPACING = 2.0
DRAW = """({coarse}) => {
  const {renderer, camera} = m2hScene.app, pixel = new Uint8Array(4), times = [];
  for (let i = 0; i < 5; i++) {
    const begin = performance.now();
    renderer.draw(camera.matrix(), camera.eye, {coarse});
    renderer.gl.readPixels(0, 0, 1, 1, renderer.gl.RGBA, renderer.gl.UNSIGNED_BYTE, pixel);
    times.push(performance.now() - begin);
  }
  return times.sort((a, b) => a - b)[2];
}"""


def landscape(faces: int) -> tuple[Mesh, SceneGraph]:
    """A rough floor with a box every two metres, as a grid of triangles 2 cm wide."""
    count = int(np.sqrt(faces / 2)) + 1
    rng = np.random.default_rng(0)
    i, j = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    x, y = i * VERTEX_SPACING, j * VERTEX_SPACING
    cell_x, cell_y = (np.floor(at / OBJECT_SPACING).astype(int) for at in (x, y))
    is_box = (np.mod(x, OBJECT_SPACING) > 0.6) & (np.mod(x, OBJECT_SPACING) < 1.4)
    is_box &= (np.mod(y, OBJECT_SPACING) > 0.6) & (np.mod(y, OBJECT_SPACING) < 1.4)
    per_row = int(cell_y.max()) + 1
    number = np.where(is_box, cell_x * per_row + cell_y + 1, 0)
    vertices = np.stack([x, y, np.where(is_box, 0.7, 0.0) + rng.normal(scale=0.003, size=x.shape)], axis=-1)
    a = (i[:-1, :-1] * count + j[:-1, :-1]).ravel()
    triangles = np.concatenate([np.stack([a, a + count, a + 1], 1), np.stack([a + 1, a + count, a + count + 1], 1)])
    colors = np.clip(120 + 40 * is_box[..., None] + rng.normal(scale=6, size=(*x.shape, 3)), 0, 255).astype(np.uint8)
    space = nyu40()
    labels = np.where(is_box, space.id_of("table"), space.id_of("floor")).astype(np.uint16)
    mesh = Mesh(
        vertices.reshape(-1, 3),
        triangles.astype(np.int32),
        colors=colors.reshape(-1, 3),
        labels=labels.ravel(),
        objects=number.astype(np.uint32).ravel(),
        confidence=np.full(count * count, 0.8, np.float32),
    )
    graph = SceneGraph(space, np.eye(4))
    for each in np.unique(number[number > 0]):
        center = np.array([((each - 1) // per_row + 0.5) * 2, ((each - 1) % per_row + 0.5) * 2, 0.35])
        box = OrientedBox(center, np.array([0.8, 0.8, 0.7]), np.eye(3))
        graph.add(ObjectNode("table", space.id_of("table"), center, box, number=int(each)))
    return mesh, graph


def measure(browser: Browser, folder: Path, faces: int) -> dict[str, Any]:
    """One size."""
    mesh, graph = landscape(faces)
    write_mesh(mesh, folder / "mesh.ply")
    begin = time.perf_counter()
    write_scene_html(mesh, graph, folder / "scene.html")
    written = time.perf_counter() - begin
    page = browser.new_page(viewport=SIZE)
    page.set_default_timeout(600_000)
    begin = time.perf_counter()
    page.goto((folder / "scene.html").as_uri())
    while page.evaluate("document.body.dataset.state") != "ready":
        time.sleep(0.05)
    opened = time.perf_counter() - begin
    row = {
        "faces": len(mesh.faces),
        "objects": len(graph.nodes("object")),
        "ply_mb": (folder / "mesh.ply").stat().st_size / 1e6,
        "page_mb": (folder / "scene.html").stat().st_size / 1e6,
        "write_s": written,
        "open_s": opened,
        "drawn_faces": page.evaluate("m2hScene.app.renderer.mesh.faces.length / 3"),
        "full_ms": page.evaluate(DRAW, {"coarse": False}),
        "coarse_ms": page.evaluate(DRAW, {"coarse": True}),
    }
    page.close()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, nargs="+", default=[300_000, 2_000_000, 8_000_000])
    options = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    rows = []
    with sync_playwright() as started, tempfile.TemporaryDirectory() as folder:
        browser = started.chromium.launch(executable_path=program, args=SOFTWARE)
        for faces in options.faces:
            rows.append(measure(browser, Path(folder), faces))
            print(rows[-1], flush=True)
        version = browser.version
    write_json(
        ROOT / "benchmarks" / "results" / "viewer.json", {"machine": machine(), "chromium": version, "rows": rows}
    )


if __name__ == "__main__":
    main()
