"""Figures: for browsers, for files and for the terminal."""
