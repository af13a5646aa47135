// Volumes as `studies/packed_volume.py` wrote them: base64, deflated, predicted; one byte a voxel.

/** The bytes that a base64 text of deflated data holds. */
async function inflate(text) {
  const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Residuals of the median edge detector become bytes, in place. */
function undoMedian(bytes, [depth, height, width]) {
  for (let z = 0, i = 0; z < depth; z++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const left = x ? bytes[i - 1] : 0, above = y ? bytes[i - width] : 0;
        const corner = x && y ? bytes[i - width - 1] : 0;
        const low = Math.min(left, above), high = Math.max(left, above);
        bytes[i] += corner >= high ? low : corner <= low ? high : left + above - corner;
      }
    }
  }
}

/** A volume of the page: bytes, and what they mean. `value = low[z] + byte / levels * (high[z] - low[z])`. */
class Volume {
  constructor(description, bytes, shape) {
    Object.assign(this, description);
    this.bytes = bytes;
    this.shape = shape;
    const each = (bound) => Float32Array.from({ length: shape[0] }, (_, z) => (Array.isArray(bound) ? bound[z] : bound));
    this.bottom = each(description.low);
    this.step = each(description.high).map((high, z) => (high - this.bottom[z]) / description.levels);
  }

  /** The value at a voxel [z, y, x], in the volume's unit. */
  value([z, y, x]) {
    const [, height, width] = this.shape;
    return this.bottom[z] + this.step[z] * this.bytes[(z * height + y) * width + x];
  }
}

/** The chroma of a coloured volume: a byte of 127 is none, 0 and 254 are `span` in the volume's unit. */
async function readTint({ of, span }, read) {
  const own = read.get(of)?.tint;
  if (own?.blue) return own; // a decomposed image has its source's
  const bytes = (name) => inflate(document.getElementById(`voxels-${name}-${of}`).textContent);
  return { blue: await bytes("blue"), red: await bytes("red"), step: span / 127 };
}

/** Every volume of the page, in the order of its description. */
async function readVolumes(study) {
  const read = new Map();
  for (const description of study.volumes) {
    let bytes;
    if (description.coding === "error") {
      const [one, other] = description.of.map((key) => read.get(key).bytes);
      bytes = one.map((byte, i) => Math.abs(byte - other[i]));
    } else {
      bytes = await inflate(document.getElementById("voxels-" + description.key).textContent);
      if (description.coding === "median") undoMedian(bytes, study.shape);
      if (description.coding === "difference") {
        const reference = read.get(description.of[0]).bytes;
        for (let i = 0; i < bytes.length; i++) bytes[i] += reference[i];
      }
    }
    read.set(description.key, new Volume(description, bytes, study.shape));
    if (description.tint) read.get(description.key).tint = await readTint(description.tint, read);
  }
  return [...read.values()];
}
