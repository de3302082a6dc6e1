"""The exceptions of lrsearch, and the shortening of long messages.

LrsearchError
 ├─ OwnCodeError         an error of the user's own code; exit code 1
 └─ UserError            bad input; the message says what to do; exit code 2
     └─ ConfigErrors     all problems of a configuration together

TrialPruned is no error, and derives from BaseException.
"""


class LrsearchError(Exception):
    """Base of all errors that lrsearch raises on purpose."""


class OwnCodeError(LrsearchError):
    """An error of the user's own code; the message contains the traceback."""


class UserError(LrsearchError):
    """Bad input by the user; the message says what to do about it."""


class ConfigErrors(UserError):
    """All problems found in a configuration, one line each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class TrialPruned(BaseException):
    """The pruner has ended the trial: raised by `report` to leave the training.

    It derives from BaseException so that an `except Exception` of the training loop lets it pass.
    """


def in_short(text: str) -> str:
    """The first and the last line of a message; the last line of a traceback is the error."""
    lines = text.strip().splitlines()
    return " ".join([*lines[:1], *lines[1:][-1:]])
