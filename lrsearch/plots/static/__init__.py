"""Curves as pictures: in the terminal, and as files."""
