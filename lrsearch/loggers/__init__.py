"""Evaluations for other tools, besides the database: off by default."""
