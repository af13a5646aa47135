// The shared state of all views: position, zoom, windows, what is laid out and what lies over it. Actions change it
// and ask for one redraw.

const LABEL_COLOURS = ["#ffd600", "#ff5fa2", "#4ddbff", "#7CFC5A"];

class Viewer {
  constructor(study, volumes) {
    this.study = study;
    this.volumes = volumes;
    this.planes = makePlanes(study);
    this.colours = parseColours(study.colours);
    this.views = [];
    this.listeners = [];
    this.cache = new Map();
    this.outlined = "tumour";
    this.windows = Object.fromEntries(volumes.map((volume) => [volume.group, [...volume.window]]));
    const middle = study.shape.map((length) => (length - 1) / 2);
    this.state = { cursor: [...study.start], centre: middle, zoom: 1, plane: 0, layout: "grid", panel: 0, a: 0,
      b: study.fused, compare: "wipe", wipe: 0.5, second: false, overlay: -1, opacity: 0.6, outline: "tumour",
      tool: "cross", crosshair: true, smooth: false };
  }

  onChange(listener) { this.listeners.push(listener); }

  /** Asks for one redraw at the next frame, however many changes come before it. */
  changed() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      for (const view of this.views) view.draw();
      for (const listener of this.listeners) listener();
    });
  }

  set(values) {
    Object.assign(this.state, values);
    this.changed();
  }

  /** The planes on the screen. */
  get shownPlanes() { return this.state.plane < 0 ? this.planes : [this.planes[this.state.plane]]; }

  /** The plane that keys and the slider scroll through. */
  get plane() { return this.planes[Math.max(this.state.plane, 0)]; }

  /** Slice of a plane, numbered as in the files where the plane is that of the files' slices. */
  sliceName(plane) {
    const index = this.state.cursor[plane.normal];
    if (plane.normal === 0) return `slice ${this.study.numbers[index]} of ${this.study.whole[0]}`;
    return `slice ${this.study.corner[plane.normal] + 1 + index * this.study.shrink} of ${this.study.whole[plane.normal]}`;
  }

  setCursor(position) {
    this.state.cursor = position.map((value, axis) => Math.max(0, Math.min(this.study.shape[axis] - 1, Math.round(value))));
    this.changed();
  }

  setCentre(position) {
    this.state.centre = position.map((value, axis) => Math.max(0, Math.min(this.study.shape[axis] - 1, value)));
    this.changed();
  }

  move(plane, steps) {
    const position = [...this.state.cursor];
    position[plane.normal] += steps;
    this.setCursor(position);
  }

  /** Zooms so that a position [z, y, x] stays where it is on the screen of a plane. */
  zoomAt(factor, position, plane) {
    const zoom = Math.max(1, Math.min(24, this.state.zoom * factor)), kept = this.state.zoom / zoom;
    const centre = [...this.state.centre];
    for (const axis of [plane.rows, plane.columns]) centre[axis] = position[axis] + (centre[axis] - position[axis]) * kept;
    this.state.zoom = zoom;
    if (zoom === 1) this.state.centre = this.study.shape.map((length) => (length - 1) / 2);
    else this.setCentre(centre);
    this.changed();
  }

  setWindow(group, [low, high]) {
    const [, top] = this.volumes.find((volume) => volume.group === group).limits;
    const least = top / 1000;
    this.windows[group] = [low, Math.max(high, low + least)];
    this.changed();
  }

  /** A drag: to the right widens the window, downwards darkens. */
  dragWindow(group, right, down) {
    const [low, high] = this.windows[group], [bottom, top] = this.volumes.find((v) => v.group === group).limits;
    const width = (high - low) * Math.exp(2 * right), level = (low + high) / 2 + down * (top - bottom);
    this.setWindow(group, [level - width / 2, level + width / 2]);
  }

  reset() {
    for (const volume of this.volumes) this.windows[volume.group] = [...volume.window];
    this.set({ zoom: 1, centre: this.study.shape.map((length) => (length - 1) / 2) });
  }

  activate(view) {
    if (view.role !== "compare") this.state.panel = view.role;
    this.changed();
  }

  toggleEnlarged(role) {
    if (role === "compare") return;
    this.lay({ layout: this.state.layout === "one" ? "grid" : "one", panel: role });
  }

  /** The other of two images that blink; in the other comparisons A and B change places. */
  swap() {
    const { layout, compare, a, b, second } = this.state;
    if (layout !== "compare") return;
    if (compare === "blink") this.set({ second: !second });
    else this.lay({ a: b, b: a });
  }

  /** What is outlined; `outlined` keeps the last choice while it is off. */
  setOutline(outline) {
    if (outline !== "off") this.outlined = outline;
    this.set({ outline });
  }

  /** Whether the overlay lies over a volume: it does not over itself. */
  overlays(index) { return this.state.overlay >= 0 && this.state.overlay !== index; }

  /** Changes what is laid out: `build` makes the canvases anew. */
  lay(values) {
    const { layout, panel, compare } = this.state;
    Object.assign(this.state, values);
    if (this.build) this.build();
    this.changed();
    const now = this.state, other = now.layout !== layout || now.panel !== panel || now.compare !== compare;
    if (other && this.reveal) requestAnimationFrame(() => this.reveal()); // once it is drawn
  }

  /** A plane of a volume as pixels, kept while it is on the screen. */
  painted(index, plane, fade) {
    const volume = this.volumes[index], [low, high] = this.windows[volume.group];
    const name = `${index} ${plane.normal} ${fade}`, stamp = `${this.state.cursor[plane.normal]} ${low} ${high}`;
    const found = this.cache.get(name);
    if (found && found.stamp === stamp) return found.canvas;
    const canvas = paintPlane(volume, plane, this.state.cursor[plane.normal], [low, high],
      volume.map === "colours" || fade ? this.colours : null, fade);
    this.cache.set(name, { stamp, canvas });
    return canvas;
  }

  /** The outlines of a plane: the whole tumour, or each of its labels in its own colour. */
  outlines(plane) {
    const { outline, cursor } = this.state;
    if (!this.mask || outline === "off") return [];
    const stamp = `${outline} ${cursor[plane.normal]}`, found = this.cache.get(`mask ${plane.normal}`);
    if (found && found.stamp === stamp) return found.parts;
    const tests = outline === "tumour" ? [(label) => label > 0] : this.study.tumour.labels.map((k) => (label) => label === k);
    const parts = tests.map((isIn, k) => ({ colour: LABEL_COLOURS[k % LABEL_COLOURS.length],
      edges: outlineEdges(this.mask, this.study.shape, plane, cursor[plane.normal], isIn) }));
    this.cache.set(`mask ${plane.normal}`, { stamp, parts });
    return parts;
  }
}
