"""The entry: `run` is the default command and Hydra's; the others are Typer's."""

from __future__ import annotations

import difflib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from lrsearch import __version__
from lrsearch.errors import ConfigErrors, LrsearchError, UserError
from lrsearch.files import is_without_room
from lrsearch.text.redaction import guard_output, learn, learn_environment, redacted

_HYDRA_ONLY = ("help", "info")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    learn_environment(os.environ)
    for argument in arguments:
        learn(argument)
    # A worker's output is its log, which is worth less than its work.
    guard_output(expendable=arguments[:1] == ["worker"])
    try:
        try:
            code = _dispatch(arguments)
        except SystemExit as ended:
            # Rich and Click exit with 1 where the reader of a pipe has gone.
            if isinstance(ended.__context__, BrokenPipeError):
                raise ended.__context__ from None
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        sys.exit(code)
    except ConfigErrors as error:
        _complain(f"{len(error.problems)} problem{'s' * (len(error.problems) > 1)}:")
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
        sys.exit(2)
    except UserError as error:
        _complain(str(error))
        sys.exit(2)
    except LrsearchError as error:
        _complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _silence_output()  # the reader (`| head`) has gone
        sys.exit(0)
    except OSError as error:
        if not is_without_room(error):
            raise
        _complain(f"cannot write {error.filename or 'the output'}: {error.strerror}")
        if error.filename is None:
            _silence_output()
        sys.exit(1)
    except Exception as error:
        from lrsearch.storage.outages import Trouble, in_words, trouble

        kind = trouble(error)
        if kind is Trouble.ACCESS:
            _complain(f"storage.url: the database cannot be used: {in_words(error)}")
            sys.exit(2)
        if kind is not Trouble.PASSES:
            raise
        _complain(
            f"the database does not answer any more: {str(error).splitlines()[0]}\n"
            f"  nothing that it has is lost; the same command again goes on"
        )
        sys.exit(1)


def _silence_output() -> None:
    """Keep Python from failing to flush the closed standard output at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)


def _dispatch(arguments: list[str]) -> int:
    from lrsearch.cli.commands import COMMANDS, app
    from lrsearch.cli.completion import VARIABLE

    if VARIABLE in os.environ:  # a shell's script asks for words, and shows all that is written
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the process ends
        app([], prog_name="lrsearch")
    if arguments[:1] == ["--version"]:
        print(f"lrsearch {__version__}")
        return 0
    if arguments and arguments[0] in COMMANDS:
        app(arguments, prog_name="lrsearch")
        return 0
    if arguments[:1] == ["run"]:
        arguments = arguments[1:]
    if arguments[:1] == ["submit"]:
        return _run(arguments[1:], submit=True)
    return _run(arguments)


def _run(arguments: list[str], submit: bool = False) -> int:
    from lrsearch.cli.catalogue import find_sweeps
    from lrsearch.cli.hydra_internals import get_args_parser

    if not arguments:
        from lrsearch.cli.sweeps import list_sweeps

        list_sweeps(as_json=False)
        return 0
    if "=" not in arguments[0] and not arguments[0].startswith(("-", "~")):
        from lrsearch.cli.commands import SHOWN
        from lrsearch.text.hints import unknown

        if arguments[0] in find_sweeps():
            run_it = shlex.quote(f"+sweep={arguments[0]}")
            raise UserError(f"{arguments[0]!r} is a sweep: run it with {run_it}")
        raise UserError(f"command {unknown(arguments[0], SHOWN)}")
    parser = get_args_parser()
    parser.allow_abbrev = False
    parser.error = _refuse  # type: ignore[method-assign]
    flags, others = parser.parse_known_intermixed_args(arguments)
    if options := [word for word in others if word.startswith("-")]:
        known = [f"--{name.replace('_', '-')}" for name in vars(flags) if name != "overrides"]
        raise ConfigErrors([_not_an_option(option, arguments, known) for option in options])
    if flags.multirun:
        raise UserError(
            "--multirun is not used here: a search space says the same, and prunes: "
            "for a grid give `choices` and sampler=grid"
        )
    for name in ("config_path", "config_name", "experimental_rerun"):
        if getattr(flags, name) is not None:
            raise UserError(
                f"--{name.replace('_', '-')} is not used here: put your own sweeps in "
                f"./sweeps and your own parts in a folder given by --config-dir"
            )
    if flags.shell_completion:
        raise UserError("--shell-completion is not used here: see lrsearch completion --help")
    if flags.hydra_help:
        return _hydra(["--hydra-help"])  # it is the same for every sweep
    if any(getattr(flags, name) for name in _HYDRA_ONLY) or flags.cfg in ("hydra", "all"):
        return _hydra(_overrides_last(arguments, flags.overrides))
    if flags.cfg == "job":
        return _show_config(flags.overrides, flags.config_dir, flags.package, flags.resolve)
    return _sweep(flags.overrides, flags.config_dir, arguments, submit)


def _refuse(message: str) -> NoReturn:
    """Raise argparse's complaint about an option as ours, without its usage."""
    raise UserError(message.removeprefix("argument "))


