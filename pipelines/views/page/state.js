// What the page knows of the map by key, and what of it is chosen.

const CAMERA_BLUE = [60, 110, 190, 255], TRACK_RED = [211, 47, 47, 255], ROOM_ORANGE = [230, 140, 30, 255];
const CHANGE_COLORS = { appeared: [46, 125, 50, 255], disappeared: [198, 40, 40, 255], moved: [69, 39, 160, 255] };
const STATE_NORMAL = 0, STATE_CHOSEN = 1, STATE_HOVERED = 2, STATE_ABSENT = 3;

class Scene {
  constructor(data) {
    this.data = data;
    this.objects = new Map(data.objects.map((node, i) => [node.key, { ...node, slot: i + 1, layer: "object" }]));
    this.rooms = new Map(data.rooms.map((node) => [node.key, { ...node, layer: "room" }]));
    this.storeys = new Map(data.storeys.map((node) => [node.key, { ...node, layer: "storey" }]));
    this.tracks = new Map(data.tracks.map((node) => [node.key, { ...node, layer: "track" }]));
    this.bySlot = [null, ...this.objects.values()];
    this.frames = data.frames.map((frame, number) => ({ ...frame, number, aspect: frame.width / frame.height }));
    this.classColors = data.classes.map((each) => each.color);
  }

  node(key) {
    return this.objects.get(key) ?? this.rooms.get(key) ?? this.storeys.get(key) ?? this.tracks.get(key) ?? null;
  }

  // How a key is called where there is room for a few words.
  name(key) {
    const node = this.node(key);
    if (!node) return key;
    if (node.layer === "storey") return `storey ${key}`;
    return `${key} ${words(node.label)}`;
  }

  relationsOf(key) {
    return this.data.relations.filter((each) => each.a === key || each.b === key);
  }

  // Whether an object was there at a time; always where nothing says otherwise.
  isPresent(object, time) {
    return time === null || !object.presence.length || object.presence.some(([from, to]) => time >= from && time <= to);
  }

  // A hue for every object that differs from its neighbours' in the list.
  objectColor(slot) {
    const hue = (slot * 137.508) % 360, light = 0.5 + 0.12 * ((slot % 3) - 1);
    const channel = (n) => {
      const k = (n + hue / 30) % 12;
      return Math.round(255 * (light - 0.6 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
    };
    return [channel(0), channel(8), channel(4)];
  }
}

// The eight corners of a box, the first four its bottom.
function boxCorners({ center, size, rotation }) {
  const corners = [];
  for (const z of [-1, 1])
    for (const [x, y] of [[-1, -1], [1, -1], [1, 1], [-1, 1]]) {
      const local = [(x * size[0]) / 2, (y * size[1]) / 2, (z * size[2]) / 2];
      corners.push(add(center, [0, 1, 2].map((row) => dot(rotation[row], local))));
    }
  return corners;
}

const BOX_EDGES = [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]];
const boxLines = (box, color, width) => {
  const corners = boxCorners(box);
  return BOX_EDGES.map(([a, b]) => ({ from: corners[a], to: corners[b], color, width }));
};

function pathLines(points, color, width) {
  return points.slice(1).map((to, i) => ({ from: points[i], to, color, width }));
}
