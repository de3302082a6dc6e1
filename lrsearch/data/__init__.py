"""Data: read once into plain tensors, which all workers map."""
