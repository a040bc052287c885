// The eye that turns about a point: dragging turns, with the right button or shift it moves, the wheel zooms to the pointer.

const FIELD_OF_VIEW = (50 * Math.PI) / 180;
const STEEPEST = Math.PI / 2 - 0.01;
const FLIGHT_MS = 500;

class OrbitCamera {
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, target: [0, 0, 0], distance: 5, heading: 0, pitch: 0.8, flight: null });
    this.shift = [0, 0];   // of the middle of the picture, in halves of the canvas: panels hide a part of it
    this.pointers = new Map();
    this.dragged = 0;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  get eye() {
    const flat = Math.cos(this.pitch) * this.distance;
    const away = [Math.cos(this.heading) * flat, Math.sin(this.heading) * flat, Math.sin(this.pitch) * this.distance];
    return add(this.target, away);
  }

  get forward() { return unit(subtract(this.target, this.eye)); }

  get range() {
    return { near: Math.min(0.1, Math.max(0.02, this.distance / 100)), far: Math.max(100, 20 * this.distance) };
  }

  get up() {
    const steep = Math.abs(this.pitch) >= STEEPEST, sign = this.pitch > 0 ? -1 : 1;
    return steep ? [sign * Math.cos(this.heading), sign * Math.sin(this.heading), 0] : [0, 0, 1];
  }

  get aspect() { return this.canvas.clientWidth / Math.max(1, this.canvas.clientHeight); }

  matrix() {
    const { near, far } = this.range;
    const lens = perspective(FIELD_OF_VIEW, this.aspect, near, far);
    lens[8] = -this.shift[0];
    lens[9] = -this.shift[1];
    return product(lens, lookAt(this.eye, this.target, this.up));
  }

  // Place on the canvas in CSS pixels and distance along the view, null behind the eye.
  project(point, view = this.matrix()) {
    const [x, y, z, w] = transformed(view, point);
    if (w < 0.02) return null;
    const box = this.canvas;
    return { x: ((x / w + 1) / 2) * box.clientWidth, y: ((1 - y / w) / 2) * box.clientHeight, w, depth: (z / w + 1) / 2 };
  }

  // The point at a place of the canvas, from 0 to 1 from the top left, and a depth from 0 to 1.
  unproject(x, y, depth) {
    const { near, far } = this.range;
    const along = (2 * near * far) / (far + near - (2 * depth - 1) * (far - near));
    return add(add(this.eye, scaled(this.forward, along)), this.across(x, y, along));
  }

  // From the middle of the view to a place of the canvas, at a distance along the view.
  across(x, y, along) {
    const { right, top } = this.axes(), half = Math.tan(FIELD_OF_VIEW / 2) * along;
    const sideways = (2 * x - 1 - this.shift[0]) * half * this.aspect;
    return add(scaled(right, sideways), scaled(top, (1 - 2 * y - this.shift[1]) * half));
  }

  axes() {
    const right = unit(cross(this.forward, this.up));
    return { right, top: cross(right, this.forward) };
  }

  // Fly to a view: what is given of target, distance, heading and pitch.
  fly(to) {
    const from = { target: this.target, distance: this.distance, heading: this.heading, pitch: this.pitch };
    const goal = { ...from, ...to };
    const turn = goal.heading - from.heading;
    goal.heading = from.heading + turn - 2 * Math.PI * Math.round(turn / (2 * Math.PI));
    this.flight = { from, goal, start: performance.now() };
    this.changed();
  }

  // Look from an eye to a point.
  flyFrom(eye, target) {
    const away = subtract(eye, target), distance = Math.max(norm(away), 0.05);
    const pitch = Math.max(-STEEPEST, Math.min(STEEPEST, Math.asin(away[2] / distance)));
    this.fly({ target, distance, heading: Math.atan2(away[1], away[0]), pitch });
  }

  // Advances a flight; whether there is more to come.
  step(now) {
    if (!this.flight) return false;
    const { from, goal, start } = this.flight;
    const share = Math.min(1, (now - start) / FLIGHT_MS);
    const t = share * share * (3 - 2 * share);
    this.target = mixed(from.target, goal.target, t);
    for (const name of ["distance", "heading", "pitch"]) this[name] = from[name] + (goal[name] - from[name]) * t;
    if (share >= 1) this.flight = null;
    return true;
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size === 1) this.dragged = 0;
    this.flight = null;
  }

  moved(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const now = [event.clientX, event.clientY], dx = now[0] - last[0], dy = now[1] - last[1];
    this.dragged += Math.abs(dx) + Math.abs(dy);
    if (this.pointers.size === 2) this.pinch(event.pointerId, last, now);
    else if (event.buttons & 2 || event.buttons & 4 || event.shiftKey) this.pan(dx, dy);
    else this.turn(dx, dy);
    this.pointers.set(event.pointerId, now);
    this.changed();
  }

  turn(dx, dy) {
    this.heading -= dx * 0.006;
    this.pitch = Math.max(-STEEPEST, Math.min(STEEPEST, this.pitch + dy * 0.006));
  }

  pan(dx, dy) {
    const { right, top } = this.axes();
    const metres = (2 * this.distance * Math.tan(FIELD_OF_VIEW / 2)) / this.canvas.clientHeight;
    this.target = add(this.target, add(scaled(right, -dx * metres), scaled(top, dy * metres)));
  }

  pinch(id, last, now) {
    const other = [...this.pointers].find(([key]) => key !== id)[1];
    const before = Math.hypot(last[0] - other[0], last[1] - other[1]);
    const after = Math.hypot(now[0] - other[0], now[1] - other[1]);
    if (before > 1 && after > 1) this.distance = Math.max(0.1, (this.distance * before) / after);
    this.pan((now[0] - last[0]) / 2, (now[1] - last[1]) / 2);
  }

  wheel(event) {
    event.preventDefault();
    this.flight = null;
    const factor = Math.exp(Math.max(-1, Math.min(1, event.deltaY * 0.002)));
    const box = this.canvas.getBoundingClientRect();
    const aimed = this.across((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, this.distance);
    this.target = add(this.target, scaled(aimed, 1 - factor));
    if (this.distance * factor < 0.3 && factor < 1) this.target = add(this.target, scaled(this.forward, 0.2));
    else this.distance *= factor;
    this.changed();
  }

  // Arrows and W, A, S, D walk, Q and E sink and rise.
  key(event) {
    const steps = {
      ArrowUp: [1, 0, 0], w: [1, 0, 0], ArrowDown: [-1, 0, 0], s: [-1, 0, 0], ArrowLeft: [0, -1, 0], a: [0, -1, 0],
      ArrowRight: [0, 1, 0], d: [0, 1, 0], q: [0, 0, -1], e: [0, 0, 1],
    };
    const step = steps[event.key];
    if (!step || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const { right } = this.axes(), ahead = unit(cross([0, 0, 1], right)), size = Math.max(0.1, this.distance * 0.06);
    const motion = add(add(scaled(ahead, step[0]), scaled(right, step[1])), [0, 0, step[2]]);
    this.target = add(this.target, scaled(motion, size));
    this.changed();
  }
}
