// Planes through a volume: which voxel axis runs where on the screen, by the conventions of radiology
// (the patient's right is on the left; up is anterior in axial planes, superior in the others).

const OPPOSITE = { L: "R", R: "L", A: "P", P: "A", S: "I", I: "S" };
const CONVENTIONS = [ // the normal's letters, towards which columns and rows run
  { name: "axial", normal: "SI", columns: "L", rows: "P" },
  { name: "coronal", normal: "AP", columns: "L", rows: "I" },
  { name: "sagittal", normal: "LR", columns: "P", rows: "I" },
];

/** One plane: `normal`, `rows` and `columns` are voxel axes (0 z, 1 y, 2 x), `flip*` whether they run backwards. */
function makePlane(study, name, normal, rows, columns, wanted) {
  const axes = study.axes;
  const along = (axis, letter) => Boolean(axes) && axes[axis] !== letter;
  const plane = { name, normal, rows, columns, flipRows: wanted ? along(rows, wanted.rows) : false,
    flipColumns: wanted ? along(columns, wanted.columns) : false, height: study.shape[rows], width: study.shape[columns],
    rowSize: study.spacing[rows], columnSize: study.spacing[columns], letters: null };
  if (wanted) plane.letters = [OPPOSITE[wanted.columns], wanted.columns, OPPOSITE[wanted.rows], wanted.rows];
  return plane;
}

/** The planes of a study: one for a single image, three for a volume; the one it was acquired in first. */
function makePlanes(study) {
  const axes = study.axes;
  if (!axes) {
    const names = ["slices", "across rows", "across columns"];
    return [[0, 1, 2], [1, 0, 2], [2, 0, 1]].slice(0, study.shape[0] > 1 ? 3 : 1)
      .map(([normal, rows, columns]) => makePlane(study, names[normal], normal, rows, columns, null));
  }
  return [0, 1, 2].slice(0, study.shape[0] > 1 ? 3 : 1).map((normal) => {
    const wanted = CONVENTIONS.find((convention) => convention.normal.includes(axes[normal]));
    const is = (axis, letter) => axes[axis] === letter || axes[axis] === OPPOSITE[letter];
    const others = [0, 1, 2].filter((axis) => axis !== normal);
    const columns = others.find((axis) => is(axis, wanted.columns));
    return makePlane(study, wanted.name, normal, others.find((axis) => axis !== columns), columns, wanted);
  });
}

/** A voxel position [z, y, x] as [row, column] on the plane's screen, in voxels; centres of voxels are integers. */
function toScreen(plane, position) {
  return [plane.flipRows ? plane.height - 1 - position[plane.rows] : position[plane.rows],
    plane.flipColumns ? plane.width - 1 - position[plane.columns] : position[plane.columns]];
}

/** The voxel position that lies at [row, column] of the plane through `position`. */
function fromScreen(plane, [row, column], position) {
  const result = [...position];
  result[plane.rows] = plane.flipRows ? plane.height - 1 - row : row;
  result[plane.columns] = plane.flipColumns ? plane.width - 1 - column : column;
  return result;
}

/** Calls `visit(place, byte index, z)` for every voxel of a plane, in the order of the screen. */
function eachVoxel(plane, shape, index, visit) {
  const strides = [shape[1] * shape[2], shape[2], 1];
  const start = index * strides[plane.normal];
  for (let row = 0, place = 0; row < plane.height; row++) {
    const r = plane.flipRows ? plane.height - 1 - row : row;
    for (let column = 0; column < plane.width; column++, place++) {
      const c = plane.flipColumns ? plane.width - 1 - column : column;
      const z = plane.normal === 0 ? index : plane.rows === 0 ? r : c;
      visit(place, start + r * strides[plane.rows] + c * strides[plane.columns], z);
    }
  }
}
