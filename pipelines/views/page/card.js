// The card at the right: what is known of the chosen object, room, storey, moving thing or camera image.

function facts(rows) {
  const lines = rows.filter(([, value]) => value !== null && value !== "");
  return element("table", {}, ...lines.map(([name, value]) => element("tr", {}, element("td", {}, name), element("td", {}, value))));
}

function link(app, key) {
  return element("button", { class: "link", onclick: () => app.choose(key, { fly: true }) }, app.scene.name(key));
}

function openCard(app, title, ...content) {
  const card = byId("card");
  const close = element("button", { class: "close", title: "close", onclick: () => app.choose(null) }, "×");
  card.replaceChildren(close, element("h2", {}, title), ...content.filter(Boolean));
  card.hidden = false;
  card.scrollTop = 0;
}

function relationRows(app, key) {
  const said = app.scene.relationsOf(key).filter((each) => each.kind !== "contains");
  if (!said.length) return null;
  const rows = said.map(({ a, b, kind, score }) => {
    const sure = score === null ? "" : element("small", {}, percent(score)), own = a === key || kind === "next_to";
    const other = link(app, a === key ? b : a);
    return element("div", { class: "relation" }, ...(own ? [`${words(kind)} `, other] : [other, ` is ${words(kind)} it`]), " ", sure);
  });
  return element("div", {}, element("h3", {}, "Relations"), ...rows);
}

function imagesOf(app, node) {
  if (!node.images.length) return null;
  const figures = node.images.map(({ frame, outline }) => {
    const picture = framePicture(app.scene.frames[frame], "image", outline);
    const caption = element("figcaption", {}, `${clock(app.scene.frames[frame].time - app.start)} – click for depth and labels`);
    return element("figure", { onclick: () => app.chooseFrame(frame), "data-frame": frame }, picture, caption);
  });
  return element("div", {}, element("h3", {}, "Best images"), ...figures);
}

function objectCard(app, node) {
  const scores = Object.entries(node.scores).sort((a, b) => b[1] - a[1]).slice(0, 3);
  const presence = node.presence.map(([from, to]) => `${clock(from - app.start)} to ${clock(to - app.start)}`).join(", ");
  openCard(
    app, app.scene.name(node.key),
    facts([
      ["class", words(node.label)],
      ["size", `${node.size.map((x) => x.toFixed(2)).join(" × ")} m`],
      ["room", node.room && app.scene.rooms.has(node.room) ? link(app, node.room) : "none"],
      ["centre", node.center.map((x) => x.toFixed(2)).join(", ")],
      ["confidence", percent(node.confidence)],
      ["seen in", `${node.views} frames`],
      ["there", presence],
      ["other names", scores.length > 1 ? scores.map(([name, share]) => `${words(name)} ${percent(share)}`).join(", ") : ""],
    ]),
    relationRows(app, node.key), imagesOf(app, node),
  );
}

function roomCard(app, room) {
  const inside = [...app.scene.objects.values()].filter((node) => node.room === room.key);
  const counts = new Map();
  for (const node of inside) counts.set(node.label, (counts.get(node.label) ?? 0) + 1);
  const list = [...counts].sort((a, b) => b[1] - a[1]).map(([label, n]) => `${n} × ${words(label)}`).join(", ");
  const doors = app.scene.data.doors.filter((door) => door.a === room.key || door.b === room.key);
  const extent = [0, 1].map((axis) => {
    const along = room.polygon.map((corner) => corner[axis]);
    return Math.max(...along) - Math.min(...along);
  });
  openCard(
    app, app.scene.name(room.key),
    facts([
      ["area", room.area === null ? "– (the floor was hardly seen)" : `${room.area.toFixed(1)} m²`],
      ["extent", `${extent[0].toFixed(2)} × ${extent[1].toFixed(2)} m`],
      ["height", room.height === null ? "– (no ceiling was seen)" : metres(room.height)],
      ["objects", list || "none"],
    ]),
    doors.length ? element("h3", {}, "Doors") : null,
    ...doors.map((door) => element("div", {}, "to ", link(app, door.a === room.key ? door.b : door.a), door.width === null ? "" : ` ${metres(door.width)} wide`)),
  );
}

function storeyCard(app, storey) {
  const rooms = [...app.scene.rooms.values()].filter((room) => room.storey === storey.key);
  openCard(
    app, `storey ${storey.key}`,
    facts([["floor", metres(storey.z[0])], ["ceiling", metres(storey.ceiling)], ["rooms", String(rooms.length)]]),
    ...rooms.map((room) => element("div", {}, link(app, room.key))),
  );
}

function trackCard(app, track) {
  const length = track.positions.slice(1).reduce((sum, p, i) => sum + norm(subtract(p, track.positions[i])), 0);
  openCard(
    app, app.scene.name(track.key),
    facts([
      ["seen", `${clock(track.times[0] - app.start)} to ${clock(track.times.at(-1) - app.start)}`],
      ["path", metres(length, 1)],
      ["size", `${track.size.map((x) => x.toFixed(2)).join(" × ")} m`],
      ["confidence", percent(track.confidence)],
    ]),
    element("button", { class: "act", onclick: () => app.setTime(track.times[0]) }, "go to its start"),
  );
}

function frameCard(app, frame) {
  const shown = (frame.shows ?? []).filter((key) => app.scene.node(key));
  const strips = ["image", "depth", "labels"].filter((kind) => frame[kind]);
  openCard(
    app, `image ${frame.index}`,
    facts([["time", clock(frame.time - app.start)]]),
    ...strips.map((kind) => element("figure", {}, framePicture(frame, kind), element("figcaption", {}, kind === "depth" ? `depth: dark is near, bright ${frame.far.toFixed(1)} m` : kind))),
    element("button", { class: "act", onclick: () => app.lookFrom(frame) }, "look from here"),
    shown.length ? element("h3", {}, "Objects in it") : null,
    element("div", { class: "strip" }, ...shown.map((key) => link(app, key))),
  );
}

function showCard(app, node) {
  ({ object: objectCard, room: roomCard, storey: storeyCard, track: trackCard })[node.layer](app, node);
}
