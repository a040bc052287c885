// The mesh of the page: base64 of deflated byte planes, as pipelines/views/packing.py writes it.

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const step = 1 << 20;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let end = 0;
  for (let start = 0; start < text.length; start += step) {
    const piece = atob(text.slice(start, start + step));
    for (let i = 0; i < piece.length; i++) bytes[end++] = piece.charCodeAt(i);
  }
  return bytes.subarray(0, end);
}

async function inflated(bytes, size) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  const all = new Uint8Array(size);
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return all;
    all.set(value, at);
    at += value.length;
  }
}

// One array from its planes: every column starts at 0 and adds its differences, modulo the range of its type.
function unplaned(all, place) {
  const { start, count, width, bytes } = place;
  const Type = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[bytes];
  const out = new Type(count * width);
  const one = new Type(1);
  for (let column = 0; column < width; column++) {
    const first = start + column * count * bytes;
    one[0] = 0;
    for (let i = 0; i < count; i++) {
      let step = 0;
      for (let rank = bytes - 1; rank >= 0; rank--) step = step * 256 + all[first + rank * count + i];
      one[0] += step;
      out[i * width + column] = one[0];
    }
  }
  return out;
}

async function unpackMesh(header, text) {
  const all = await inflated(bytesOf(text), header.bytes);
  const mesh = { low: header.low, size: header.size };
  for (const [name, place] of Object.entries(header.arrays)) mesh[name] = unplaned(all, place);
  mesh.normals = vertexNormals(mesh);
  return mesh;
}

// Area-weighted normals as signed bytes, for shading.
function vertexNormals(mesh) {
  const { positions, faces, size } = mesh;
  const sums = new Float32Array(positions.length);
  for (let f = 0; f < faces.length; f += 3) {
    const a = 3 * faces[f], b = 3 * faces[f + 1], c = 3 * faces[f + 2];
    const ux = (positions[b] - positions[a]) * size[0], uy = (positions[b + 1] - positions[a + 1]) * size[1];
    const uz = (positions[b + 2] - positions[a + 2]) * size[2];
    const vx = (positions[c] - positions[a]) * size[0], vy = (positions[c + 1] - positions[a + 1]) * size[1];
    const vz = (positions[c + 2] - positions[a + 2]) * size[2];
    const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
    for (const at of [a, b, c]) {
      sums[at] += nx;
      sums[at + 1] += ny;
      sums[at + 2] += nz;
    }
  }
  const normals = new Int8Array(positions.length);
  for (let i = 0; i < positions.length / 3; i++) {
    const length = Math.hypot(sums[3 * i], sums[3 * i + 1], sums[3 * i + 2]) || 1;
    for (let axis = 0; axis < 3; axis++) normals[3 * i + axis] = Math.round((127 * sums[3 * i + axis]) / length);
  }
  return normals;
}
