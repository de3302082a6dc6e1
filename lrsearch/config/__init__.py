"""The border: plain configuration in, frozen dataclasses out, every problem at once."""
