"""Redaction: the rules by which secrets are recognised and replaced by `***`.

Secrets are recognised in two ways. By their form: the password of a URL
(`scheme://user:password@host`), the value of a secret option (`?sslpassword=...`). By their value:
`learn` remembers the secrets of the command line, of the environment and of password files, and
from then on each is replaced wherever it appears, raw, percent-encoded or escaped as `repr`, JSON,
HTML and a shell escape it. A password that is too short to be recognised by itself is recognised
together with the user's name before it.

`guard_output` applies `redacted` to the standard output and the standard error of the process,
through which all prints, logs, warnings and tracebacks go.
"""

from __future__ import annotations

import html
import json
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TextIO
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
_SHORTEST = 6
"""Length in characters from which on secrets are recognised by value: shorter ones would be found
in unrelated words and numbers. These are replaced in URLs only, where the text around them is
recognised with them."""

_WORD = re.compile(r"[^\s'\"<>]+")
_USER = r"(\w://)([^:/\s'\"]*)"
# A password may itself hold @, : or /, so it reaches to the last @ of the word.
_PASSWORD = re.compile(_USER + r":([^\s'\"<>]*)@")
# In an argument a word does not end at a space or a quotation mark. `http://host:8080/path` has no
# password, whatever follows.
_PASSWORD_OF_ARGUMENT = re.compile(_USER + r":(?!\d+(?:[/\s'\"]|$))(.*)@", re.DOTALL)
# A whole value `user:password@host`: a URL without its scheme, or without a slash of it.
_BARE = re.compile(r"(?:^|=)['\"]?(?:[\w+]+:/?)?[^:/@\s=]+:(.+)@\w", re.DOTALL)
# A single word before the @ is a token in a web address, and the user in the URL of a database.
_TOKEN = re.compile(r"(https?://)([^\s/:@'\"<>]+)@", re.IGNORECASE)
_QUERY = re.compile(r"\w://[^\s'\"<>?]*\?[^\s'\"<>]*")
_OPTION = re.compile(r"([?&;])([\w.%-]+)=([^&;#\s'\"<>]*)")
# Options of a URL whose value is a secret, or may hold one.
_SECRET_OPTION = re.compile(
    r"passw|pwd|secret|token|signature|credential|(api|access|account)_?key"
    r"|^(pass|sig|key|auth|options|odbc_connect)$",
    re.IGNORECASE,
)
# `password=...` outside a URL, as in libpq's connection strings.
_PAIR = re.compile(
    r"(?<![\w.])((?:ssl)?passw(?:or)?d|pwd)(\s*=\s*)([^\s'\",;&)}\]]+)", re.IGNORECASE
)
_VARIABLES = (
    "LRSEARCH_DASHBOARD_PASSWORD",
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "FSSPEC_SFTP_PASSWORD",
    "FSSPEC_SSH_PASSWORD",
)
"""Variables of the environment whose whole value is a secret."""

_URL_VARIABLES = ("mlflow_tracking_uri", "http_proxy", "https_proxy", "all_proxy")
"""Variables of the environment, in lower case, whose value is a URL that may hold a secret."""

_secrets: dict[str, str] = {}
"""Every form of every known secret, with the text that replaces it."""
_known: re.Pattern[str] | None = None


def redacted(text: str) -> str:
    """The text with `***` in place of every secret in it."""
    # By value first: a part of a secret that is replaced by its form would hide the rest of it.
    if _known is not None:
        text = _known.sub(lambda found: _secrets[found[0]], text)
    if "://" in text:
        text = _WORD.sub(lambda word: _redacted_word(word[0]), text)
    # A quick search first, because the text may be a whole page of a report.
    if "=" in text and ("passw" in (lower := text.lower()) or "pwd" in lower):
        text = _PAIR.sub(rf"\1\2{MASK}", text)
    return text


def _redacted_word(word: str) -> str:
    """Redact a word without spaces and quotation marks, which may be a URL.

    The patterns are tried only if a match can begin at the first `://`, which then extends over the
    rest of the word. Trying them at every `://` would take quadratic time in a long word.
    """
    start = word.find("://")
    if start < 0:
        return word
    if "@" in word[start:]:
        word = _PASSWORD.sub(rf"\1\2:{MASK}@", word)
        word = _TOKEN.sub(rf"\1{MASK}@", word)
    if "?" in word[start:]:
        word = _QUERY.sub(lambda query: _OPTION.sub(_masked_option, query[0]), word)
    return word


def has_credentials(text: str) -> bool:
    """Whether a text holds a URL with a password, a token or a secret option."""
    if "@" in text and _PASSWORD_OF_ARGUMENT.search(text):
        return True
    words = [word for word in _WORD.findall(text) if "://" in word]
    return any(
        ("@" in word and (_PASSWORD.search(word) or _TOKEN.search(word)))
        or any(_secret_options(word))
        for word in words
    )


def is_secret_option(name: str) -> bool:
    """Whether an option of a URL, after its `?`, has a secret as its value, or may hold one."""
    return _SECRET_OPTION.search(unquote(name)) is not None


