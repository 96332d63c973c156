/** The page's icon as PNG: the rectangles of demo/icon.svg, since not every phone takes SVG. */

import { readFileSync } from "node:fs";
import { crc32, deflateSync } from "node:zlib";

const svg = readFileSync(new URL("../demo/icon.svg", import.meta.url), "utf8");
const rectangles = [...svg.matchAll(/<rect([^>]*)\/>/g)].map(([, text]) => {
  const value = (name) => Number(new RegExp(`\\b${name}="([^"]*)"`).exec(text)?.[1] ?? 0);
  const fill = /fill="#([0-9a-f]+)"/.exec(text)[1];
  const hex = fill.length === 3 ? [...fill].map((c) => c + c).join("") : fill;
  const color = [0, 2, 4].map((i) => Number.parseInt(hex.slice(i, i + 2), 16));
  return {
    x: value("x"),
    y: value("y"),
    width: value("width"),
    height: value("height"),
    radius: value("rx"),
    color,
  };
});

/** Whether a point of the 512 × 512 drawing is inside a rectangle with round corners. */
function inside({ x, y, width, height, radius }, px, py) {
  const dx = Math.max(x + radius - px, px - (x + width - radius), 0);
  const dy = Math.max(y + radius - py, py - (y + height - radius), 0);
  return px >= x && px < x + width && py >= y && py < y + height && dx * dx + dy * dy <= radius ** 2 + 1e-9;
}

/** The bytes of a PNG of `size` × `size` pixels. */
export function png(size) {
  const rows = Buffer.alloc(size * (3 * size + 1));
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const [px, py] = [column, row].map((place) => ((place + 0.5) * 512) / size);
      const top = rectangles.findLast((rectangle) => inside(rectangle, px, py));
      rows.set(top.color, row * (3 * size + 1) + 1 + 3 * column);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size, 0);
  header.writeUInt32BE(size, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const result = Buffer.alloc(body.length + 8);
  result.writeUInt32BE(data.length, 0);
  result.set(body, 4);
  result.writeUInt32BE(crc32(body), body.length + 4);
  return result;
}
