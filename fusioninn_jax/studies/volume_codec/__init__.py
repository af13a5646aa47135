"""Lossless coding of volumes of integers, given others on the same grid. See docs/guide/lossless.md."""
