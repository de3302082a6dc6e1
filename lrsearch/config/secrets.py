"""Where secrets belong: in files, as Docker, Kubernetes and systemd hand them over, or in the
environment of their driver; not in a configuration, which is stored and shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lrsearch.errors import UserError
from lrsearch.text.redaction import has_credentials, learn_secrets, redacted

_AWS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_GOOGLE = "GOOGLE_APPLICATION_CREDENTIALS"
_AZURE = "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
_MLFLOW = (
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or leave logger.uri out and set "
    "MLFLOW_TRACKING_URI"
)
_VARIABLES = {
    "s3": _AWS,
    "s3a": _AWS,
    "gs": _GOOGLE,
    "gcs": _GOOGLE,
    "az": _AZURE,
    "abfs": _AZURE,
    "abfss": _AZURE,
}
"""The variables of the environment from which the driver of a protocol takes its credentials."""


def read_secret(path: str | Path, name: str) -> str:
    """Read the one line of a secret file; errors begin with `name`, the setting that names it.

    Raises UserError when it cannot be read, is empty or has several lines.
    """
    try:
        text = Path(path).expanduser().read_text()
    except OSError as error:
        raise UserError(f"{name}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{name}: {path} is not a text file") from None
    lines = text.splitlines()
    if len(lines) != 1 or not lines[0]:
        raise UserError(f"{name}: {path} must hold the password in one line, nothing else")
    learn_secrets(lines)
    return lines[0]


def check_credentials(node: Any, key: str, problems: list[str]) -> None:
    """Refuse URLs with credentials anywhere in a configuration.

    It is stored with the study, read by every worker and shown by several commands.
    """
    for name, text in _texts(node, key):
        if has_credentials(text):
            problems.append(
                f"{name}: {redacted(text)} holds credentials, which would be stored with the study "
                f"and shown; leave them out of it and set {_variables(name, text)} where the "
                f"workers run"
            )


def _variables(key: str, url: str) -> str:
    if key == "logger.uri":
        return _MLFLOW
    scheme = url.rpartition("://")[0].rpartition(":")[2].lower()
    if key == "storage.checkpoints" or scheme in _VARIABLES:
        # fsspec reads such variables for any protocol.
        own = f"FSSPEC_{scheme.upper()}"
        return _VARIABLES.get(scheme, f"{own}_USERNAME and {own}_PASSWORD")
    return "an environment variable of your own, which your code reads,"


def _texts(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """The texts of a configuration, with their dotted keys."""
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, Mapping):
        for name, value in node.items():
            yield from _texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _texts(value, f"{key}[{index}]")
