// Names over the view: rooms, what is near the eye or chosen, never one over another, none of what is hidden.

const NEAR_EYE = 4.5;          // metres from the eye within which an object has its name
const MOST_NAMES = 60;
const HIDDEN_BY = 0.12;        // metres of surface in front of a name's place from which it counts as hidden

class Names {
  constructor(layer, camera) {
    Object.assign(this, { layer, camera, tags: [], onTap: () => {} });
  }

  tag(i) {
    if (this.tags[i]) return this.tags[i];
    const tag = document.createElement("div");
    tag.className = "name";
    tag.addEventListener("click", () => this.onTap(tag.dataset.key));
    this.layer.append(tag);
    return (this.tags[i] = tag);
  }

  // candidates: [{key, text, at, rank, kind, size, always}], lower ranks first, then what looks large; picked: the picture of ids, or null in motion.
  show(candidates, picked) {
    const view = this.camera.matrix(), eye = this.camera.eye, taken = [];
    const placed = candidates
      .map((each) => ({ size: 1, ...each, away: norm(subtract(each.at, eye)), on: this.camera.project(each.at, view) }))
      .filter((each) => each.on && (each.always || each.away < NEAR_EYE) && this.isInside(each.on));
    placed.sort((a, b) => a.rank - b.rank || a.away / a.size - b.away / b.size);
    let count = 0;
    for (const each of placed) {
      if (count >= MOST_NAMES) break;
      if (each.kind === "object" && !each.always && this.isHidden(each, picked)) continue;
      const tag = this.tag(count);
      if (tag.dataset.key !== each.key || tag.textContent !== each.text) {
        tag.textContent = each.text;
        tag.dataset.key = each.key;
      }
      tag.className = `name ${each.kind}`;
      const width = 0.5 * each.text.length * (each.kind === "room" ? 7.8 : 6.8) + 7;
      const height = each.kind === "room" ? 12 : 10;
      const box = [each.on.x - width, each.on.y - height, each.on.x + width, each.on.y + height];
      if (taken.some((b) => box[0] < b[2] && box[2] > b[0] && box[1] < b[3] && box[3] > b[1])) continue;
      taken.push(box);
      tag.style.transform = `translate(${each.on.x.toFixed(1)}px,${each.on.y.toFixed(1)}px) translate(-50%,-50%)`;
      tag.hidden = false;
      count++;
    }
    for (let i = count; i < this.tags.length; i++) this.tags[i].hidden = true;
  }

  isInside(on) {
    return on.x > 0 && on.y > 0 && on.x < this.camera.canvas.clientWidth && on.y < this.camera.canvas.clientHeight;
  }

  isHidden(each, picked) {
    if (!picked) return false;
    const x = each.on.x / this.camera.canvas.clientWidth, y = each.on.y / this.camera.canvas.clientHeight;
    const found = pickedAt(picked, x, y);
    if (!found || found.slot === each.slot) return false;
    return norm(subtract(this.camera.unproject(x, y, found.depth), this.camera.eye)) < each.away - HIDDEN_BY;
  }
}
