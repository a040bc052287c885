"""Chromium without a window for tests of pages: one browser, pages that note what goes wrong in them and what they ask for."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

SOFTWARE = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE = 90
"""Seconds for which a page may be busy, on a machine that has much else to do."""
SLOW_DRIVER = "GL Driver Message (OpenGL, Performance"
"""What Chromium prints where pixels are read while it draws in software."""
NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; skips the test where playwright or Chromium is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=SOFTWARE)
        yield browser
        browser.close()


class MapPage:
    """A page of a map in a browser: what it says of itself, and what a user does with it."""

    def __init__(self, browser: Any, address: str, size: tuple[int, int] = (1200, 760)) -> None:
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(1000 * PATIENCE)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: SLOW_DRIVER in message.text or self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.settle()

    @property
    def facts(self) -> dict[str, str]:
        """What the page notes of its state at its body."""
        return dict(self.page.evaluate("({...document.body.dataset})"))

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.page.evaluate(script)

    def settle(self) -> None:
        """Wait until the view stands still and is drawn in full."""
        end = time.monotonic() + PATIENCE
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        while self.facts["state"] != "ready":
            assert self.facts["state"] != "failed", self.problems
            assert time.monotonic() < end, self.facts
            time.sleep(0.05)

    def click_point(self, point: list[float]) -> None:
        """Click where a point of the world is in the view."""
        at = self.run(f"m2hScene.app.camera.project({point})")
        self.page.mouse.click(at["x"], at["y"])
        self.settle()

    def click(self, selector: str) -> None:
        """Click an element, and wait."""
        self.page.click(selector)
        self.settle()

    def slide(self, selector: str, value: float) -> None:
        """Move a slider."""
        self.run(
            f"((s) => {{ s.value = {value}; s.dispatchEvent(new Event('input')); }})(document.querySelector('{selector}'))"
        )
        self.settle()

    def reset(self) -> None:
        """Nothing chosen, all times, colours of the images, the first view."""
        self.run("m2hScene.app.measure.set(false)")
        self.run("m2hScene.app.section.set({active: false})")
        self.run("m2hScene.app.choose(null)")
        self.run("m2hScene.app.setTime(null)")
        self.run("m2hScene.app.setMode(0)")
        self.page.fill("#search", "")
        self.click("#home")

    def picture(self) -> NDArray[np.uint8]:
        """What is to be seen (H, W, 3) uint8 RGB."""
        data = np.frombuffer(self.page.screenshot(), np.uint8)
        return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))

    def color_at(self, point: list[float]) -> NDArray[np.uint8]:
        """The colour (3,) where a point of the world is in the view."""
        at = self.run(f"m2hScene.app.camera.project({point})")
        return np.asarray(self.picture()[round(at["y"]), round(at["x"])])


def file_address(path: Path) -> str:
    """The address of a file."""
    return path.resolve().as_uri()
