"""Figures: interactive ones for browsers, static ones for files, and plots in the terminal."""
