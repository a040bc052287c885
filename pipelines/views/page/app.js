// The page as a whole: what is chosen, at which time, in which colours; and when to draw.

const FRAME_DEPTH = 0.35;      // metres from a camera to its image
const INSIDE = 0.5;            // metres from the eye within which a camera's own lines are not drawn
const SLOW_MS = 40;            // a full picture that takes longer is drawn coarsely in motion
const STILL_MS = 140;          // after so long without a change all triangles are drawn and names are placed

class App {
  constructor(data, mesh) {
    this.scene = new Scene(data);
    this.canvas = byId("view");
    this.renderer = new Renderer(this.canvas, mesh);
    this.camera = new OrbitCamera(this.canvas, () => this.invalidate());
    this.names = new Names(byId("names"), this.camera);
    Object.assign(this, { layers: {}, chosen: null, hovered: 0, frame: null, time: null, onlyClass: null, picked: null });
    Object.assign(this, { cameraNow: [1e9, 0, 0], showsNow: false, moving: [], isSlow: false });
    this.dirty = true;
    this.lastChange = 0;
    this.renderer.setClasses(this.scene.classColors.map((color) => [...color, 255]));
    this.timeline = new Timeline(this);
    this.start = this.timeline.start;
    this.measure = new Measure(this);
    this.section = new Section(this);
    buildPanel(this);
    this.loadFrames();
    this.buildLines();
    this.refreshStates();
    this.listen();
    this.setTime(null);
    Object.assign(this.camera, this.overview());
  }

  listen() {
    this.canvas.addEventListener("click", (event) => this.camera.dragged < 5 && this.tapped(event));
    this.canvas.addEventListener("dblclick", (event) => {
      const point = this.pointAt(event);
      if (point) this.camera.fly({ target: point, distance: Math.min(this.camera.distance, 3) });
    });
    this.canvas.addEventListener("pointermove", (event) => event.buttons || this.hover(event));
    this.canvas.addEventListener("pointerleave", () => this.setHovered(0));
    this.names.onTap = (key) => this.scene.node(key) && this.choose(key);
    byId("home").addEventListener("click", () => this.camera.fly(this.overview()));
    byId("top").addEventListener("click", () => this.camera.fly({ ...this.overview(), pitch: STEEPEST, heading: -Math.PI / 2 }));
    addEventListener("resize", () => this.resized() && this.invalidate());
    addEventListener("hashchange", () => this.chooseFromAddress());
    addEventListener("keydown", (event) => event.key === "Escape" && !this.measure.active && this.choose(null));
  }

  overview() {
    const { low, high } = this.scene.data.extent, size = subtract(high, low);
    const { width, left, right } = this.insets();
    const free = Math.max(0.3, 1 - (left + right) / width);
    const half = Math.tan(FIELD_OF_VIEW / 2) * Math.min(0.8, this.camera.aspect * free);
    return { target: mixed(low, high, 0.5), distance: (0.47 * Math.hypot(...size)) / half, heading: -1.9, pitch: 0.95 };
  }

  // ---- choosing

  choose(key, { fly = false } = {}) {
    const node = key === null ? null : this.scene.node(key);
    this.chosen = node ? key : null;
    this.frame = null;
    document.body.dataset.chosen = this.chosen ?? "";
    history.replaceState(null, "", node ? `#${key}` : location.pathname + location.search);
    markRow(this.chosen);
    if (node) showCard(this, node);
    else byId("card").hidden = true;
    this.timeline.showPresence(node?.presence ?? (node?.layer === "track" ? [[node.times[0], node.times.at(-1)]] : []), node?.layer === "object" ? "object" : "");
    this.refreshStates();
    this.chosenLines();
    if (node && fly) this.flyTo(node);
    this.invalidate();
  }

  chooseFromAddress() {
    const key = decodeURIComponent(location.hash.slice(1));
    if (this.scene.node(key)) this.choose(key, { fly: true });
  }

  chooseFrame(number) {
    this.frame = this.scene.frames[number];
    document.body.dataset.frame = number;
    frameCard(this, this.frame);
    this.chosenLines();
    this.setTime(this.frame.time);
  }

  showChange(i) {
    const change = this.scene.data.changes[i], box = change.boxes.at(-1);
    this.camera.fly({ target: box.center, distance: Math.max(2.5, 2.5 * norm(box.size)), pitch: 0.8 });
  }

