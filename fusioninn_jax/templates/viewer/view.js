// One canvas: a plane of one volume, or of two behind a divider, with overlay, outlines and crosshair.

class View {
  /** `viewer` holds the shared state; `role`: an index of a volume, or "compare". */
  constructor(viewer, plane, role) {
    this.viewer = viewer;
    this.plane = plane;
    this.role = role;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "view";
    this.canvas.style.aspectRatio = String((plane.width * plane.columnSize) / (plane.height * plane.rowSize));
    this.canvas.setAttribute("role", "img");
    this.pointers = new Map();
    this.wheel = 0;
    this.listen();
  }

  /** The volume under the pointer, whose window a drag changes. */
  get volume() {
    return this.viewer.volumes[this.shown[0]];
  }

  /** The numbers of the volumes on the canvas. */
  get shown() {
    const { state } = this.viewer;
    if (this.role !== "compare") return [this.role];
    return state.compare === "blink" ? [state.second ? state.b : state.a] : [state.a, state.b];
  }

  /** Screen geometry: voxel [row, column] lies at CSS pixel (x0 + column * sx, y0 + row * sy). */
  geometry() {
    const { plane } = this, { state } = this.viewer;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    const scale = state.zoom * Math.min(width / (plane.width * plane.columnSize), height / (plane.height * plane.rowSize));
    const sx = scale * plane.columnSize, sy = scale * plane.rowSize;
    const [row, column] = toScreen(plane, state.centre);
    return { width, height, sx, sy, x0: width / 2 - (column + 0.5) * sx, y0: height / 2 - (row + 0.5) * sy };
  }

