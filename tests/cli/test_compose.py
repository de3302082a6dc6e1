"""From the command line to settings: Hydra's way, with every problem reported together."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path

import pytest
import yaml
from hostile_yaml import hostile_files

from lrsearch.cli.catalogue import conf_folder, find_sweeps
from lrsearch.cli.compose import load_configuration, load_settings
from lrsearch.cli.run import longer
from lrsearch.config.load import stored_settings
from lrsearch.errors import ConfigErrors
from lrsearch.launchers import LAUNCHERS
from lrsearch.models import MODELS, model_class
from lrsearch.optimizers import OPTIMIZERS
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.settings import RuntimeSettings, Settings
from lrsearch.space.domains import Choices, Fixed, FloatRange
from lrsearch.study.plan import plan_slots
from lrsearch.tuning.pruners import PRUNERS
from lrsearch.tuning.samplers import SAMPLERS

GROUPS = {
    path.name: sorted(option.stem for option in path.glob("*.yaml"))
    for path in conf_folder().iterdir()
    if path.is_dir()
}
SWEEPS = sorted(find_sweeps())


def problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigErrors) as refused:
        load_settings(overrides)
    return refused.value.problems


def runtime(*overrides: str) -> RuntimeSettings:
    return load_configuration(["+sweep=digits", *overrides]).runtime


def settings(*overrides: str) -> Settings:
    return load_settings(["+sweep=digits", *overrides])


# Everything that is shipped


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_sweep_validates_has_a_description_and_a_budget(sweep: str) -> None:
    checked = load_settings([f"+sweep={sweep}"])
    assert checked.description
    assert checked.study.name == sweep
    assert len(plan_slots(checked)) > 0


ALONE = ("sampler", "space")  # what they can do depends on the rest of the sweep


def choices() -> list[dict[str, str]]:
    """Options to choose together, so that each option of each group is in one of them."""
    alone = [{group: option} for group in ALONE for option in GROUPS[group]]
    together = {group: options for group, options in GROUPS.items() if group not in ALONE}
    return alone + [
        {group: options[k % len(options)] for group, options in sorted(together.items())}
        for k in range(max(map(len, together.values())))
    ]


@pytest.mark.parametrize(
    "sweep",
    # The others differ in little, and there are a hundred and more combinations.
    [
        one if one in ("digits", "finetune") else pytest.param(one, marks=pytest.mark.slow)
        for one in SWEEPS
    ],
)
@pytest.mark.parametrize("parts", choices(), ids=lambda parts: "-".join(parts.values()))
def test_every_sweep_composes_with_every_option_of_every_group(
    sweep: str, parts: dict[str, str]
) -> None:
    command = [f"+sweep={sweep}", "study.n_trials=3", *map("=".join, parts.items())]
    if "sampler" in parts:
        command.append("study.balance=[]")
    if "grid" in parts.values() or (sweep == "batch_size" and "space" in parts):
        # A grid needs to know how many points a range has; that it says so is right, too.
        try:
            load_settings(command)
        except ConfigErrors as error:
            assert all("a grid needs to know how many" in one for one in error.problems)  # noqa: PT017
        return
    checked = load_configuration(command)
    for group in set(parts) - {"space"}:
        part = yaml.safe_load((conf_folder() / group / f"{parts[group]}.yaml").read_text())
        section = checked.runtime if group == "launcher" else checked.settings
        assert getattr(section, group).name == part["name"]


def test_the_catalogue_and_the_code_name_the_same_parts() -> None:
    assert GROUPS["sampler"] == sorted(SAMPLERS)
    assert GROUPS["pruner"] == sorted(PRUNERS)
    models = [conf_folder() / "model" / f"{option}.yaml" for option in GROUPS["model"]]
    assert {yaml.safe_load(path.read_text())["name"] for path in models} == set(MODELS)
    assert GROUPS["launcher"] == sorted(LAUNCHERS)


def test_the_comparison_has_every_optimizer_and_the_same_number_of_trials_for_each_pair() -> None:
    checked = load_settings(["+sweep=compare"])
    assert set(checked.space.optimizer) == set(OPTIMIZERS)
    # These two need a formula or points of the user's own.
    assert set(checked.space.scheduler) == set(SCHEDULERS) - {"multiplicative", "piecewise"}
    pairs = [(p["optimizer"], p["scheduler"]) for p, _ in plan_slots(checked)]
    assert {pairs.count(pair) for pair in pairs} == {2}
    assert len(set(pairs)) == len(checked.space.optimizer) * len(checked.space.scheduler)


@pytest.mark.parametrize(
    ("given", "workers"),
    [
        ((), "auto"),
        (("workers=3",), 3),
        (("launcher.workers=3",), 3),
        (("workers=3", "launcher.workers=3"), 3),
        (("workers=3", "launcher.workers=auto"), 3),
    ],
)
def test_the_number_of_workers_may_stand_with_the_launcher(
    given: tuple[str, ...], workers: int | str
) -> None:
    assert runtime(*given).workers == workers


def test_two_numbers_of_workers_that_differ_are_refused() -> None:
    (problem,) = problems("+sweep=digits", "workers=3", "launcher.workers=4")
    assert problem.startswith("launcher.workers: 4, and workers is 3")


def test_bad_parameters_of_a_launcher_are_refused() -> None:
    assert problems("+sweep=digits", "launcher.per_gpu=0", "launcher.workers=x") == [
        "launcher.per_gpu: 0 is out of range: it must be at least 1",
        "launcher.workers: 'x' is not `auto` or a number from 1",
    ]


@pytest.mark.parametrize("name", list(MODELS))
def test_the_arguments_of_a_model_are_known_without_importing_it(name: str) -> None:
    given = {"input_shape", "n_outputs"}
    signature = inspect.signature(model_class(ComponentConfig(name)))
    defaults = {key: one.default for key, one in signature.parameters.items() if key not in given}
    assert {key: one.default for key, one in MODELS[name].parameters.items()} == defaults


# The command line


def test_public_names_keep_their_meaning() -> None:
    made = load_configuration([
        "+sweep=digits", "study.n_trials=50", "study.name=try2", "study.timeout=60", "study.seed=3",
        "train.epochs=2", "workers=4", "storage.url=sqlite:///x.db", "data.root=/tmp/raw",
        "sampler=random", "pruner=asha",
    ])  # fmt: skip
    assert (made.runtime.workers, made.runtime.storage_url) == (4, "sqlite:///x.db")
    checked = made.settings
    assert (checked.study.n_trials, checked.study.name) == (50, "try2")
    assert (checked.study.timeout, checked.study.seed, checked.train.epochs) == (60, 3, 2)
    assert checked.data.root == Path("/tmp/raw")
    assert (checked.sampler.name, checked.pruner.name) == ("random", "asha")


def test_the_environment_sets_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRSEARCH_STORAGE", "sqlite:///env.db")
    monkeypatch.setenv("LRSEARCH_DATA", "/env/data")
    assert runtime().storage_url == "sqlite:///env.db"
    assert settings().data.root == Path("/env/data")


def test_the_command_line_beats_the_sweep_and_the_sweep_beats_the_catalogue() -> None:
    assert settings().study.n_trials == 20
    assert settings("study.n_trials=7").study.n_trials == 7


def test_the_command_line_widens_fixes_and_replaces_without_repeating() -> None:
    lr = settings("space.lr.high=0.5").space.shared["lr"]
    assert lr == FloatRange(0.001, 0.5, log=True)
    assert settings("space.lr.value=0.1").space.shared["lr"] == Fixed(0.1)
    assert settings("space.lr=0.1").space.shared["lr"] == Fixed(0.1)
    assert settings("space.lr.choices=[0.1,0.2]").space.shared["lr"] == Choices((0.1, 0.2))
    assert list(settings("space.scheduler.only=[cosine,step]").space.scheduler) == [
        "cosine",
        "step",
    ]


def test_a_range_on_the_command_line_replaces_a_value_of_the_sweep() -> None:
    checked = load_settings(["+sweep=linear", "space.warmup.low=0.1", "space.warmup.high=0.2"])
    assert checked.space.shared["warmup"] == FloatRange(0.1, 0.2)


def test_a_model_argument_becomes_tunable_with_one_override() -> None:
    checked = settings("+space.model.dropout={low:0.0,high:0.5}")
    assert checked.space.shared["model.dropout"] == FloatRange(0.0, 0.5)


# A sweep of one's own


def test_a_sweep_in_the_working_directory_is_found_and_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweeps").mkdir()
    own = "description: mine\ndefaults: [{override /data: digits}]\nstudy: {n_trials: 4}\n"
    (tmp_path / "sweeps" / "mnist.yaml").write_text(own)
    (tmp_path / "sweeps" / "fresh.yaml").write_text(own)
    monkeypatch.chdir(tmp_path)
    for name in ("mnist", "fresh"):
        checked = load_settings([f"+sweep={name}"])
        assert (checked.description, checked.study.n_trials) == ("mine", 4)
        assert checked.data.name == "digits"


def test_a_folder_of_parts_of_ones_own_is_added_by_config_dir(tmp_path: Path) -> None:
    (tmp_path / "pruner").mkdir()
    (tmp_path / "pruner" / "late.yaml").write_text("name: median\nn_warmup_steps: 7\n")
    checked = load_settings(["+sweep=digits", "pruner=late"], str(tmp_path))
    assert dict(checked.pruner.arguments) == {"n_warmup_steps": 7}


NAMES = ["123", "größe", "2024_01_05", "3.10", "true", "1e3", "with space", "a.b", "it's", "a,b"]


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_and_a_study_of_any_name_can_be_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweeps").mkdir()
    text = "description: 2024_01\ndefaults: [{override /data: digits}, {override /model: 7}]\n"
    (tmp_path / "sweeps" / f"{name}.yaml").write_text(text)
    (tmp_path / "parts" / "model").mkdir(parents=True)
    (tmp_path / "parts" / "model" / "7.yaml").write_text("name: mlp\ndropout: 1e-1\n")
    monkeypatch.chdir(tmp_path)
    checked = load_settings([f"+sweep={name}"], str(tmp_path / "parts"))
    assert (checked.sweep, checked.study.name, checked.description) == (name, name, "2024_01")
    assert dict(checked.model.arguments) == {"dropout": 0.1}
    assert settings(f"study.name={name}").study.name == name


def test_the_name_of_a_study_in_a_file_is_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweeps").mkdir()
    text = "defaults: [{override /data: digits}]\nstudy: {name: 3.10, seed: 1_0}\n"
    (tmp_path / "sweeps" / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    study = load_settings(["+sweep=mine"]).study
    assert (study.name, study.seed) == ("3.10", 10)
    assert load_settings(["+sweep=mine", "study.name=null"]).study.name == "mine"


def test_values_mean_the_same_in_a_sweep_and_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"train.compile": "yes", "study.timeout": "1_000", "space.weight_decay": "1e-3"}
    (tmp_path / "sweeps").mkdir()
    lines = [f"{key.replace('.', ': {')}: {value}}}" for key, value in values.items()]
    head = "defaults: [{override /data: digits}]\n"
    (tmp_path / "sweeps" / "mine.yaml").write_text(head + "\n".join(lines))
    (tmp_path / "sweeps" / "none.yaml").write_text(head)
    monkeypatch.chdir(tmp_path)
    filed = load_settings(["+sweep=mine"])
    typed = load_settings(["+sweep=none", *map("=".join, values.items())])
    assert filed.train.compile is True
    assert (filed.study.timeout, filed.train) == (typed.study.timeout, typed.train)
    assert filed.space == typed.space


def test_no_file_beside_a_sweep_keeps_it_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweeps").mkdir()
    said = hostile_files(tmp_path / "sweeps")
    monkeypatch.chdir(tmp_path)
    assert load_settings(["+sweep=digits"]).sweep == "digits"
    found = find_sweeps()
    for name, reason in said.items():
        assert reason in (found[name].problem or "")
        assert problems(f"+sweep={name}") == [found[name].problem]


def test_a_part_that_cannot_be_read_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "broken.yaml").write_text("name: mlp\nname: cnn\n")
    with pytest.raises(ConfigErrors, match=r"model/broken.yaml:2: the key name is given twice"):
        load_settings(["+sweep=digits", "model=broken"], str(tmp_path))


# Errors


def test_all_problems_are_reported_at_once_each_with_key_value_and_hint() -> None:
    found = problems(
        "+sweep=digits", "study.n_trails=3", "study.timeout=-1", "space.lr.hihg=3", "workers=0",
        "data.rot=a", "train.epochs=abc", "metric.mode=mni", "storage.url=foo", "dry_run=maybe",
        "train.eval_every=30", "train.device=gpu", "sampler.n_startup=3", "metric.name=val_los",
        "train.metrics=[acuracy]", "modl.name=mlp",
    )  # fmt: skip
    text = "\n".join(found)
    for said in (
        "did you mean n_trials?", "study.timeout: -1", "did you mean high?", "workers: 0",
        "did you mean root?", "train.epochs: 'abc'", "did you mean min?", "storage.url is not",
        "dry_run: 'maybe'", "did you mean 30ep", "train.device: 'gpu'",
        "did you mean n_startup_trials?", "did you mean accuracy?", "did you mean model?",
    ):  # fmt: skip
        assert said in text
    assert len(found) >= 14


def test_unknown_parts_and_sweeps_are_named_with_the_valid_ones() -> None:
    text = "\n".join(problems("+sweep=mnits", "data=minst", "sampler=tpee"))
    for said in ("did you mean mnist?", "data: 'minst'", "did you mean tpe?"):
        assert said in text


def test_the_metric_the_length_and_the_space_are_checked_together() -> None:
    wrong = ("metric.name=zz", "train.epochs=0", "space.lr.low=-1")
    for given in itertools.combinations(wrong, 2):
        found = problems("+sweep=digits", *given)
        assert len(found) == 2
        for key in given:
            assert any(line.startswith(key.partition("=")[0]) for line in found)
    found = problems("+sweep=digits", "train.eval_every=0", "space.warmup=20ep", "metric.name=zz")
    assert [line.partition(":")[0] for line in found] == [
        "train.eval_every", "metric.name", "space.warmup",
    ]  # fmt: skip


def test_unknown_parts_and_bad_values_are_reported_together() -> None:
    text = "\n".join(problems("+sweep=digits", "sampler=tpee", "workers=0", "n_trials=5"))
    for said in ("did you mean tpe?", "workers: 0", "did you mean study.n_trials?"):
        assert said in text


def test_a_url_needs_no_quotes() -> None:
    url = "postgresql+psycopg://me:p@host/db?application_name=x&sslmode=require"
    assert runtime(f"storage.url={url}").storage_url == url


def test_a_postgresql_url_gets_the_driver_that_is_installed() -> None:
    url = runtime("storage.url=postgresql://me@host/db").storage_url
    assert url == "postgresql+psycopg://me@host/db"


def test_without_a_sweep_the_sweeps_are_listed() -> None:
    assert "digits" in problems("study.n_trials=3")[0]


def test_a_key_added_with_plus_is_checked_like_any_other() -> None:
    assert "did you mean n_trials?" in problems("+sweep=digits", "+study.n_trails=3")[0]


def test_a_multirun_value_is_refused_with_the_reason() -> None:
    assert "a search space says the same" in problems("+sweep=digits", "train.epochs=1,2")[0]


def test_a_broken_interpolation_is_a_problem_not_a_traceback() -> None:
    assert "nowhere" in problems("+sweep=digits", "study.name=${nowhere}")[0]


def test_a_setting_tried_first_outside_the_space_is_a_problem() -> None:
    found = problems("+sweep=digits", "study.try_first=[{lr: 7.0}]")
    assert found == ["study.try_first[0]: lr: 7.0 is outside 0.001 to 1"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a/b", "a slash"), ("a\\b", "a slash"), ("lr=0.1", "a `=`"), ("-x", "begins with -"),
        ("+a", "begins with +"), ("", "is empty"), ("   ", "is empty"), (" a", "with a space"),
        ("a\nb", "cannot be printed"), ("a\x1b[31m", "cannot be printed"), ("..", "is a folder"),
        ("best.yaml", "ends like a file"), ("x" * 201, "more than 200 bytes"),
        ("ö" * 101, "more than 200 bytes"),
    ],
)  # fmt: skip
def test_a_study_name_that_commands_cannot_name_is_a_problem(name: str, said: str) -> None:
    (problem,) = problems("+sweep=digits", f"study.name={name}")
    assert problem.startswith("study.name: ")
    assert said in problem


def test_the_name_of_a_stored_study_is_taken_as_it_is() -> None:
    plain = settings().plain
    assert stored_settings(plain, study={"name": "lr=0.1"}).study.name == "lr=0.1"


# One length


def test_a_length_given_twice_in_one_place_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = problems("+sweep=digits", "train.epochs=10", "train.steps=100")
    assert problem.startswith("train: both epochs=10 and steps=100 are given on the command line")
    (tmp_path / "sweeps").mkdir()
    text = "defaults: [{override /data: digits}]\ntrain: {epochs: 1, steps: 2}\n"
    (tmp_path / "sweeps" / "both.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert "are given in sweeps/both.yaml" in problems("+sweep=both")[0]
    assert settings("train.epochs=5", "train.steps=null").train.epochs == 5


def test_otherwise_the_more_specific_length_wins_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweeps").mkdir()
    text = "defaults: [{override /data: digits}]\ntrain: {steps: 200}\n"
    (tmp_path / "sweeps" / "steps.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    by_steps = load_settings(["+sweep=steps"])
    assert (by_steps.train.steps, by_steps.notes) == (200, ())  # against a default nothing is said
    by_epochs = load_settings(["+sweep=steps", "train.epochs=3"])
    assert (by_epochs.train.epochs, by_epochs.train.steps) == (3, None)
    assert by_epochs.plain["train"]["steps"] is None
    assert by_epochs.notes == (
        "train.epochs=3 (on the command line) wins over train.steps=200 (in sweeps/steps.yaml)",
    )
    (note,) = settings("train.steps=7").notes
    assert note.startswith("train.steps=7 (on the command line) wins over train.epochs=15")


def test_a_problem_of_one_part_does_not_hide_those_of_another() -> None:
    found = problems("+sweep=digits", "metric.name=zz", "train.epochs=0", "study.n_trials=0",
                     "study.try_first=[{lr: 7.0}]", "train.device=gpu")  # fmt: skip
    assert [line.partition(":")[0] for line in found] == [
        "train.device", "train.epochs", "study.n_trials", "metric.name", "study.try_first[0]"
    ]  # fmt: skip
    broken = problems("+sweep=digits", "metric.name=val_f1", "train.metrics=[f1]")
    assert not any(line.startswith("metric.name") for line in broken)


@pytest.mark.parametrize("nothing", ["null", "''", "' '"])
def test_an_output_folder_must_be_one(nothing: str) -> None:
    (problem,) = problems("+sweep=digits", f"output_dir={nothing}")
    assert problem.startswith("output_dir: ")
    assert "is not a folder" in problem
    assert runtime("output_dir=2026").output_dir == "2026"


# Passwords


def test_what_is_stored_of_the_configuration_has_no_url() -> None:
    checked = settings("storage.url=postgresql://me:secret@host/db")
    assert "secret" not in repr(checked.plain)


def test_a_bad_url_is_refused_without_repeating_it() -> None:
    found = problems("+sweep=digits", "storage.url=nosql://me:secret@host/db")
    assert "secret" not in "".join(found)


@pytest.mark.parametrize(
    ("overrides", "variables"),
    [
        (("storage.checkpoints=s3://KEY:secret@bucket/x",), "AWS_SECRET_ACCESS_KEY"),
        (("storage.checkpoints=abfs://me:secret@box/x",), "AZURE_STORAGE_ACCOUNT_KEY"),
        (("storage.checkpoints=sftp://me:secret@host/x",), "FSSPEC_SFTP_PASSWORD"),
        (("logger=mlflow", "logger.uri=https://me:secret@host"), "MLFLOW_TRACKING_PASSWORD"),
        (("logger=mlflow", "logger.uri=https://secret@host"), "MLFLOW_TRACKING_PASSWORD"),
        (("data.root=s3://KEY:secret@bucket/x",), "AWS_SECRET_ACCESS_KEY"),
        (("+data.source='${storage.url}'", "storage.url=postgresql://me:secret@h/d"), "your own"),
        (("study.try_first=[{lr: 0.1, a: 'https://x/?token=secret'}]",), "your own"),
    ],
)
def test_credentials_in_what_is_stored_are_refused(
    overrides: tuple[str, ...], variables: str
) -> None:
    said = [one for one in problems("+sweep=digits", *overrides) if "credentials" in one]
    assert len(said) == 1
    assert variables in said[0]
    assert "secret" not in said[0]


def test_the_best_are_confirmed_where_that_is_asked_for() -> None:
    assert settings().confirm is None
    one = settings("confirm.top=2").confirm
    assert one is not None
    assert (one.top, one.seeds) == (2, 5)
    shipped = load_settings(["+sweep=mnist"]).confirm
    assert shipped is not None
    assert (shipped.top, shipped.seeds) == (3, 3)
    assert load_settings(["+sweep=mnist", "confirm=null"]).confirm is None


def test_a_wrong_confirmation_or_balance_is_a_problem_by_its_key() -> None:
    found = problems("+sweep=digits", "confirm.seeds=1", "confirm.tops=3", "study.balance=familys")
    assert any(line.startswith("confirm.seeds: 1 is not valid") for line in found)
    assert any("confirm.tops: 'tops' is unknown; did you mean top?" in line for line in found)
    assert any("'familys' is unknown; did you mean families?" in line for line in found)
    assert len(found) == 3
    assert problems("+sweep=digits", "confirm=3") == [
        "confirm: 3 is not a mapping: write confirm.top=3 or confirm=null"
    ]
    assert problems("+sweep=digits", "confirm.top=true", "confirm.seeds=2.0") == [
        "confirm.top: true is not a number",
        "confirm.seeds: 2.0 is not a whole number",
    ]


NUMBERS = {
    "study": (
        "n_trials", "timeout", "seed", "warm_start_trials",
        "priority", "share", "max_running", "needs.gpu_memory",
    ),
    "train": ("epochs", "threads", "checkpoint_every", "keep_best"),
    "data": ("validation", "split_seed", "crop"),
    "queue": ("lease", "max_attempts", "stall_timeout", "patience"),
    "coupling": ("reference",),
    "confirm": ("top", "seeds"),
}  # fmt: skip


@pytest.mark.parametrize("section", NUMBERS)
def test_text_is_no_number(section: str) -> None:
    keys = [f"{section}.{key}" for key in NUMBERS[section]]
    for text in ("2", "1e1", "many"):
        found = problems("+sweep=digits", *(f"++{key}='{text}'" for key in keys))
        assert {f"{key}: {text!r} is not a number" for key in keys} <= set(found)


def test_text_is_no_number_of_steps() -> None:
    assert problems("+sweep=digits", "train.steps='2'") == ["train.steps: '2' is not a number"]


def test_families_cannot_share_a_grid() -> None:
    found = problems("+sweep=digits", "sampler=grid", "study.balance=families")
    assert any(line.startswith("study.balance: a grid has every combination") for line in found)


@pytest.mark.parametrize("name", ["bayes", "bayesian", "bo"])
def test_a_bayesian_sampler_is_the_default_one(name: str) -> None:
    assert "did you mean auto?" in "".join(problems("+sweep=digits", f"sampler={name}"))


def test_a_word_for_a_learning_rate_is_answered_with_auto_and_a_range() -> None:
    (problem,) = problems("+sweep=digits", "space.lr=automatic")
    assert "'automatic' is not a number, a range such as {low: 1e-4" in problem
    assert "or auto:" in problem


def test_families_may_stand_in_brackets() -> None:
    checked = settings("study.balance=[families]")
    assert checked.study.balance == checked.plain["study"]["balance"] == "families"


@pytest.mark.parametrize(("spent", "total"), [(6.5, 12), (40.2, 82)])
def test_after_a_timeout_more_time_is_advised(spent: float, total: int) -> None:
    advised = longer("python -m lrsearch +sweep=digits study.timeout=6 'a=b c'", 6.0, spent)
    assert advised == f"python -m lrsearch +sweep=digits 'a=b c' study.timeout={total}"


def test_rules_of_parameter_groups_are_settings_and_go_into_every_recipe() -> None:
    found = settings(
        'train.groups=[no_decay,{name: top, match: "^head", lr_factor: 2}]',
        "space.groups.top.lr_factor={low: 1, high: 8, log: true}",
        'train.freeze="^body\\.1"',
    )
    assert [rule.name for rule in found.train.groups] == ["no_decay", "top"]
    recipe = found.space.recipe(lambda name, domain: domain.ends()[-1])
    assert recipe.groups[1].arguments["lr_factor"] == 8.0
    assert recipe.freeze == r"^body\.1"
    again = stored_settings(found.plain)
    assert (again.train.groups, again.space) == (found.train.groups, found.space)


def test_wrong_rules_are_problems_with_all_others() -> None:
    found = "\n".join(
        problems(
            "+sweep=digits", "train.groups=[haed,{name: a, match: x, weight_decay: -1}]",
            "train.freeze=[x]", "train.epochs=0", "space.groups.head.lr_factor=2",
        )
    )  # fmt: skip
    for said in ("did you mean head?", "train.groups.a.weight_decay: -1", "train.freeze: ['x']",
                 "train.epochs: 0", "space.groups.head"):  # fmt: skip
        assert said in found
