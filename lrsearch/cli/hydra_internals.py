"""All private names of Hydra that lrsearch uses; pyproject.toml holds Hydra at a minor version.

Hydra has no public way to compose with a search path of one's own, to read its command line's
flags, or to read the files of a folder by other rules than its own.
"""

from __future__ import annotations

from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.hydra import Hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.override_parser.types import Override

__all__ = [
    "FileSource",
    "Hydra",
    "SourcesRegistry",
    "create_config_search_path",
    "get_args_parser",
    "parsed_value",
]


def parsed_value(override: Override) -> Any:
    """Return the value of an override as Hydra's grammar has it, quotes told from plain words."""
    return override._value


class FileSource(FileConfigSource):
    """A folder of configuration files for a class of one's own to read."""

    def file_name(self, config_path: str) -> str:
        """Return the name of the file, with its ending."""
        name: str = self._normalize_file_name(config_path)
        return name

    def header(self, text: str) -> dict[str, str | None]:
        """Return what the `# @key value` lines at the top of a file say."""
        header: dict[str, str | None] = self._get_header_dict(text)
        return header
