// Scores by slice, and where the tumour lies: lines over the slices of the files; a click goes to a slice.

const LINES = ["#56b4e9", "#e69f00", "#2fc79a", "#f0e442", "#d98cc0", "#ff7f50", "#e8e8e8", "#e540fe", "#60fe40", "#998c53",
  "#8679fe", "#f840b2"];
const FRAME = { height: 290, left: 52, right: 12, top: 12, bottom: 62 };

/** How the line of the k-th score is drawn, in the curve and in its legend: every other one dashed. */
function lineStyle(k) {
  const round = Math.floor(k / LINES.length);
  return { fill: "none", stroke: LINES[k % LINES.length], "stroke-width": 2, "stroke-dasharray": (k + round) % 2 ? "7 3" : "none" };
}

function svgElement(name, attributes, text) {
  const result = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) result.setAttribute(key, String(value));
  if (text !== undefined) result.textContent = text;
  return result;
}

/** A path through the points that are there; a slice without a score breaks it. */
function linePath(values, x, y) {
  let path = "", drawing = false;
  values.forEach((value, z) => {
    if (value !== null) path += `${drawing ? "L" : "M"}${x(z).toFixed(1)} ${y(value).toFixed(1)}`;
    drawing = value !== null;
  });
  return path;
}

class Curve {
  constructor(viewer, place) {
    this.viewer = viewer;
    this.place = place;
    this.names = Object.keys(viewer.study.scores);
    this.shown = new Set(this.names.filter((name) => name.startsWith("SSIM")));
    if (!this.shown.size) this.names.slice(0, 4).forEach((name) => this.shown.add(name));
    this.svg = svgElement("svg", { role: "img",
      "aria-label": "scores inside the brain by slice; the table below holds the numbers" });
    this.svg.addEventListener("pointerdown", (event) => this.goTo(event));
    const legend = element("div", "legend");
    legend.append(...this.names.map((name, k) => this.legendEntry(name, k)));
    place.append(this.svg, legend);
    this.draw();
    new ResizeObserver(() => this.svg.clientWidth !== this.width && this.draw()).observe(place);
  }

  legendEntry(name, k) {
    const label = element("label"), box = element("input"), line = svgElement("svg", { class: "line", viewBox: "0 0 27 4", "aria-hidden": "true" });
    box.type = "checkbox";
    box.checked = this.shown.has(name);
    box.addEventListener("change", () => {
      if (box.checked) this.shown.add(name); else this.shown.delete(name);
      this.draw();
    });
    line.append(svgElement("path", { d: "M0 2H27", ...lineStyle(k) }));
    label.append(box, line, name);
    return label;
  }

  x(z) { return FRAME.left + (z + 0.5) / this.viewer.study.scored * (this.width - FRAME.left - FRAME.right); }

  y(value) {
    return FRAME.top + (1 - (value - this.bottom) / (1 - this.bottom)) * (FRAME.height - FRAME.top - FRAME.bottom);
  }

  /** Draws in pixels of the page, so that the numbers are as large in a narrow window. */
  draw() {
    const { study } = this.viewer;
    this.width = this.svg.clientWidth;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${FRAME.height}`);
    const values = [...this.shown].flatMap((name) => study.scores[name].filter((value) => value !== null));
    this.bottom = Math.floor(10 * Math.min(0.9, ...values)) / 10;
    this.svg.replaceChildren(...this.tumourBars(), ...this.axes());
    this.names.forEach((name, k) => {
      if (!this.shown.has(name)) return;
      const line = svgElement("path", { d: linePath(study.scores[name], (z) => this.x(z), (v) => this.y(v)), ...lineStyle(k) });
      line.append(svgElement("title", {}, name));
      this.svg.append(line);
    });
    this.marker = svgElement("line", { y1: FRAME.top, y2: FRAME.height - FRAME.bottom, stroke: "#5ac8ff", "stroke-width": 1.5 });
    this.svg.append(this.marker);
    this.mark();
  }

  tumourBars() {
    const { tumour, scored, areaUnit } = this.viewer.study;
    if (!tumour) return [];
    const most = Math.max(...tumour.areas, 1), room = (FRAME.height - FRAME.top - FRAME.bottom) / 3;
    const width = (this.width - FRAME.left - FRAME.right) / scored;
    return tumour.areas.map((area, z) => {
      const height = room * area / most, y = FRAME.height - FRAME.bottom - height;
      const bar = svgElement("rect", { x: this.x(z) - width / 2, y, width, height, fill: "#6b5d12" });
      bar.append(svgElement("title", {}, `tumour ${Math.round(area)} ${areaUnit}`));
      return bar;
    });
  }

  axes() {
    const { study } = this.viewer, parts = [], floor = FRAME.height - FRAME.bottom;
    const text = (x, y, anchor, content) => svgElement("text", { x, y, fill: "#b6c2cf", "font-size": 13, "text-anchor": anchor }, content);
    const tick = [0.05, 0.1, 0.2, 0.5].find((step) => (1 - this.bottom) / step < 6.5) || 1;
    for (let value = 1; value > this.bottom - 1e-6; value -= tick) {
      const y = this.y(value);
      parts.push(svgElement("line", { x1: FRAME.left, x2: this.width - FRAME.right, y1: y, y2: y, stroke: "#2a323c" }),
        text(FRAME.left - 6, y + 4, "end", value.toFixed(2)));
    }
    for (let k = 0; k <= 4; k++) {
      const z = Math.round((study.scored - 1) * k / 4);
      parts.push(text(this.x(z), floor + 17, "middle", String(study.firstScored + z)));
    }
    const middle = (FRAME.left + this.width - FRAME.right) / 2;
    parts.push(text(middle, FRAME.height - 26, "middle", "slice"));
    if (study.tumour) {
      const most = `${Math.round(Math.max(...study.tumour.areas))} ${study.areaUnit}`;
      parts.push(text(middle, FRAME.height - 8, "middle", `bars: area of the tumour, at most ${most}`));
    }
    return parts;
  }

  /** Puts the marker on the slice on the screen. */
  mark() {
    const { study, state } = this.viewer;
    const x = this.x(study.numbers[state.cursor[0]] - study.firstScored);
    this.marker.setAttribute("x1", x);
    this.marker.setAttribute("x2", x);
  }

  goTo(event) {
    const { study, state } = this.viewer, box = this.svg.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width * this.width;
    const wanted = study.firstScored + (across - FRAME.left) / (this.width - FRAME.left - FRAME.right) * study.scored - 0.5;
    const distance = (index) => Math.abs(study.numbers[index] - wanted);
    const nearest = study.numbers.reduce((best, _, index) => (distance(index) < distance(best) ? index : best), 0);
    this.viewer.setCursor([nearest, state.cursor[1], state.cursor[2]]);
  }
}

/** The table of every slice, made when it is opened. */
function fillTable(viewer, details) {
  const { study } = viewer, names = Object.keys(study.scores), table = element("table");
  const row = (cells, kind) => {
    const line = element("tr");
    line.append(...cells.map((cell) => element(kind, "", cell)));
    return line;
  };
  table.append(row(["slice", ...names, ...(study.tumour ? [`tumour, ${study.areaUnit}`] : [])], "th"));
  for (let z = 0; z < study.scored; z++) {
    table.append(row([study.firstScored + z, ...names.map((name) => study.scores[name][z]?.toFixed(3) ?? "–"),
      ...(study.tumour ? [Math.round(study.tumour.areas[z])] : [])], "td"));
  }
  const frame = element("div", "wide");
  frame.append(table);
  details.append(frame);
}
