"""One training: state, steps on every device (pmap, here alone), checkpoints (Orbax, here alone), validation, log."""