def _overrides_last(arguments: list[str], overrides: list[str]) -> list[str]:
    """The arguments with the flags first: Hydra's own parser takes no flag between overrides."""
    flags = list(arguments)
    for override in overrides:
        flags.remove(override)
    return [*flags, *overrides]


def _not_an_option(option: str, arguments: list[str], known: list[str]) -> str:
    """The problem with an unknown option; suggests the setting or option that it is close to."""
    from lrsearch.config.load import meant_key

    name, equals, value = option.partition("=")
    if flag := difflib.get_close_matches(name, known, 1, 0.8):
        return f"{name} is not an option here; did you mean {flag[0]}?"
    is_sweep = difflib.get_close_matches(name.lstrip("-"), ["sweep"], 1, 0.8)
    key = "+sweep" if is_sweep else meant_key(name.lstrip("-").replace("-", "_"))
    if key is None:
        return f"{name} is not an option here: settings are given as key=value (study.n_trials=5)"
    follows = arguments[arguments.index(option) + 1 :][:1]
    if not equals and follows and "=" not in follows[0] and not follows[0].startswith("-"):
        value = follows[0]
    shown = shlex.quote(f"{key}={value or 'VALUE'}")
    return f"{name} is not an option here; did you mean {shown}?"


def _sweep(overrides: list[str], config_dir: str | None, arguments: list[str], submit: bool) -> int:
    from lrsearch.cli.compose import load_configuration

    configuration = load_configuration(overrides, config_dir)
    if configuration.runtime.dry_run:
        from lrsearch.cli.dry_run import dry_run

        return dry_run(configuration)
    from lrsearch.cli import run
    from lrsearch.cli.arguments import same_command

    if submit:
        return run.submit(configuration)
    return run.run(configuration, same_command(arguments, configuration.runtime.storage_url))


def _show_config(
    overrides: list[str], config_dir: str | None, package: str | None, resolve: bool
) -> int:
    from omegaconf import OmegaConf

    from lrsearch.cli.compose import compose
    from lrsearch.text.hints import unknown

    problems: list[str] = []
    config, _ = compose(overrides, config_dir, problems)
    if problems:
        raise ConfigErrors(problems)
    if package is not None:
        part = OmegaConf.select(config, package)
        if part is None:
            raise UserError(f"--package: {unknown(package, map(str, config))}")
        config = part
    print(OmegaConf.to_yaml(config, resolve=resolve) if OmegaConf.is_config(config) else config)
    return 0


_FULL_ERROR = "HYDRA_FULL_ERROR"
"""With it Hydra raises its errors; without, it prints them and exits with code 1."""


def _hydra(arguments: list[str]) -> int:
    """Let Hydra answer its own flags, such as `--help`. Raises UserError for what it refuses."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from lrsearch.cli.catalogue import conf_folder
    from lrsearch.cli.compose import CONFIG_NAME, VERSION_BASE, register_sweeps

    register_sweeps()
    sys.argv = ["lrsearch", *map(redacted, arguments)]
    before = os.environ.get(_FULL_ERROR)
    os.environ[_FULL_ERROR] = "1"
    try:
        hydra.main(
            version_base=VERSION_BASE, config_path=str(conf_folder()), config_name=CONFIG_NAME
        )(lambda config: None)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(str(error)) from error
    finally:
        del os.environ[_FULL_ERROR]
        if before is not None:
            os.environ[_FULL_ERROR] = before
    return 0