  draw() {
    const { width, height, sx, sy, x0, y0 } = this.geometry();
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio)) this.canvas.width = Math.round(width * ratio);
    if (this.canvas.height !== Math.round(height * ratio)) this.canvas.height = Math.round(height * ratio);
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingEnabled = this.viewer.state.smooth;
    context.imageSmoothingQuality = "high";
    const place = [x0, y0, this.plane.width * sx, this.plane.height * sy];
    this.drawVolumes(context, width, height, place);
    this.drawOutlines(context, x0, y0, sx, sy);
    this.drawCrosshair(context, width, height, x0, y0, sx, sy);
    this.drawLetters(context, width, height);
    this.canvas.setAttribute("aria-label", this.description());
  }

  drawVolumes(context, width, height, place) {
    const { state } = this.viewer;
    const paint = (index) => {
      context.drawImage(this.viewer.painted(index, this.plane, false), ...place);
      if (this.viewer.overlays(index)) {
        context.globalAlpha = state.opacity;
        context.drawImage(this.viewer.painted(state.overlay, this.plane, true), ...place);
        context.globalAlpha = 1;
      }
    };
    const [first, second] = this.shown;
    paint(first);
    if (second === undefined) return;
    const divider = state.wipe * width;
    context.save();
    context.beginPath();
    context.rect(divider, 0, width - divider, height);
    context.clip();
    context.fillRect(0, 0, width, height);
    paint(second);
    context.restore();
    context.fillStyle = "#ffd600";
    context.fillRect(divider - 0.75, 0, 1.5, height);
  }

  drawOutlines(context, x0, y0, sx, sy) {
    for (const { edges, colour } of this.viewer.outlines(this.plane)) {
      context.beginPath();
      for (const [r0, c0, r1, c1] of edges) {
        context.moveTo(x0 + c0 * sx, y0 + r0 * sy);
        context.lineTo(x0 + c1 * sx, y0 + r1 * sy);
      }
      context.strokeStyle = colour;
      context.lineWidth = 1.4;
      context.stroke();
    }
  }

  drawCrosshair(context, width, height, x0, y0, sx, sy) {
    const { state } = this.viewer;
    if (!state.crosshair) return;
    const [row, column] = toScreen(this.plane, state.cursor);
    const x = x0 + (column + 0.5) * sx, y = y0 + (row + 0.5) * sy, gap = 6;
    context.strokeStyle = "rgba(90, 200, 255, .8)";
    context.lineWidth = 1;
    context.beginPath();
    for (const [a, b] of [[0, x - gap], [x + gap, width]]) { context.moveTo(a, y); context.lineTo(b, y); }
    for (const [a, b] of [[0, y - gap], [y + gap, height]]) { context.moveTo(x, a); context.lineTo(x, b); }
    context.stroke();
  }

  drawLetters(context, width, height) {
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    const [left, right, top, bottom] = this.plane.letters || ["", "", "", ""];
    for (const [letter, x, y] of [[left, 9, height / 2], [right, width - 9, height / 2], [top, width / 2, 10],
      [bottom, width / 2, height - 10]]) {
      context.fillStyle = "#000"; // dividers and crosshairs pass here
      if (letter) context.fillRect(x - 7, y - 8, 14, 16);
      context.fillStyle = "#9fb3c8";
      context.fillText(letter, x, y);
    }
    if (this.role !== "compare") return;
    const { state, volumes } = this.viewer;
    const blink = state.compare === "blink";
    context.fillStyle = "#ffd600";
    context.textAlign = "left";
    context.fillText((blink ? volumes[state.second ? state.b : state.a] : volumes[state.a]).title, 20, 14);
    context.textAlign = "right";
    if (!blink) context.fillText(volumes[state.b].title, width - 20, 14);
  }

  /** What a screen reader says of the canvas. */
  description() {
    const { viewer, plane, role } = this, { state, volumes } = viewer;
    const what = role === "compare" ? `${volumes[state.a].title} against ${volumes[state.b].title}` : volumes[role].title;
    const outlined = viewer.outlines(plane).some(({ edges }) => edges.length) ? ", tumour outlined" : "";
    const overlaid = this.shown.some((index) => viewer.overlays(index)) && state.opacity ? `, overlay ${volumes[state.overlay].title}` : "";
    return `${what}, ${plane.name}, ${viewer.sliceName(plane)}${outlined}${overlaid}`;
  }

  /** The position [z, y, x] under a pointer, in voxels, not rounded. */
  under(event) {
    const box = this.canvas.getBoundingClientRect(), { sx, sy, x0, y0 } = this.geometry();
    const row = (event.clientY - box.top - y0) / sy - 0.5, column = (event.clientX - box.left - x0) / sx - 0.5;
    return fromScreen(this.plane, [row, column], this.viewer.state.cursor);
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.viewer.toggleEnlarged(this.role));
    canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.onDown(event));
    canvas.addEventListener("pointermove", (event) => this.onMove(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
  }

  onWheel(event) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      this.viewer.zoomAt(Math.exp(-event.deltaY / 300), this.under(event), this.plane);
      return;
    }
    this.wheel += event.deltaMode ? 40 * event.deltaY : event.deltaY;
    const steps = Math.trunc(this.wheel / 40) || (Math.abs(event.deltaY) >= 100 ? Math.sign(event.deltaY) : 0);
    if (steps) {
      this.wheel = 0;
      this.viewer.move(this.plane, Math.sign(steps) * Math.min(Math.abs(steps), 3));
    }
  }

  onDown(event) {
    this.viewer.activate(this);
    if (event.pointerType === "mouse") this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.tool = event.button === 2 || event.shiftKey ? "window" : event.button === 1 ? "pan"
      : event.altKey ? "zoom" : this.viewer.state.tool;
    if (event.button === 1) event.preventDefault();
    if (this.tool === "cross" && this.pointers.size === 1) this.viewer.setCursor(this.under(event));
  }

  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const dx = event.clientX - before.x, dy = event.clientY - before.y;
    if (this.pointers.size === 2) this.pinch(event, before, dx, dy);
    else if (this.tool === "cross") this.viewer.setCursor(this.under(event));
    else if (this.tool === "window") this.viewer.dragWindow(this.volume.group, dx / this.canvas.clientWidth, dy / this.canvas.clientHeight);
    else if (this.tool === "pan") this.pan(dx, dy);
    else this.viewer.zoomAt(Math.exp(-dy / 150), this.viewer.state.cursor, this.plane);
    before.x = event.clientX;
    before.y = event.clientY;
  }

  pinch(event, before, dx, dy) {
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
    const was = Math.hypot(before.x - other.x, before.y - other.y);
    const is = Math.hypot(event.clientX - other.x, event.clientY - other.y);
    if (was > 10) this.viewer.zoomAt(is / was, this.under(event), this.plane);
    this.pan(dx / 2, dy / 2);
  }

  pan(dx, dy) {
    const { sx, sy } = this.geometry(), { state } = this.viewer;
    const [row, column] = toScreen(this.plane, state.centre);
    this.viewer.setCentre(fromScreen(this.plane, [row - dy / sy, column - dx / sx], state.centre));
  }
}
