"""The command line: Hydra for `run`, Typer for the other commands."""
