// The list at the left: storeys, rooms and objects as a tree, a search, layers; and the legend of colours.

const LAYERS = [
  ["surface", "surface", true], ["boxes", "boxes of objects", false], ["rooms", "outlines of rooms", true],
  ["doors", "doors", true], ["places", "free space (places)", false], ["path", "path of the camera", true],
  ["frames", "camera images", false], ["tracks", "what moved", true], ["names", "names", true],
  ["through", "look through walls from behind", true],
];

function objectRow(app, node) {
  const swatch = element("span", { class: "swatch", style: `background:${css(app.scene.data.classes[node.class].color)}` });
  return row(app, node.key, swatch, app.scene.name(node.key));
}

function row(app, key, ...content) {
  const click = (event) => {
    event.preventDefault();
    app.choose(key, { fly: true });
  };
  return element("button", { class: "row", "data-key": key, onclick: click }, ...content);
}

function roomEntry(app, room) {
  const inside = [...app.scene.objects.values()].filter((node) => node.room === room.key);
  const area = element("small", {}, room.area === null ? "– m²" : `${room.area.toFixed(1)} m²`);
  const list = element("ul", {}, ...inside.map((node) => element("li", {}, objectRow(app, node))));
  return element("details", { open: inside.length <= 40 }, element("summary", {}, row(app, room.key, app.scene.name(room.key), area)), list);
}

function buildTree(app) {
  const { scene } = app, tree = byId("tree"), rooms = [...scene.rooms.values()];
  for (const storey of scene.storeys.values()) {
    const inside = rooms.filter((room) => room.storey === storey.key).map((room) => roomEntry(app, room));
    const range = element("small", {}, `${metres(storey.z[0], 1)} to ${storey.ceiling === null ? "–" : metres(storey.ceiling, 1)}`);
    tree.append(element("details", { open: true }, element("summary", {}, row(app, storey.key, `storey ${storey.key}`, range)), ...inside));
  }
  const group = (title, rows) => {
    if (!rows.length) return;
    const list = element("ul", {}, ...rows.map((each) => element("li", {}, each)));
    tree.append(element("details", { open: true }, element("summary", {}, title), list));
  };
  group("in no room", [...scene.objects.values()].filter((node) => !scene.rooms.has(node.room)).map((node) => objectRow(app, node)));
  group("what moved", [...scene.tracks.values()].map((node) => {
    const span = element("small", {}, `${clock(node.times[0] - app.start)} to ${clock(node.times.at(-1) - app.start)}`);
    return row(app, node.key, scene.name(node.key), span);
  }));
  group("changes", scene.data.changes.map((change, i) => {
    const swatch = element("span", { class: "swatch", style: `background:${css(CHANGE_COLORS[change.kind])}` });
    return element("button", { class: "row", "data-change": i, onclick: () => app.showChange(i) }, swatch, changeText(change));
  }));
}

function changeText(change) {
  const far = change.distance === null ? "" : ` ${change.distance.toFixed(2)} m`;
  return `${change.b ?? change.a} ${words(change.label)} ${change.kind}${far}`;
}

// Shows the rows that contain every word, with what is above them; the number of them.
function filterTree(text) {
  const wanted = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const roomOf = (item) => item.closest("details")?.querySelector("summary .row")?.textContent ?? "";
  let count = 0;
  for (const item of byId("tree").querySelectorAll("li")) {
    const key = item.querySelector(".row").dataset.key?.toLowerCase() ?? "";
    const inside = `${item.textContent} ${roomOf(item)}`.toLowerCase();
    item.hidden = !wanted.every((word) => (/^[a-z]\d+$/.test(word) ? key === word || roomOf(item).toLowerCase().startsWith(word) : inside.includes(word)));
    if (!item.hidden) count++;
  }
  for (const group of byId("tree").querySelectorAll("details")) {
    const visible = [...group.querySelectorAll("li")].some((item) => !item.hidden);
    group.hidden = wanted.length > 0 && !visible;
    if (wanted.length && visible) group.open = true;
  }
  return count;
}

function buildPanel(app) {
  const { objects, rooms, tracks } = app.scene, many = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
  const moving = tracks.size ? `, ${tracks.size} moving` : "";
  byId("summary").textContent = `${many(rooms.size, "room")}, ${many(objects.size, "object")}${moving}${app.scene.data.note}`;
  buildTree(app);
  const search = byId("search");
  search.addEventListener("input", () => filterTree(search.value));
  search.addEventListener("keydown", (event) => {
    const first = [...byId("tree").querySelectorAll("li")].find((item) => !item.hidden);
    if (event.key === "Enter" && first) first.querySelector(".row").click();
  });
  for (const [name, title, on] of LAYERS) {
    app.layers[name] = on;
    const change = (event) => app.setLayer(name, event.target.checked);
    byId("layers").append(element("label", { class: "row" }, element("input", { type: "checkbox", checked: on, "data-layer": name, onchange: change }), title));
  }
  byId("toggle-panel").addEventListener("click", () => document.body.classList.toggle("narrow"));
  byId("mode").addEventListener("change", (event) => app.setMode(Number(event.target.value)));
}

function markRow(key) {
  for (const old of document.querySelectorAll("#tree .chosen")) old.classList.remove("chosen");
  const found = key && byId("tree").querySelector(`.row[data-key="${CSS.escape(key)}"]`);
  if (!found) return;
  found.classList.add("chosen");
  for (let group = found.closest("details"); group; group = group.parentElement.closest("details"))
    if (!found.parentElement.matches("summary") || group !== found.closest("details")) group.open = true;
  found.scrollIntoView({ block: "nearest" });
}

// What the colours mean; a class can be clicked to leave only it in colour.
function showLegend(app) {
  const legend = byId("legend");
  legend.replaceChildren();
  legend.hidden = app.renderer.mode === 0;
  if (app.renderer.mode === 1) {
    const kinds = app.scene.data.classes.map((kind, i) => [kind, i]).filter(([kind]) => kind.share > 0);
    kinds.sort(([a], [b]) => b.share - a.share);
    kinds.forEach(([kind, i]) => {
      const swatch = element("span", { class: "swatch", style: `background:${css(kind.color)}` });
      const share = element("small", {}, kind.share < 0.005 ? "< 1 %" : percent(kind.share));
      const off = app.onlyClass !== null && app.onlyClass !== i;
      const click = () => app.setOnlyClass(app.onlyClass === i ? null : i);
      legend.append(element("button", { class: off ? "row off" : "row", "data-class": kind.name, onclick: click }, swatch, words(kind.name), share));
    });
  } else if (app.renderer.mode === 2) {
    legend.append("One colour for each object; grey is no object.");
  } else if (app.renderer.mode === 3) {
    legend.append("confidence of the surface", element("div", { class: "bar" }));
    legend.append(element("div", { class: "ends" }, element("span", {}, "0"), element("span", {}, "1")));
  }
}
