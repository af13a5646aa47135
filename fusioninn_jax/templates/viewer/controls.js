// Controls and keys: every control shows the state and changes it.

const byId = (id) => document.getElementById(id);

/** Fills a choice with the volumes' titles. */
function fillChoice(select, viewer, none) {
  const options = viewer.volumes.map((volume, index) => new Option(volume.title, String(index)));
  select.replaceChildren(...(none ? [new Option(none, "-1")] : []), ...options);
}

function bindControls(viewer) {
  const { state } = viewer;
  const on = (id, name, handler) => byId(id).addEventListener(name, handler);
  for (const id of ["first", "second"]) fillChoice(byId(id), viewer, null);
  fillChoice(byId("overlay"), viewer, "nothing");
  byId("plane").replaceChildren(...viewer.planes.map((plane, index) => new Option(plane.name, String(index))),
    ...(viewer.planes.length > 1 ? [new Option("three planes", "-1")] : []));
  on("slice", "input", (event) => {
    const position = [...state.cursor];
    position[viewer.plane.normal] = Number(event.target.value);
    viewer.setCursor(position);
  });
  on("plane", "change", (event) => viewer.lay({ plane: Number(event.target.value) }));
  on("layout", "change", (event) => viewer.lay({ layout: event.target.value }));
  on("first", "change", (event) => viewer.lay({ a: Number(event.target.value) }));
  on("second", "change", (event) => viewer.lay({ b: Number(event.target.value) }));
  on("compare", "change", (event) => viewer.lay({ compare: event.target.value, second: false }));
  on("wipe", "input", (event) => viewer.set({ wipe: Number(event.target.value) / 100 }));
  on("swap", "click", () => viewer.swap());
  on("overlay", "change", (event) => viewer.set({ overlay: Number(event.target.value) }));
  on("opacity", "input", (event) => viewer.set({ opacity: Number(event.target.value) / 100 }));
  on("outline", "change", (event) => viewer.setOutline(event.target.value));
  on("tool", "change", (event) => viewer.lay({ tool: event.target.value }));
  on("crosshair", "change", (event) => viewer.set({ crosshair: event.target.checked }));
  on("smooth", "change", (event) => viewer.set({ smooth: event.target.checked }));
  on("reset", "click", () => viewer.reset());
  for (const id of ["low", "high"]) {
    on(id, "change", () => viewer.setWindow(viewer.volumes[state.panel].group, [Number(byId("low").value), Number(byId("high").value)]));
  }
  bindBlinking(viewer);
  bindKeys(viewer);
}

/** One image after the other, at most 2.5 changes a second (flashing above 3 a second can harm). */
function bindBlinking(viewer) {
  let timer = null;
  const restart = () => {
    clearInterval(timer);
    timer = null;
    if (byId("running").checked) {
      timer = setInterval(() => {
        const { layout, compare, second } = viewer.state;
        if (layout === "compare" && compare === "blink") viewer.set({ second: !second });
      }, 1000 / Number(byId("rate").value));
    }
  };
  byId("running").checked = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const id of ["running", "rate"]) byId(id).addEventListener("change", restart);
  restart();
}

/** What each key does; `step` scrolls the plane on the screen. */
function keyActions(viewer) {
  const { state } = viewer;
  const step = (count) => () => viewer.move(viewer.plane, count);
  const plane = (name) => () => {
    const index = viewer.planes.findIndex((one) => one.name === name);
    if (index >= 0) viewer.lay({ plane: index });
  };
  const group = () => viewer.volumes[state.panel].group;
  const change = (wider, brighter) => () => {
    const [low, high] = viewer.windows[group()], width = high - low;
    viewer.setWindow(group(), [low - wider * width - brighter * width, high + wider * width - brighter * width]);
  };
  const compare = (kind) => () => viewer.lay(state.layout === "compare" && state.compare === kind ? { layout: "grid" }
    : { layout: "compare", compare: kind, second: false });
  return {
    ArrowUp: step(1), ArrowRight: step(1), ArrowDown: step(-1), ArrowLeft: step(-1), PageUp: step(10), PageDown: step(-10),
    Home: step(-100000), End: step(100000),
    "+": () => viewer.zoomAt(1.25, state.cursor, viewer.plane), "=": () => viewer.zoomAt(1.25, state.cursor, viewer.plane),
    "-": () => viewer.zoomAt(0.8, state.cursor, viewer.plane),
    "[": change(-0.05, 0), "]": change(0.05, 0), ",": change(0, -0.05), ".": change(0, 0.05),
    a: plane("axial"), c: plane("coronal"), s: plane("sagittal"), t: () => viewer.planes.length > 1 && viewer.lay({ plane: -1 }),
    b: compare("blink"), w: compare("wipe"), d: compare("side"), x: () => viewer.swap(),
    o: () => viewer.setOutline(state.outline === "off" ? viewer.outlined : "off"),
    h: () => viewer.set({ crosshair: !state.crosshair }),
    g: () => viewer.lay({ layout: "grid" }), Escape: () => viewer.lay({ layout: "grid" }), r: () => viewer.reset(),
    "?": () => { byId("help").open = !byId("help").open; },
  };
}

const SCROLLING = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End"];

/** Whether a key that scrolls a page scrolls slices: panels are in sight below the bar, and no control or text below has it. */
function scrollsSlices(target) {
  if (target.matches("input[type=range]:not(#slice)") || target.closest("main > section")) return false;
  const { top, bottom } = byId("stage").getBoundingClientRect();
  return bottom > byId("bar").getBoundingClientRect().bottom && top < window.innerHeight;
}

function bindKeys(viewer) {
  const actions = keyActions(viewer);
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches("select, input:not([type=range]):not([type=checkbox])")) return;
    if (SCROLLING.includes(event.key) && !scrollsSlices(target)) return;
    const number = Number(event.key);
    const action = number >= 1 && number <= viewer.volumes.length ? () => viewer.lay({ layout: "one", panel: number - 1 })
      : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** Brings the controls to the state. */
function showControls(viewer) {
  const { state, study } = viewer, { plane } = viewer;
  const slider = byId("slice");
  slider.max = String(study.shape[plane.normal] - 1);
  slider.value = String(state.cursor[plane.normal]);
  slider.setAttribute("aria-valuetext", `${plane.name} ${viewer.sliceName(plane)}`);
  byId("where").textContent = viewer.sliceName(plane).replace("slice ", "");
  const values = { plane: state.plane, layout: state.layout, first: state.a, second: state.b, compare: state.compare,
    wipe: Math.round(100 * state.wipe), overlay: state.overlay, opacity: Math.round(100 * state.opacity),
    outline: state.outline, tool: state.tool };
  for (const [id, value] of Object.entries(values)) if (byId(id)) byId(id).value = String(value);
  byId("crosshair").checked = state.crosshair;
  byId("comparing").hidden = state.layout !== "compare";
  byId("wiping").hidden = state.layout !== "compare" || state.compare !== "wipe";
  byId("blinking").hidden = state.layout !== "compare" || state.compare !== "blink";
  const volume = viewer.volumes[state.panel], [low, high] = viewer.windows[volume.group], span = high - low;
  for (const [id, value] of [["low", low], ["high", high]]) {
    if (document.activeElement !== byId(id)) byId(id).value = shown(value, span);
  }
  byId("windowed").textContent = volume.title;
  byId("stage").dataset.tool = state.tool;
  byId("stage").classList.toggle("overlaid", state.overlay >= 0);
  document.body.classList.toggle("working", state.layout !== "grid");
  document.body.style.setProperty("--bar", `${byId("bar").offsetHeight}px`);
}
