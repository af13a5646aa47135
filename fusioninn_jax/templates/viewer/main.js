// Starts the page.

async function start() {
  const study = JSON.parse(byId("study").textContent), status = byId("status");
  if (typeof DecompressionStream === "undefined") {
    status.textContent = "This browser is too old for the page (it lacks DecompressionStream): use one from 2023 or later.";
    return;
  }
  const volumes = await readVolumes(study), viewer = new Viewer(study, volumes);
  if (study.tumour) viewer.mask = await inflate(byId("voxels-tumour").textContent);
  byId("outlining").hidden = !study.tumour;
  for (const id of ["slice", "plane"]) byId(id).parentElement.hidden = study.shape[0] === 1;
  document.body.style.setProperty("--colours", colourGradient(viewer.colours));
  const stage = byId("stage");
  stage.style.setProperty("--across", String(across(study.fused)));
  viewer.build = () => layOut(viewer, stage);
  viewer.reveal = () => reveal(viewer, stage);
  bindControls(viewer);
  const curve = Object.keys(study.scores).length ? new Curve(viewer, byId("curve")) : null;
  const details = byId("every");
  if (details) details.addEventListener("toggle", () => details.children.length < 2 && fillTable(viewer, details));
  let spoken = 0;
  viewer.onChange(() => {
    viewer.updatePanels();
    showControls(viewer);
    if (curve) curve.mark();
    clearTimeout(spoken);
    spoken = setTimeout(() => { status.textContent = situation(viewer); }, 300);
  });
  viewer.lay({});
  new ResizeObserver(() => viewer.changed()).observe(stage);
  window.viewer = viewer; // for a console, and for tests
  document.body.dataset.ready = "yes";
}

/** Panels in a row of a wide window: sources, fused and decomposed images, with the maps below; of many sources fewer. */
function across(sources) {
  return sources < 3 ? 2 * sources + 1 : sources + 1;
}

/** Scrolls to what fills the window, below the bar; in the grid to the last panel, where it is not wholly in sight. */
function reveal({ state }, stage) {
  const grid = state.layout === "grid", bar = byId("bar");
  const { top, bottom } = stage.children[grid ? state.panel : 0].getBoundingClientRect();
  if (grid && top >= bar.getBoundingClientRect().bottom && bottom <= window.innerHeight) return;
  window.scrollTo(0, window.scrollY + top - bar.offsetHeight - 8);
}

function colourGradient(colours) {
  const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((k) => `rgb(${colours.slice(3 * k, 3 * k + 3).join(" ")})`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

/** The place on the screen in words, for the line under the controls and for screen readers. */
function situation(viewer) {
  const { study, state } = viewer;
  const place = viewer.shownPlanes.map((plane) => `${plane.name} ${viewer.sliceName(plane)}`).join(", ");
  const index = study.numbers[state.cursor[0]] - study.firstScored;
  const area = study.tumour ? study.tumour.areas[index] : 0;
  return place + (study.tumour ? (area ? `; tumour ${Math.round(area)} ${study.areaUnit} in this slice` : "; no tumour in this slice") : "");
}

start().catch((error) => {
  byId("status").textContent = `The page could not be opened: ${error.message}`;
  throw error;
});
