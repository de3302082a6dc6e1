"""lrsearch finds the learning-rate recipe of a PyTorch model."""

__version__ = "0.2.0"
