"""A config source for Hydra: parts (`model/wide.yaml`) are read like all our files."""

from __future__ import annotations

from pathlib import Path

from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from lrsearch.cli.hydra_internals import FileSource, SourcesRegistry
from lrsearch.config.words import WORDS
from lrsearch.text.yaml import read_file


class PartFiles(FileSource):
    """A folder of parts, with a folder for each group."""

    @staticmethod
    def scheme() -> str:
        """The scheme of the search paths that this source reads."""
        return "parts"

    def load_config(self, config_path: str) -> ConfigResult:
        """Read one part. Raises YamlError and OmegaConfBaseException."""
        file = Path(self.path) / self.file_name(config_path)
        group = config_path.rpartition("/")[0].replace("/", ".")
        prefix = f"{group}." if group else ""
        words = [key.removeprefix(prefix) for key in WORDS if key.startswith(prefix)]
        content = read_file(file, [*words, "defaults[].*"])
        with file.open(encoding="utf-8") as text:
            header = self.header(text.read(512))
        return ConfigResult(self.provider, self.full_path(), OmegaConf.create(content), header)


def search_path(folder: Path) -> str:
    """A folder of parts as an entry of Hydra's search path."""
    SourcesRegistry.instance().register(PartFiles)
    return f"{PartFiles.scheme()}://{folder}"
