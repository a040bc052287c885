// What runs on the graphics card. Everything behind the section is dropped, for the eye and for the pointer.

const SECTION = `
uniform vec3 uKeepLow, uKeepHigh;
void cut(vec3 p) { if (any(lessThan(p, uKeepLow)) || any(greaterThan(p, uKeepHigh))) discard; }`;

const SURFACE_VERTEX = `#version 300 es
in vec3 aPosition;
in vec4 aColor;
in vec3 aNormal;
in uvec2 aIds;
uniform mat4 uView;
uniform vec3 uLow, uSize;
flat out uint vLabel, vObject;
out vec3 vColor, vNormal, vWorld;
out float vConfidence;
void main() {
  vWorld = uLow + aPosition * uSize;
  vColor = aColor.rgb;
  vConfidence = aColor.a;
  vNormal = aNormal;
  vLabel = aIds.x;
  vObject = aIds.y;
  gl_Position = uView * vec4(vWorld, 1.0);
}`;

const SURFACE_FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
flat in uint vLabel, vObject;
in vec3 vColor, vNormal, vWorld;
in float vConfidence;
uniform int uMode;
uniform vec3 uEye;
uniform sampler2D uClasses, uObjects;
out vec4 color;
${SECTION}
vec4 entry(sampler2D table, uint i) { return texelFetch(table, ivec2(int(i % 256u), int(i / 256u)), 0); }
void main() {
  cut(vWorld);
  vec4 object = entry(uObjects, vObject), kind = entry(uClasses, vLabel);
  int state = int(object.a * 255.0 + 0.5);
  if (state == 3 && (int(gl_FragCoord.x) + 2 * int(gl_FragCoord.y)) % 5 != 0) discard;
  vec3 base = vColor;
  if (uMode == 1) base = kind.rgb;
  if (uMode == 2) base = object.rgb;
  if (uMode == 3) base = vConfidence < 0.5 ? mix(vec3(0.84, 0.19, 0.15), vec3(0.99, 0.88, 0.55), vConfidence * 2.0)
                                           : mix(vec3(0.99, 0.88, 0.55), vec3(0.10, 0.60, 0.31), vConfidence * 2.0 - 1.0);
  float facing = abs(dot(normalize(vNormal + vec3(1e-6)), normalize(uEye - vWorld)));
  float light = uMode == 0 ? 0.86 + 0.14 * facing : 0.5 + 0.5 * facing;
  if (kind.a < 0.5) base = mix(base, vec3(dot(base, vec3(0.3, 0.6, 0.1))), 0.9) * 0.35 + 0.6;
  if (state == 1) base = mix(base, vec3(1.0, 0.62, 0.0), 0.6);
  if (state == 2) base = mix(base, vec3(1.0, 0.85, 0.4), 0.35);
  color = vec4(base * light, 1.0);
}`;

const PICK_FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
flat in uint vObject;
in vec3 vWorld;
uniform sampler2D uObjects;
layout(location = 0) out vec4 id;
layout(location = 1) out vec4 depth;
${SECTION}
vec4 inBytes(uint n) { return vec4(float(n & 255u), float((n >> 8) & 255u), float((n >> 16) & 255u), 255.0) / 255.0; }
void main() {
  cut(vWorld);
  int state = int(texelFetch(uObjects, ivec2(int(vObject % 256u), int(vObject / 256u)), 0).a * 255.0 + 0.5);
  if (state == 3) discard;
  id = inBytes(vObject + 1u);
  depth = inBytes(uint(gl_FragCoord.z * 16777215.0));
}`;

const LINE_VERTEX = `#version 300 es
in vec3 aFrom, aTo;
in vec4 aColor;
in float aWidth;
uniform mat4 uView;
uniform vec2 uPixels;
out vec4 vColor;
out vec3 vWorld;
void main() {
  bool end = (gl_VertexID & 1) == 1;
  float side = (gl_VertexID & 2) == 2 ? 1.0 : -1.0;
  vec4 a = uView * vec4(aFrom, 1.0), b = uView * vec4(aTo, 1.0);
  const float NEAR = 0.02;
  if (a.w < NEAR && b.w > NEAR) a = mix(a, b, (NEAR - a.w) / (b.w - a.w));
  if (b.w < NEAR && a.w > NEAR) b = mix(b, a, (NEAR - b.w) / (a.w - b.w));
  vec2 along = (b.xy / b.w - a.xy / a.w) * uPixels;
  along = length(along) > 1e-4 ? normalize(along) : vec2(1.0, 0.0);
  vec4 at = end ? b : a;
  at.xy += (vec2(-along.y, along.x) * side + along * (end ? 0.5 : -0.5)) * aWidth / uPixels * at.w;
  at.z -= 2e-4 * at.w;
  gl_Position = at;
  vColor = aColor;
  vWorld = end ? aTo : aFrom;
}`;

const FLAT_FRAGMENT = `#version 300 es
precision highp float;
in vec4 vColor;
in vec3 vWorld;
out vec4 color;
${SECTION}
void main() { cut(vWorld); color = vColor; }`;

const SOLID_VERTEX = `#version 300 es
in vec3 aPosition;
in vec4 aColor;
uniform mat4 uView;
out vec4 vColor;
out vec3 vWorld;
void main() { vColor = aColor; vWorld = aPosition; gl_Position = uView * vec4(aPosition, 1.0); }`;

const PICTURE_VERTEX = `#version 300 es
uniform mat4 uView;
uniform vec3 uCorners[4];
out vec2 vAt;
out vec3 vWorld;
void main() {
  vAt = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  vWorld = uCorners[gl_VertexID];
  gl_Position = uView * vec4(vWorld, 1.0);
}`;

const PICTURE_FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
in vec2 vAt;
in vec3 vWorld;
uniform sampler2D uImage;
uniform uint uId;
uniform bool uPicking;
layout(location = 0) out vec4 color;
layout(location = 1) out vec4 depth;
${SECTION}
vec4 inBytes(uint n) { return vec4(float(n & 255u), float((n >> 8) & 255u), float((n >> 16) & 255u), 255.0) / 255.0; }
void main() {
  cut(vWorld);
  color = uPicking ? inBytes(uId) : vec4(texture(uImage, vAt).rgb, 1.0);
  depth = inBytes(uint(gl_FragCoord.z * 16777215.0));
}`;
