// Pixels: a plane of a volume through its window, in grey or in colours; outlines of a mask.

/** RGB of 256 colours from hexadecimal digits. */
function parseColours(text) {
  return Uint8Array.from({ length: 768 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

/** Red, green and blue (ITU-R BT.601) of a coloured voxel; the window is that of each colour. */
function tinted({ blue, red, step }, i, luma, scale, pixels, p) {
  const cb = (blue[i] - 127) * step * scale, cr = (red[i] - 127) * step * scale;
  pixels[p] = luma + 1.402 * cr; // the array rounds, and cuts off below 0 and above 255
  pixels[p + 1] = luma - (0.299 * 1.402 * cr + 0.114 * 1.772 * cb) / 0.587;
  pixels[p + 2] = luma + 1.772 * cb;
}

/** A canvas of one pixel a voxel. `fade`: low values become transparent, for an overlay. */
function paintPlane(volume, plane, index, [low, high], colours, fade) {
  const canvas = document.createElement("canvas");
  canvas.width = plane.width;
  canvas.height = plane.height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(plane.width, plane.height);
  const pixels = image.data, { bytes, bottom, step } = volume, scale = 255 / Math.max(high - low, 1e-12);
  eachVoxel(plane, volume.shape, index, (place, i, z) => {
    const luma = (bottom[z] + step[z] * bytes[i] - low) * scale, level = Math.max(0, Math.min(255, Math.round(luma)));
    const p = 4 * place;
    if (volume.tint) tinted(volume.tint, i, luma, scale, pixels, p);
    else for (let k = 0; k < 3; k++) pixels[p + k] = colours ? colours[3 * level + k] : level;
    pixels[p + 3] = fade ? Math.min(255, 2 * level) : 255;
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Edges between the voxels of a mask that are in a part and those that are not: [row, column, row, column] of corners. */
function outlineEdges(mask, shape, plane, index, isIn) {
  const inside = new Uint8Array(plane.width * plane.height);
  eachVoxel(plane, shape, index, (place, i) => { inside[place] = isIn(mask[i]) ? 1 : 0; });
  const edges = [];
  const at = (row, column) => row >= 0 && column >= 0 && row < plane.height && column < plane.width
    && inside[row * plane.width + column];
  for (let row = 0; row <= plane.height; row++) {
    for (let column = 0; column <= plane.width; column++) {
      const here = at(row, column);
      if (here !== at(row - 1, column) && Boolean(here) !== Boolean(at(row - 1, column))) {
        edges.push([row, column, row, column + 1]);
      }
      if (Boolean(here) !== Boolean(at(row, column - 1))) edges.push([row, column, row + 1, column]);
    }
  }
  return edges;
}

/** A number for people: as many digits as its scale needs. */
function shown(value, span) {
  const digits = Math.max(0, Math.min(4, 2 - Math.floor(Math.log10(Math.max(span, 1e-9)))));
  return value.toFixed(digits);
}