  flyTo(node) {
    if (node.layer === "object") this.camera.fly({ target: node.center, distance: Math.max(2.2, 2.4 * norm(node.size)), pitch: Math.max(0.6, Math.min(1.1, this.camera.pitch)) });
    else if (node.layer === "room") {
      const xs = node.polygon.map((p) => p[0]), ys = node.polygon.map((p) => p[1]);
      const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      this.camera.fly({ target: [(x0 + x1) / 2, (y0 + y1) / 2, node.z[0] + 0.8], distance: 1.25 * Math.hypot(x1 - x0, y1 - y0) + 1.2, pitch: 1.05 });
    } else if (node.layer === "storey") {
      const { target, distance } = this.overview();
      this.camera.fly({ target: [target[0], target[1], node.z[0] + 1], distance, pitch: 1.1 });
      const several = this.scene.storeys.size > 1;
      if (several) this.section.set({ active: true, axis: 2, flip: false, at: (node.ceiling ?? node.z[1]) - 0.2 });
    } else this.camera.fly({ target: node.positions[0], distance: 5, pitch: 0.8 });
  }

  lookFrom(frame) {
    const ahead = rotatedBy(frame.rotation, [0, 0, 1]);
    this.camera.flyFrom(subtract(frame.position, scaled(ahead, 0.02)), add(frame.position, scaled(ahead, 2)));
  }

  storey() {
    const node = this.chosen && this.scene.node(this.chosen);
    return this.scene.storeys.get(node?.storey ?? node?.key) ?? [...this.scene.storeys.values()][0];
  }

  // ---- states

  setMode(mode) {
    this.renderer.mode = mode;
    this.setOnlyClass(null);
    byId("mode").value = mode;
    document.body.dataset.mode = mode;
  }

  setOnlyClass(i) {
    this.onlyClass = i;
    const color = (rgb, k) => [...rgb, i === null || i === k ? 255 : 0];
    this.renderer.setClasses(this.scene.classColors.map(color));
    showLegend(this);
    this.invalidate();
  }

  setLayer(name, on) {
    this.layers[name] = on;
    const { lines } = this.renderer;
    if (name === "surface") this.renderer.showSurface = on;
    if (name === "through") this.renderer.seeThrough = on;
    if (lines[name]) lines[name].visible = on;
    if (name === "frames") for (const picture of this.renderer.pictures.slice(1)) picture.visible = on;
    if (name === "tracks") this.placeMoving();
    this.invalidate();
  }

  setTime(time) {
    if (time === null) this.timeline.play(false);
    this.time = time;
    this.timeline.show(time);
    document.body.dataset.time = time === null ? "" : (time - this.start).toFixed(2);
    this.refreshStates();
    this.placeMoving();
    this.invalidate();
  }

  refreshStates() {
    const state = (node) => {
      if (!this.scene.isPresent(node, this.time)) return STATE_ABSENT;
      if (node.key === this.chosen) return STATE_CHOSEN;
      return node.slot === this.hovered ? STATE_HOVERED : STATE_NORMAL;
    };
    const entries = this.scene.bySlot.map((node, i) => (node ? [...this.scene.objectColor(i), state(node)] : [205, 205, 205, 0]));
    this.renderer.setObjects(entries);
    document.body.dataset.absent = entries.filter((entry) => entry[3] === STATE_ABSENT).length;
  }

  // ---- lines, figures and pictures

  buildLines() {
    const { data, objects, rooms, tracks } = this.scene, { renderer } = this;
    const boxes = [...objects.values()].flatMap((node) => boxLines(node, [...this.scene.classColors[node.class], 255], 1.6));
    renderer.setLines("boxes", boxes);
    const outlines = [...rooms.values()].flatMap((room) => {
      const ring = room.polygon.map(([x, y]) => [x, y, room.z[0] + 0.03]);
      return pathLines([...ring, ring[0]], ROOM_ORANGE, 2.5);
    });
    renderer.setLines("rooms", outlines);
    renderer.setLines("doors", data.doors.flatMap(({ position: [x, y, z] }) => pathLines([[x, y, z + 0.03], [x, y, z + 1.9]], [138, 90, 43, 255], 4)));
    const places = data.places.positions;
    renderer.setLines("places", data.places.edges.map(([a, b]) => ({ from: places[a], to: places[b], color: [90, 150, 210, 190], width: 1.2 })));
    renderer.setLines("path", pathLines(data.agents.map((agent) => agent.position), CAMERA_BLUE, 2));
    renderer.setLines("tracks", [...tracks.values()].flatMap((track) => pathLines(track.positions.map((p) => [p[0], p[1], p[2] - track.size[2] / 2 + 0.05]), TRACK_RED, 2.5)));
    renderer.setLines("frames", this.scene.frames.flatMap((frame) => frustumLines(frame.position, frustum(frame, frame, FRAME_DEPTH), CAMERA_BLUE, 1)));
    renderer.setLines("changes", data.changes.flatMap((change) => {
      const color = CHANGE_COLORS[change.kind], path = change.boxes.length > 1 ? pathLines(change.boxes.map((box) => box.center), color, 3) : [];
      return [...change.boxes.flatMap((box) => boxLines(box, color, 3)), ...path];
    }), { onTop: true });
    renderer.setLines("now", []);
    renderer.setLines("chosen", []);
    for (const [name, on] of Object.entries(this.layers)) if (renderer.lines[name]) renderer.lines[name].visible = on;
  }

