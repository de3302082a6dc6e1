"""Data sets: read once into a cache file of plain tensors, which all workers map into memory."""
