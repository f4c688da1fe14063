"""Measurements: always two things side by side in one run, given as a ratio."""
