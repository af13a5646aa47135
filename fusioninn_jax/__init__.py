"""FusionINN in JAX: invertible fusion of medical images, and everything the paper compares it with."""
