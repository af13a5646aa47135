"""Real studies: series of any format in, fused images with their record out, and back. See docs/guide."""
