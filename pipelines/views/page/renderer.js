// Draws the surface, lines, solids and pictures, and finds what lies under a pixel.

const PICTURE_ID = 0x800000;   // ids from here on are pictures; below, 0 is nothing and n is object slot n - 1
const PICK_SHRINK = 2;         // the picture of ids is this much smaller than the view
const ATTRIBUTES = ["aPosition", "aColor", "aNormal", "aIds"];
const STRIDE = 20;             // bytes of a vertex: place, colour and confidence, normal, label and object

class Renderer {
  constructor(canvas, mesh) {
    const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser has no WebGL 2; any of the last years has");
    Object.assign(this, { gl, canvas, mesh, mode: 0, seeThrough: true, showSurface: true, lines: {}, solids: null });
    this.pictures = [];
    this.keepLow = [-1e9, -1e9, -1e9];
    this.keepHigh = [1e9, 1e9, 1e9];
    this.programs = {
      surface: this.program(SURFACE_VERTEX, SURFACE_FRAGMENT, ATTRIBUTES),
      pick: this.program(SURFACE_VERTEX, PICK_FRAGMENT, ATTRIBUTES),
      line: this.program(LINE_VERTEX, FLAT_FRAGMENT, ["aFrom", "aTo", "aColor", "aWidth"]),
      solid: this.program(SOLID_VERTEX, FLAT_FRAGMENT, ["aPosition", "aColor"]),
      picture: this.program(PICTURE_VERTEX, PICTURE_FRAGMENT, []),
    };
    this.surface = this.surfaceBuffers(mesh);
    this.empty = gl.createVertexArray();
    this.target = null;
  }

