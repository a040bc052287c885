// The time slider: where the camera and moving things were, and which objects were there.

const LONGEST_GAP = 2.0;       // seconds between two sightings across which a moving thing is still shown
const PERSON_SIDES = 16;

class Timeline {
  constructor(app) {
    Object.assign(this, { app, time: null, playing: 0 });
    const agents = app.scene.data.agents;
    this.times = agents.map((agent) => agent.time);
    const ends = [...this.times, ...app.scene.data.tracks.flatMap((track) => [track.times[0], track.times.at(-1)])];
    this.start = ends.length ? Math.min(...ends) : 0;
    this.end = ends.length ? Math.max(...ends) : 0;
    byId("time").hidden = this.end <= this.start;
    const slider = byId("when");
    Object.assign(slider, { min: this.start, max: this.end, value: this.start });
    slider.addEventListener("input", () => app.setTime(Number(slider.value)));
    byId("play").addEventListener("click", () => this.play(!this.playing));
    byId("all-times").addEventListener("click", () => app.setTime(null));
  }

  play(on) {
    this.playing = on ? performance.now() : 0;
    byId("play").textContent = on ? "❚❚" : "▶";
    if (on && (this.time === null || this.time >= this.end)) this.app.setTime(this.start);
    this.app.invalidate();
  }

  // Advances a playing time; whether there is more to come.
  step(now) {
    if (!this.playing) return false;
    const next = (this.time ?? this.start) + (now - this.playing) / 1000;
    this.playing = now;
    this.app.setTime(Math.min(next, this.end), { playing: true });
    if (next >= this.end) this.play(false);
    return true;
  }

  show(time) {
    this.time = time;
    byId("all-times").hidden = time === null;
    byId("clock").textContent = time === null ? "all times" : `${clock(time - this.start)} / ${clock(this.end - this.start)}`;
    if (time !== null) byId("when").value = time;
  }

  // Marks above the slider when something was there: [[from, to]].
  showPresence(spans, kind) {
    const whole = this.end - this.start || 1;
    byId("presence").replaceChildren(...spans.map(([from, to]) => {
      const left = (100 * (Math.max(from, this.start) - this.start)) / whole;
      const width = Math.max(0.3, (100 * (Math.min(to, this.end) - Math.max(from, this.start))) / whole);
      return element("i", { class: kind, style: `left:${left}%;width:${width}%` });
    }));
  }

  // Position and rotation of the camera at a time, between its poses.
  cameraAt(time) {
    const agents = this.app.scene.data.agents;
    if (!agents.length) return null;
    const i = Math.max(0, Math.min(lastAtOrBefore(this.times, time), agents.length - 1));
    const next = agents[Math.min(i + 1, agents.length - 1)], here = agents[i];
    const t = next.time > here.time ? Math.max(0, Math.min(1, (time - here.time) / (next.time - here.time))) : 0;
    return { position: mixed(here.position, next.position, t), rotation: betweenRotations(here.rotation, next.rotation, t) };
  }

  // Where a moving thing was at a time, null where it was not seen.
  trackAt(track, time) {
    const { times, positions } = track;
    if (time < times[0] || time > times.at(-1)) return null;
    const i = lastAtOrBefore(times, time);
    if (i === times.length - 1) return positions[i];
    if (times[i + 1] - times[i] > LONGEST_GAP) return time - times[i] < 0.2 ? positions[i] : null;
    return mixed(positions[i], positions[i + 1], (time - times[i]) / (times[i + 1] - times[i]));
  }
}

// A standing figure of the size of a box: a body with a round top.
function figure(center, size, [r, g, b]) {
  const corners = [], base = center[2] - size[2] / 2;
  const radius = Math.max(0.1, Math.min(size[0], size[1], 0.5) / 2), shade = (k) => [r * k, g * k, b * k, 0.85];
  const rings = [
    [0, 0.5], [0.45, 0.75], [0.58, 0.7], [0.76, 1], [0.81, 0.85], [0.83, 0.3], [0.86, 0.3], [0.88, 0.48], [0.93, 0.55], [0.97, 0.48], [1, 0.05],
  ];
  const at = (i, [height, wide]) => {
    const angle = (2 * Math.PI * i) / PERSON_SIDES;
    return [center[0] + Math.cos(angle) * radius * wide, center[1] + Math.sin(angle) * radius * wide, base + height * size[2]];
  };
  for (let ring = 0; ring + 1 < rings.length; ring++)
    for (let i = 0; i < PERSON_SIDES; i++) {
      const tone = shade(0.9 + 0.25 * Math.cos((2 * Math.PI * i) / PERSON_SIDES));
      const [a, b2, c, d] = [at(i, rings[ring]), at(i + 1, rings[ring]), at(i + 1, rings[ring + 1]), at(i, rings[ring + 1])];
      for (const p of [a, b2, c, a, c, d]) corners.push([...p, ...tone]);
    }
  return corners;
}

// Lines of a camera's frustum and the corners of its image: top left, top right, bottom left, bottom right.
function frustum({ position, rotation }, { fx, fy, cx, cy, width, height }, depth) {
  const corner = (u, v) => add(position, rotatedBy(rotation, [((u - cx) / fx) * depth, ((v - cy) / fy) * depth, depth]));
  return [corner(-0.5, -0.5), corner(width - 0.5, -0.5), corner(-0.5, height - 0.5), corner(width - 0.5, height - 0.5)];
}

function frustumLines(position, corners, color, width) {
  const pairs = [[0, 1], [1, 3], [3, 2], [2, 0]];
  return [
    ...corners.map((to) => ({ from: position, to, color, width })),
    ...pairs.map(([a, b]) => ({ from: corners[a], to: corners[b], color, width })),
  ];
}
