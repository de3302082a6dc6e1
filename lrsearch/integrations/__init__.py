"""The trial in the loops of frameworks: a file for each, which alone imports it.

Each needs the extra of its name: `pip install "lrsearch[transformers]"`.
"""