  program(vertex, fragment, attributes) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    }
    attributes.forEach((name, i) => gl.bindAttribLocation(program, i, name));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    const places = {};
    return { program, at: (name) => (places[name] ??= gl.getUniformLocation(program, name)) };
  }

  buffer(data, kind = this.gl.ARRAY_BUFFER) {
    const buffer = this.gl.createBuffer();
    this.gl.bindBuffer(kind, buffer);
    this.gl.bufferData(kind, data, this.gl.STATIC_DRAW);
    return buffer;
  }

  surfaceBuffers(mesh) {
    const gl = this.gl, array = gl.createVertexArray();
    gl.bindVertexArray(array);
    this.buffer(interleaved(mesh));
    const set = (place, size, type, start) => {
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, type, true, STRIDE, start);
    };
    set(0, 3, gl.UNSIGNED_SHORT, 0);
    set(1, 4, gl.UNSIGNED_BYTE, 8);
    set(2, 3, gl.BYTE, 12);
    gl.enableVertexAttribArray(3);
    gl.vertexAttribIPointer(3, 2, gl.UNSIGNED_SHORT, STRIDE, 16);
    const all = this.buffer(mesh.faces, gl.ELEMENT_ARRAY_BUFFER);
    gl.bindVertexArray(null);
    const coarse = mesh.coarse.length ? this.buffer(mesh.coarse, gl.ELEMENT_ARRAY_BUFFER) : null;
    return { array, all, coarse };
  }

  // A table of colours with a fourth number, one entry per index, as a texture 256 wide.
  table(entries, texture = null) {
    const gl = this.gl, rows = Math.max(1, Math.ceil(entries.length / 256));
    const data = new Uint8Array(rows * 256 * 4);
    entries.forEach((entry, i) => data.set(entry, 4 * i));
    const made = texture ?? gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, made);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, data);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return made;
  }

  setClasses(entries) { this.classes = this.table(entries, this.classes); }
  setObjects(entries) { this.objects = this.table(entries, this.objects); }

  // segments: [{from, to, color: [r, g, b, a] in bytes, width}]; lines on top are drawn through everything.
  setLines(name, segments, { onTop = false } = {}) {
    const gl = this.gl, data = new Float32Array(segments.length * 11);
    segments.forEach(({ from, to, color, width }, i) => {
      data.set([...from, ...to, ...[0, 1, 2, 3].map((k) => (color[k] ?? 255) / 255), width], 11 * i);
    });
    const old = this.lines[name];
    const group = old ?? { array: gl.createVertexArray(), buffer: gl.createBuffer(), visible: true };
    gl.bindVertexArray(group.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, group.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    let start = 0;
    [3, 3, 4, 1].forEach((size, place) => {
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, gl.FLOAT, false, 44, start);
      gl.vertexAttribDivisor(place, 1);
      start += 4 * size;
    });
    gl.bindVertexArray(null);
    this.lines[name] = Object.assign(group, { count: segments.length, onTop });
  }

  // triangles: flat list of corners [x, y, z, r, g, b, a] with colours from 0 to 1.
  setSolids(corners) {
    const gl = this.gl;
    this.solids ??= { array: gl.createVertexArray(), buffer: gl.createBuffer() };
    gl.bindVertexArray(this.solids.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.solids.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(corners.flat()), gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 28, 0);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 4, gl.FLOAT, false, 28, 12);
    gl.bindVertexArray(null);
    this.solids.count = corners.length;
  }

  imageTexture(image) {
    const gl = this.gl, texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, image);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    return texture;
  }

  use(program, view) {
    const gl = this.gl;
    gl.useProgram(program.program);
    gl.uniformMatrix4fv(program.at("uView"), false, view);
    gl.uniform3fv(program.at("uKeepLow"), this.keepLow);
    gl.uniform3fv(program.at("uKeepHigh"), this.keepHigh);
  }

  drawSurface(program, view, eye, { coarse }) {
    const gl = this.gl;
    this.use(program, view);
    gl.uniform3fv(program.at("uLow"), this.mesh.low);
    gl.uniform3fv(program.at("uSize"), this.mesh.size);
    gl.uniform3fv(program.at("uEye"), eye);
    gl.uniform1i(program.at("uMode"), this.mode);
    [this.classes, this.objects].forEach((texture, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
    });
    gl.uniform1i(program.at("uClasses"), 0);
    gl.uniform1i(program.at("uObjects"), 1);
    gl.bindVertexArray(this.surface.array);
    if (this.seeThrough) gl.enable(gl.CULL_FACE);
    const few = coarse && this.surface.coarse;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, few ? this.surface.coarse : this.surface.all);
    gl.drawElements(gl.TRIANGLES, few ? this.mesh.coarse.length : this.mesh.faces.length, gl.UNSIGNED_INT, 0);
    gl.disable(gl.CULL_FACE);
    gl.bindVertexArray(null);
    gl.activeTexture(gl.TEXTURE0);
  }

  drawPictures(view, picking) {
    const gl = this.gl, program = this.programs.picture;
    this.use(program, view);
    gl.bindVertexArray(this.empty);
    gl.uniform1i(program.at("uPicking"), picking ? 1 : 0);
    gl.uniform1i(program.at("uImage"), 0);
    for (const picture of this.pictures) {
      if (!picture.visible || !picture.texture) continue;
      gl.bindTexture(gl.TEXTURE_2D, picture.texture);
      gl.uniform3fv(program.at("uCorners"), picture.corners.flat());
      gl.uniform1ui(program.at("uId"), PICTURE_ID + picture.number);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
  }

  drawLines(view, onTop) {
    const gl = this.gl, program = this.programs.line;
    this.use(program, view);
    gl.uniform2f(program.at("uPixels"), this.canvas.width, this.canvas.height);
    for (const group of Object.values(this.lines)) {
      if (!group.visible || group.onTop !== onTop || !group.count) continue;
      gl.bindVertexArray(group.array);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, group.count);
    }
  }

  draw(view, eye, { coarse = false } = {}) {
    const gl = this.gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0.93, 0.94, 0.95, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    if (this.showSurface) this.drawSurface(this.programs.surface, view, eye, { coarse });
    this.drawPictures(view, false);
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE);
    this.drawLines(view, false);
    if (this.solids?.count) {
      this.use(this.programs.solid, view);
      gl.bindVertexArray(this.solids.array);
      gl.drawArrays(gl.TRIANGLES, 0, this.solids.count);
    }
    gl.disable(gl.DEPTH_TEST);
    this.drawLines(view, true);
    gl.disable(gl.BLEND);
  }

  resizeTarget(width, height) {
    const gl = this.gl;
    if (this.target?.width === width && this.target?.height === height) return;
    if (this.target) this.target.parts.forEach((part) => gl.deleteTexture(part));
    const frame = this.target?.frame ?? gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    const parts = [gl.RGBA8, gl.RGBA8, gl.DEPTH_COMPONENT24].map((format, i) => {
      const texture = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
      const place = i < 2 ? gl.COLOR_ATTACHMENT0 + i : gl.DEPTH_ATTACHMENT;
      gl.framebufferTexture2D(gl.FRAMEBUFFER, place, gl.TEXTURE_2D, texture, 0);
      return texture;
    });
    this.target = { frame, parts, width, height };
  }

  // Ids and depths of the whole view, small, for names that are hidden and for what the pointer is over.
  pickView(view, eye, { coarse = false } = {}) {
    const gl = this.gl;
    const width = Math.max(1, Math.floor(this.canvas.width / PICK_SHRINK));
    const height = Math.max(1, Math.floor(this.canvas.height / PICK_SHRINK));
    this.resizeTarget(width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target.frame);
    gl.drawBuffers([gl.COLOR_ATTACHMENT0, gl.COLOR_ATTACHMENT1]);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    if (this.showSurface) this.drawSurface(this.programs.pick, view, eye, { coarse });
    this.drawPictures(view, true);
    const read = [0, 1].map((i) => {
      const bytes = new Uint8Array(width * height * 4);
      gl.readBuffer(gl.COLOR_ATTACHMENT0 + i);
      gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
      return bytes;
    });
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    return { width, height, ids: read[0], depths: read[1] };
  }
}

// All of a vertex next to each other and at multiples of four bytes, as graphics cards read it.
function interleaved(mesh) {
  const count = mesh.positions.length / 3, bytes = new Uint8Array(count * STRIDE), step = STRIDE / 2;
  const shorts = new Uint16Array(bytes.buffer), signed = new Int8Array(bytes.buffer);
  for (let i = 0; i < count; i++) {
    for (let k = 0; k < 3; k++) {
      shorts[step * i + k] = mesh.positions[3 * i + k];
      bytes[STRIDE * i + 8 + k] = mesh.colors[3 * i + k];
      signed[STRIDE * i + 12 + k] = mesh.normals[3 * i + k];
    }
    bytes[STRIDE * i + 11] = mesh.confidence[i];
    shorts[step * i + 8] = mesh.labels[i];
    shorts[step * i + 9] = mesh.objects[i];
  }
  return bytes;
}

// What a picture of ids says of a place of the view, x and y from 0 to 1 from the top left.
function pickedAt(picked, x, y) {
  const column = Math.min(picked.width - 1, Math.max(0, Math.floor(x * picked.width)));
  const row = Math.min(picked.height - 1, Math.max(0, Math.floor((1 - y) * picked.height)));
  const at = 4 * (row * picked.width + column);
  const number = (bytes) => bytes[at] + 256 * bytes[at + 1] + 65536 * bytes[at + 2];
  const id = number(picked.ids);
  if (!id) return null;
  const depth = number(picked.depths) / 16777215;
  return id >= PICTURE_ID ? { picture: id - PICTURE_ID, depth } : { slot: id - 1, depth };
}
