// Elements of the page. Text from the map is only ever text.

function element(kind, attributes = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const byId = (id) => document.getElementById(id);
const words = (label) => label.replaceAll("_", " ").replace(/^other(?=(prop|furniture|structure)$)/, "other ").replace(/^other prop$/, "other thing");
const saysLittle = (label) => label === "unknown" || label.startsWith("other");
const metres = (value, digits = 2) => (value === null || value === undefined ? "–" : `${value.toFixed(digits)} m`);
const percent = (value) => `${Math.round(100 * value)} %`;
const css = (rgb) => `rgb(${rgb[0]},${rgb[1]},${rgb[2]})`;

// Outlines of an object over its image; coordinates are from 0 to 1.
function outlineOver(outlines, aspect) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", `0 0 ${aspect} 1`);
  drawing.setAttribute("preserveAspectRatio", "none");
  for (const ring of outlines) {
    const polygon = document.createElementNS(space, "polygon");
    polygon.setAttribute("points", ring.map(([x, y]) => `${(x * aspect).toFixed(4)},${y.toFixed(4)}`).join(" "));
    drawing.append(polygon);
  }
  return drawing;
}

const imageAddress = (image) => `data:${image.type};base64,${image.data}`;

function framePicture(frame, kind, outlines = []) {
  const figure = element("div", { class: "framed" });
  figure.append(element("img", { src: imageAddress(frame[kind]), alt: `${kind} at ${clock(frame.time)}` }));
  if (outlines.length) figure.append(outlineOver(outlines, frame.aspect));
  return figure;
}
