// Measuring between points of the surface, and the section.

class Measure {
  constructor(app) {
    Object.assign(this, { app, active: false, points: [] });
    byId("measure").addEventListener("click", () => this.set(!this.active));
    addEventListener("keydown", (event) => event.key === "Escape" && this.set(false));
  }

  set(active) {
    this.active = active;
    this.points = [];
    byId("measure").classList.toggle("on", active);
    byId("view").classList.toggle("measuring", active);
    this.refresh();
  }

  addPoint(point) {
    if (this.points.length >= 2) this.points = [];
    this.points.push(point);
    this.refresh();
  }

  get length() { return this.points.length === 2 ? norm(subtract(...this.points)) : null; }

  refresh() {
    const { points } = this, hint = byId("hint");
    hint.hidden = !this.active;
    if (points.length === 2) {
      const [dx, dy, dz] = subtract(points[1], points[0]).map(Math.abs);
      hint.textContent = `${this.length.toFixed(3)} m   (flat ${Math.hypot(dx, dy).toFixed(3)} m, height ${dz.toFixed(3)} m)`;
    } else {
      hint.textContent = points.length ? "click the second point" : "click the first point";
    }
    const yellow = [255, 214, 0, 255], lines = points.flatMap((p) => [0, 1, 2].map((axis) => {
      const from = [...p], to = [...p];
      from[axis] -= 0.04;
      to[axis] += 0.04;
      return { from, to, color: yellow, width: 3 };
    }));
    if (points.length === 2) lines.push({ from: points[0], to: points[1], color: yellow, width: 3 });
    this.app.renderer.setLines("measure", lines, { onTop: true });
    document.body.dataset.measured = this.length === null ? "" : this.length.toFixed(4);
    this.app.invalidate();
  }

  candidates() {
    if (this.length === null) return [];
    return [{ key: "", kind: "length", text: `${this.length.toFixed(2)} m`, at: mixed(...this.points, 0.5), rank: -1, always: true }];
  }
}

class Section {
  constructor(app) {
    Object.assign(this, { app, active: false, axis: 2, at: 0, flip: false });
    byId("section-button").addEventListener("click", () => this.set({ active: !this.active }));
    byId("section-axis").addEventListener("change", (event) => this.set({ axis: Number(event.target.value), at: null }));
    byId("section-at").addEventListener("input", (event) => this.set({ at: Number(event.target.value) }));
    byId("section-flip").addEventListener("change", (event) => this.set({ flip: event.target.checked }));
  }

  // Where it starts: at eye height over the storey that is looked at, else in the middle.
  start(axis) {
    const { low, size } = this.app.renderer.mesh;
    if (axis !== 2) return low[axis] + size[axis] / 2;
    return (this.app.storey()?.z[0] ?? low[2]) + Math.min(1.6, size[2] * 0.6);
  }

  set(change) {
    const fresh = change.active && !this.active;
    Object.assign(this, change);
    if (fresh || change.at === null) this.at = this.start(this.axis);
    byId("section").hidden = !this.active;
    byId("section-button").classList.toggle("on", this.active);
    const { low, size } = this.app.renderer.mesh, slider = byId("section-at");
    Object.assign(slider, { min: low[this.axis] - 0.01, max: low[this.axis] + size[this.axis] + 0.01, value: this.at });
    byId("section-value").textContent = metres(this.at);
    const keepLow = [-1e9, -1e9, -1e9], keepHigh = [1e9, 1e9, 1e9];
    if (this.active) (this.flip ? keepLow : keepHigh)[this.axis] = this.at;
    Object.assign(this.app.renderer, { keepLow, keepHigh });
    document.body.dataset.section = this.active ? `${"xyz"[this.axis]} ${this.at.toFixed(2)}` : "";
    this.app.invalidate();
  }
}
