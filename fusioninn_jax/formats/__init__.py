"""Files <-> series and arrays, of every format: NIfTI, DICOM, PNG, TIFF, .npy, HDF5; and what `fuse` notes in them."""
