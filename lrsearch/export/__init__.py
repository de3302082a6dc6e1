"""The best recipe as a script in plain PyTorch."""
