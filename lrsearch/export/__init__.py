"""Export of the best recipe as a script, `best.py`."""


def script_words(own_loop: bool) -> str:
    """The kind of script, for messages; `own_loop`: whether the user's own function trains.

    A script for the user's own function calls it and imports lrsearch.
    """
    return "as a script" if own_loop else "in plain PyTorch"
