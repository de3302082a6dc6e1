"""The exceptions of lrsearch, and how a long reason is told in short.

LrsearchError
 ├─ OwnCodeError         the user's own code raised; exit code 1
 └─ UserError            bad input; the message says what to do; exit code 2
     └─ ConfigErrors     every problem of a configuration, together
"""


class LrsearchError(Exception):
    """Base of all errors that lrsearch raises on purpose."""


class OwnCodeError(LrsearchError):
    """The user's own code raised; the message has its traceback."""


class UserError(LrsearchError):
    """Bad input by the user; the message says what to do about it."""


class ConfigErrors(UserError):
    """Every problem found in a configuration, raised together."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def in_short(text: str) -> str:
    """The first line of a message and the last, where a traceback says what was raised."""
    lines = text.strip().splitlines()
    return " ".join([*lines[:1], *lines[1:][-1:]])