  chosenLines() {
    const node = this.chosen && this.scene.node(this.chosen), orange = [255, 140, 0, 255];
    let lines = [];
    if (node?.layer === "object") lines = boxLines(node, orange, 3);
    if (node?.layer === "room") {
      for (const z of node.z) lines.push(...pathLines([...node.polygon, node.polygon[0]].map(([x, y]) => [x, y, z]), orange, 3));
    }
    this.renderer.setLines("chosen", lines, { onTop: true });
  }

  // Every image as a texture when it is decoded; number 0 is the image at the chosen time.
  loadFrames() {
    const { renderer, scene } = this;
    renderer.pictures = [{ number: 0, visible: false, corners: [] }];
    for (const frame of scene.frames) {
      const picture = { number: frame.number + 1, visible: false, corners: frustum(frame, frame, FRAME_DEPTH), texture: null };
      renderer.pictures.push(picture);
      const image = new Image();
      image.onload = () => {
        picture.texture = renderer.imageTexture(image);
        this.placeMoving();
        this.invalidate();
      };
      image.src = imageAddress(frame.image);
    }
  }

  // The camera and the moving things at the chosen time.
  placeMoving() {
    const { renderer, scene, time, timeline } = this, corners = [], lines = [];
    const now = renderer.pictures[0];
    this.showsNow = false;
    this.moving = [];
    if (time !== null) {
      const camera = timeline.cameraAt(time);
      if (camera && scene.data.camera) {
        const ends = frustum(camera, scene.data.camera, 2 * FRAME_DEPTH);
        lines.push(...frustumLines(camera.position, ends, CAMERA_BLUE, 3));
        this.cameraNow = camera.position;
        const nearest = scene.frames.reduce((best, frame) => (best && Math.abs(best.time - time) <= Math.abs(frame.time - time) ? best : frame), null);
        this.showsNow = nearest !== null && Math.abs(nearest.time - time) < 0.5;
        if (this.showsNow) Object.assign(now, { number: nearest.number + 1, corners: ends, texture: renderer.pictures[nearest.number + 1].texture });
        document.body.dataset.camera = camera.position.map((x) => x.toFixed(2)).join(" ");
      }
      for (const track of this.layers.tracks ? scene.tracks.values() : []) {
        const at = timeline.trackAt(track, time);
        if (!at) continue;
        corners.push(...figure(at, track.size, [0.83, 0.18, 0.18]));
        this.moving.push({ key: track.key, at: add(at, [0, 0, track.size[2] / 2 + 0.12]) });
      }
    }
    renderer.setSolids(corners);
    renderer.setLines("now", lines);
    document.body.dataset.moving = this.moving.map((each) => each.key).join(" ");
  }

  // ---- pointer

  pointAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
    const found = pickedAt(this.pickedNow(), x, y);
    return found && this.camera.unproject(x, y, found.depth);
  }

  foundAt(event) {
    const box = this.canvas.getBoundingClientRect();
    return pickedAt(this.pickedNow(), (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  pickedNow() {
    if (this.picked) return this.picked;
    const begin = performance.now();
    this.picked = this.renderer.pickView(this.camera.matrix(), this.camera.eye);   // waits for the graphics card
    this.isSlow = performance.now() - begin > SLOW_MS;
    return this.picked;
  }

  tapped(event) {
    if (this.measure.active) {
      const point = this.pointAt(event);
      if (point) this.measure.addPoint(point);
      return;
    }
    const found = this.foundAt(event);
    if (found?.picture) this.chooseFrame(found.picture - 1);
    else this.choose(found?.slot ? this.scene.bySlot[found.slot].key : null);
  }

  hover(event) {
    if (!this.picked) return;
    this.setHovered(this.foundAt(event)?.slot ?? 0);
  }

  setHovered(slot) {
    if (slot === this.hovered) return;
    this.hovered = slot;
    this.canvas.classList.toggle("pointing", slot > 0);
    this.refreshStates();
    this.invalidate({ still: true });
  }

  candidates() {
    const { scene, chosen } = this, top = (node) => [node.center[0], node.center[1], node.center[2] + node.size[2] / 2];
    const room = chosen && scene.rooms.has(chosen) ? chosen : null;
    const found = this.measure.candidates();
    for (const node of scene.objects.values()) {
      const always = node.key === chosen || node.slot === this.hovered;
      if ((saysLittle(node.label) && !always) || !scene.isPresent(node, this.time)) continue;
      const kind = node.key === chosen ? "chosen" : "object";
      found.push({ key: node.key, slot: node.slot, text: words(node.label), at: top(node), kind, size: Math.cbrt(node.size[0] * node.size[1] * node.size[2]), rank: always ? 0 : 3, always: always || node.room === room });
    }
    for (const each of scene.rooms.values()) {
      const at = [each.position[0], each.position[1], each.z[0] + 0.1];
      found.push({ key: each.key, text: words(each.label), at, kind: "room", rank: each.key === chosen ? 0 : 2, always: true });
    }
    for (const { key, at } of this.moving) found.push({ key, text: scene.name(key), at, kind: "track", rank: 1, always: true });
    if (this.time === null && this.layers.tracks)
      for (const track of scene.tracks.values()) {
        const at = track.positions[track.positions.length >> 1];
        found.push({ key: track.key, text: scene.name(track.key), at, kind: "track", rank: track.key === chosen ? 0 : 4, always: true });
      }
    scene.data.changes.forEach((change) => found.push({ key: "", text: changeText(change), at: top(change.boxes.at(-1)), kind: "change", rank: 1, always: true }));
    return found;
  }

  // ---- drawing

  // Something is to be drawn; `still` where the view itself has not moved.
  invalidate({ still = false } = {}) {
    this.dirty = true;
    if (still) return;
    this.picked = null;
    this.lastChange = performance.now();
    this.settled = false;
  }

  tick(now) {
    const flying = this.camera.step(now), playing = this.timeline.step(now);
    if (flying || playing) this.invalidate();
    const quiet = performance.now() - this.lastChange > STILL_MS;
    if (quiet && !this.settled) {
      this.settled = true;
      this.dirty = true;
      this.pickedNow();
    }
    if (this.dirty) this.draw();
    document.body.dataset.state = this.settled ? "ready" : "moving";
    requestAnimationFrame((next) => this.tick(next));
  }

  // How much of the canvas the panels hide at the left and right, where it is wide enough for both.
  insets() {
    const width = this.canvas.clientWidth || innerWidth, wide = width >= 700;
    return { width, left: wide ? byId("panel").offsetWidth : 0, right: wide ? byId("card").offsetWidth : 0 };
  }

  // Where the middle of what they leave free is, in halves of the canvas from its middle.
  middle() {
    const { width, left, right } = this.insets();
    return [(left - right) / width, byId("time").hidden ? 0 : 40 / this.canvas.clientHeight];
  }

  // Whether the canvas has another size than it is drawn in, which it then gets.
  resized() {
    const ratio = Math.min(2, devicePixelRatio || 1);
    const width = Math.round(this.canvas.clientWidth * ratio), height = Math.round(this.canvas.clientHeight * ratio);
    if (this.canvas.width === width && this.canvas.height === height) return false;
    Object.assign(this.canvas, { width, height });
    return true;
  }

  draw() {
    this.dirty = false;
    this.resized();
    this.camera.shift = this.middle();
    const inside = norm(subtract(this.camera.eye, this.cameraNow)) < INSIDE;
    this.renderer.lines.now.visible = !inside;
    this.renderer.pictures[0].visible = this.showsNow && !inside;
    this.renderer.draw(this.camera.matrix(), this.camera.eye, { coarse: this.isSlow && !this.settled });
    this.names.show(this.layers.names ? this.candidates() : [], this.settled ? this.picked : null);
  }
}

async function main() {
  try {
    const data = JSON.parse(byId("data").textContent);
    const mesh = await unpackMesh(data.mesh, byId("mesh").textContent.trim());
    byId("mesh").remove();
    const app = new App(data, mesh);
    window.m2hScene = { app, screenOf: (key) => app.camera.project(app.scene.node(key).center) };
    app.chooseFromAddress();
    requestAnimationFrame((now) => app.tick(now));
  } catch (problem) {
    document.body.dataset.state = "failed";
    byId("summary").textContent = `The map cannot be shown: ${problem.message}`;
    throw problem;
  }
}

main();
