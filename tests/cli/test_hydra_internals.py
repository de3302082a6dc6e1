"""What lrsearch takes for granted of Hydra's private names: a new minor version is held to it."""

from __future__ import annotations

from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString

from lrsearch.cli.hydra_internals import (
    FileSource,
    create_config_search_path,
    get_args_parser,
    parsed_value,
)


def test_flags_are_told_from_overrides() -> None:
    flags, others = get_args_parser().parse_known_args(["--cfg", "job", "a=1", "--nonsense"])
    assert flags.cfg == "job"
    assert flags.overrides == ["a=1"]
    assert others == ["--nonsense"]
    not_given = (
        "multirun", "config_path", "config_dir", "config_name", "experimental_rerun", "hydra_help",
        "help", "shell_completion", "info", "package", "resolve",
    )  # fmt: skip
    for name in not_given:
        assert not getattr(flags, name)


def test_a_search_path_begins_with_hydras_own_and_can_be_prepended_to() -> None:
    path = create_config_search_path("file:///catalogue")
    path.prepend("command-line", "file:///mine")
    paths = [entry.path for entry in path.get_path()]
    assert paths.index("file:///mine") < paths.index("file:///catalogue")


def test_values_keep_whether_they_were_quoted() -> None:
    plain, quoted = (
        parsed_value(OverridesParser.create().parse_override(text)) for text in ("a=yes", "a='yes'")
    )
    assert plain == "yes"
    assert isinstance(quoted, QuotedString)


def test_files_have_an_ending_and_a_header(tmp_path: Path) -> None:
    source = FileSource("test", f"file://{tmp_path}")
    assert source.file_name("model/wide") == "model/wide.yaml"
    assert source.header("# @package _global_\na: 1\n") == {"package": "_global_"}
