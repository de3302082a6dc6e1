"""Configuration: plain mappings in, frozen dataclasses out, every problem at once."""