def _secret_options(text: str) -> Iterator[str]:
    """The values of the secret options in the URLs of a text."""
    for query in _QUERY.finditer(text):
        for match in _OPTION.finditer(query[0]):
            if match[3] and is_secret_option(match[2]):
                yield match[3]


def _masked_option(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}={MASK if is_secret_option(match[2]) else match[3]}"


def learn(text: str) -> None:
    """Remember the secrets of an argument, a URL or a connection string."""
    secrets: list[str] = []
    names: set[str] = set()
    for pattern in (_PASSWORD, _PASSWORD_OF_ARGUMENT):
        for match in pattern.finditer(text):
            # Other programs end the password at its first @, / or ?, and may print any part.
            secrets += [match[3], *match[3].split("@"), *re.split("[@:/?#]", match[3])]
            names |= {match[2], *re.split(r"[:/?]", text[match.end() :])}
            # With the user's name before it a short password is recognised, too.
            begin = f"{match[1]}{match[2]}:"
            _remember(f"{begin}{match[3]}@", f"{begin}{MASK}@")
    if "://" not in text:
        secrets += [match[1] for match in _BARE.finditer(text)]
    secrets += [match[2] for match in _TOKEN.finditer(text)]
    secrets += _secret_options(text)
    secrets += [match[3] for match in _PAIR.finditer(text)]
    # A password that is also the name of the user, host or database is not replaced by value.
    learn_secrets(secret for secret in secrets if unquote(secret) not in names)


def learn_secrets(secrets: Iterable[str]) -> None:
    """Remember texts, each of which is a secret as a whole."""
    for secret in secrets:
        if _is_distinct(secret):
            _remember(secret, MASK)


def _remember(text: str, shown: str) -> None:
    """Remember a text in all its forms, in whose place `shown` is shown."""
    global _known
    forms = {form: shown for form in _forms(text) if form not in _secrets and form != shown}
    if forms:
        _secrets.update(forms)
        _known = re.compile("|".join(map(_bounded, sorted(_secrets, key=len, reverse=True))))


def learn_environment(environment: Mapping[str, str]) -> None:
    """Remember the secrets in environment variables of lrsearch, drivers and file systems."""
    for name, value in environment.items():
        if name.startswith("LRSEARCH_") or name.lower() in _URL_VARIABLES:
            learn(value)
    learn_secrets(environment[name] for name in _VARIABLES if name in environment)


def forget() -> None:
    """Forget all secrets, as a new process would."""
    global _known
    _secrets.clear()
    _known = None


def _is_distinct(secret: str) -> bool:
    """Whether a secret can be recognised by value: it is not short, a number or masked already."""
    return len(secret) >= _SHORTEST and not secret.isdigit() and set(secret) != {"*"}


def _forms(secret: str) -> set[str]:
    """The ways to write a secret: raw, percent-encoded, or escaped in quotation marks."""
    raw = unquote(secret)
    # Bytes of an argument that are not UTF-8 are lone surrogates in Python.
    ways = [partial(quote, safe=safe) for safe in ("", "/", " +")] + [quote_plus]
    encoded = {way(form, errors="surrogatepass") for way in ways for form in (raw, secret)}
    plain = {secret, raw, *encoded}
    escaped = {
        *(repr(form)[1:-1] for form in plain),
        *(json.dumps(form)[1:-1] for form in plain),
        *(html.escape(form) for form in plain),
        *(form.replace("'", "\\'") for form in plain),
        *(shlex.quote(f" {form}")[2:-1] for form in plain),
    }
    return {form for form in plain | escaped if len(form) >= _SHORTEST}


def _bounded(secret: str) -> str:
    """A pattern for a secret that is not part of a longer word."""
    before = r"(?<!\w)" if re.match(r"\w", secret) else ""
    after = r"(?!\w)" if re.match(r"\w", secret[-1]) else ""
    return before + re.escape(secret) + after


# Output


class GuardedOutput:
    """A text stream that redacts what is written to it; other attributes are those of the stream.

    An `expendable` stream, such as a worker's log, drops text that cannot be written, so that the
    work goes on if its disk is full. Otherwise writing raises OSError.
    """

    def __init__(self, stream: TextIO, expendable: bool = False) -> None:
        self._stream, self._expendable = stream, expendable

    def write(self, text: str) -> int:
        try:
            self._stream.write(redacted(text))
        except OSError as error:
            self._lost(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lost(error)

    def close(self) -> None:
        """Flush, but do not close: other code still writes to the standard output."""
        self.flush()

    def reopen(self, stream: TextIO) -> None:
        """Write to another stream from now on."""
        self._stream = stream

    def _lost(self, error: OSError) -> None:
        """Raise an error of writing, unless the stream is expendable."""
        if not self._expendable or isinstance(error, BrokenPipeError):
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_output(expendable: bool = False) -> None:
    """Redact all text on the standard output and error, for the rest of the process."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            continue
        if isinstance(stream, GuardedOutput):
            stream = stream._stream
        setattr(sys, name, GuardedOutput(stream, expendable))
