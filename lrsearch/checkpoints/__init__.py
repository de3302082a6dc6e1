"""Checkpoints of trials and weights of the best ones, on any file system that fsspec supports."""
