// The figures of the page: a grid of all panels, one panel that fills the window, or two panels compared.

function element(name, className, text) {
  const result = document.createElement(name);
  if (className) result.className = className;
  if (text !== undefined) result.textContent = text;
  return result;
}

/** A colour bar with the ends of the window and the unit; kept up to date by `update`. `over`: that of the overlay. */
function makeScale(viewer, find, over) {
  const scale = element("div", over ? "scale over" : "scale"), bar = element("div"), numbers = element("div", "numbers");
  const cells = [0, 1, 2].map(() => numbers.appendChild(element("span")));
  scale.append(bar, numbers);
  scale.setAttribute("role", "img");
  const update = () => {
    const index = find(), volume = viewer.volumes[index];
    scale.hidden = !volume;
    if (!volume) return;
    bar.className = volume.map === "colours" || (over && !volume.tint) ? "bar colours" : "bar";
    const [low, high] = viewer.windows[volume.group], span = high - low;
    [low, (low + high) / 2, high].forEach((value, k) => { cells[k].textContent = shown(value, span); });
    cells[1].textContent += volume.unit ? ` ${volume.unit}` : "";
    if (over) cells[1].textContent += ` (overlay: ${volume.title})`;
    const label = `colour bar ${over ? `of the overlay ${volume.title} ` : ""}from ${shown(low, span)} to ${shown(high, span)} ${volume.unit}`;
    if (scale.getAttribute("aria-label") !== label) scale.setAttribute("aria-label", label);
  };
  return { scale, update };
}

/** The colour bars of a figure that shows some volumes: theirs, and that of an overlay which lies over any of them. */
function makeScales(viewer, indices) {
  const overlay = () => (indices.some((index) => viewer.overlays(index)) ? viewer.state.overlay : -1);
  const scales = [...indices.map((index) => makeScale(viewer, () => index, false)), makeScale(viewer, overlay, true)];
  const row = element("div", "scales");
  row.append(...scales.map(({ scale }) => scale));
  return { row, update: () => scales.forEach((scale) => scale.update()) };
}

/** A figure of one volume: caption with the value under the crosshair, its planes, its colour bar. */
function makePanel(viewer, index) {
  const volume = viewer.volumes[index], figure = element("figure", "panel"), caption = element("figcaption");
  const enlarge = element("button", "enlarge", volume.title), value = element("span", "value");
  enlarge.type = "button";
  enlarge.title = viewer.state.layout === "one" ? "back to all panels (Escape)" : "let this panel fill the window";
  enlarge.addEventListener("click", () => viewer.toggleEnlarged(index));
  caption.append(enlarge, value);
  const views = viewer.shownPlanes.map((plane) => new View(viewer, plane, index));
  const row = element("div", "views");
  row.append(...views.map((view) => view.canvas));
  const scales = makeScales(viewer, [index]);
  figure.append(caption, row, scales.row);
  figure.title = "";
  return { figure, views, update: () => {
    scales.update();
    value.textContent = shown(volume.value(viewer.state.cursor), volume.limits[1] - volume.limits[0]) + ` ${volume.unit}`;
    figure.classList.toggle("active", viewer.state.panel === index);
  } };
}

/** Two volumes on one place: a divider between them, or one after the other. */
function makeComparison(viewer) {
  const figure = element("figure", "panel"), row = element("div", "views");
  const views = viewer.shownPlanes.map((plane) => new View(viewer, plane, "compare"));
  row.append(...views.map((view) => view.canvas));
  const scales = makeScales(viewer, [viewer.state.a, viewer.state.b]);
  const caption = element("figcaption");
  const value = element("span", "value");
  caption.append(value);
  figure.append(caption, row, scales.row);
  return { figure, views, update: () => {
    scales.update();
    value.textContent = [viewer.state.a, viewer.state.b].map((index) => {
      const volume = viewer.volumes[index];
      return `${volume.title} ${shown(volume.value(viewer.state.cursor), volume.limits[1] - volume.limits[0])} ${volume.unit}`;
    }).join(" | ");
  } };
}

/** Builds the figures that the state asks for, into the stage. */
function layOut(viewer, stage) {
  const { state } = viewer;
  const panels = state.layout === "grid" ? viewer.volumes.map((_, index) => makePanel(viewer, index))
    : state.layout === "one" ? [makePanel(viewer, state.panel)]
      : state.compare === "side" ? [state.a, state.b].map((index) => makePanel(viewer, index))
        : [makeComparison(viewer)];
  stage.className = `${state.layout} ${state.plane < 0 ? "three" : "single"} ${state.layout === "compare" ? state.compare : ""}`;
  stage.replaceChildren(...panels.map((panel) => panel.figure));
  viewer.views = panels.flatMap((panel) => panel.views);
  viewer.updatePanels = () => panels.forEach((panel) => panel.update());
}
