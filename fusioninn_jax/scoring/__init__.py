"""Scores of images, the table of them, and their statistics: the one path for evaluation, tables and reports."""
