// Vectors of three numbers, and 4 x 4 matrices as WebGL takes them: column after column.

const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const subtract = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const scaled = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const norm = (a) => Math.hypot(a[0], a[1], a[2]);
const unit = (a) => scaled(a, 1 / (norm(a) || 1));
const mixed = (a, b, t) => [0, 1, 2].map((i) => a[i] + (b[i] - a[i]) * t);

function lookAt(eye, target, up) {
  const back = unit(subtract(eye, target));
  let right = cross(up, back);
  if (norm(right) < 1e-6) right = cross([0, 1, 0], back);
  right = unit(right);
  const top = cross(back, right);
  return [
    right[0], top[0], back[0], 0,
    right[1], top[1], back[1], 0,
    right[2], top[2], back[2], 0,
    -dot(right, eye), -dot(top, eye), -dot(back, eye), 1,
  ];
}

function perspective(angle, aspect, near, far) {
  const f = 1 / Math.tan(angle / 2);
  const depth = 1 / (near - far);
  return [f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) * depth, -1, 0, 0, 2 * far * near * depth, 0];
}

function product(a, b) {
  const out = new Array(16);
  for (let column = 0; column < 4; column++)
    for (let row = 0; row < 4; row++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[4 * k + row] * b[4 * column + k];
      out[4 * column + row] = sum;
    }
  return out;
}

function transformed(m, p, w = 1) {
  return [0, 1, 2, 3].map((row) => m[row] * p[0] + m[4 + row] * p[1] + m[8 + row] * p[2] + m[12 + row] * w);
}

function rotatedBy(q, v) {
  const axis = [q[0], q[1], q[2]];
  const twice = scaled(cross(axis, v), 2);
  return add(add(v, scaled(twice, q[3])), cross(axis, twice));
}

// A rotation between two, by the shorter arc; for the small steps between camera poses the normalised mean is enough.
function betweenRotations(a, b, t) {
  const sign = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3] < 0 ? -1 : 1;
  const sum = a.map((x, i) => x * (1 - t) + sign * b[i] * t);
  const length = Math.hypot(...sum);
  return sum.map((x) => x / length);
}

// Index of the last entry that is not above a value, -1 before the first.
function lastAtOrBefore(values, value) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function clock(seconds) {
  const whole = Math.max(0, seconds);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}
