"""The best recipe as a script of its own."""


def script_words(own_loop: bool) -> str:
    """What the script is; one for the user's own objective calls it, and imports lrsearch."""
    return "as a script" if own_loop else "in plain PyTorch"
