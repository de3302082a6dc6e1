"""A script as an objective: its reports, what ends it, and that none of its processes is left."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from taken import Taken

from lrsearch.checkpoints.store import NoCheckpoints
from lrsearch.cli.compose import load_settings
from lrsearch.errors import TrialPruned, UserError
from lrsearch.objectives import command, script_log
from lrsearch.objectives.base import TrainingEnded
from lrsearch.objectives.command import CommandObjective
from lrsearch.recipe import Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.settings import ConfirmSettings, Settings
from lrsearch.states import Outcome
from lrsearch.text.formatting import failure_cause
from lrsearch.text.redaction import forget, learn_secrets
from lrsearch.training.loop import Diverged, Stopped

RECIPE = Recipe(
    0.1,
    32,
    ComponentConfig("sgd", {"momentum": 0.9}),
    ComponentConfig("cosine"),
    model={"width": 8},
)


Run = Callable[..., Taken]


@pytest.fixture(scope="module")
def digits() -> Settings:
    """Settings whose objective a test replaces."""
    return load_settings(["+sweep=digits", "train.device=cpu"])


@pytest.fixture
def run(own_folder: Path, digits: Settings) -> Iterator[Run]:
    """Runs the lines of a shell script as the trial 3, and checks that no process of it is left."""
    mark = f"{own_folder}/marked"

    def run_script(
        script: str,
        *arguments: str,
        taken: Taken | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        stall_timeout: float | None = None,
        seed: int = 7,
        strict_lr: bool = False,
        others: Mapping[str, Any] | None = None,
        **objective: Any,
    ) -> Taken:
        (own_folder / "script.sh").write_text(f"{script}\n")
        words = ["/bin/bash", "script.sh", *arguments]
        config = ComponentConfig("command", {"command": words, "grace": 0.2, **objective})
        queue = dataclasses.replace(digits.queue, stall_timeout=stall_timeout)
        settings = dataclasses.replace(digits, objective=config, queue=queue, strict_lr=strict_lr)
        settings = dataclasses.replace(settings, **(others or {}))
        taken = Taken() if taken is None else taken
        built = CommandObjective(settings, torch.device("cpu"), own_folder / "logs")
        os.environ["MARK"] = mark
        try:
            built.run(RECIPE, seed, taken, should_stop, NoCheckpoints())
        finally:
            del os.environ["MARK"]
        return taken

    yield run_script
    left = [
        process for process in psutil.process_iter() if _environment(process).get("MARK") == mark
    ]
    assert left == []


def _environment(process: psutil.Process) -> Mapping[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def log_of(folder: Path) -> str:
    """What the script of the trial 3 has printed."""
    return (folder / "logs" / "trial-3.log").read_text()


# Reports


def test_a_script_reports_by_lines_that_it_prints(run: Run, own_folder: Path) -> None:
    taken = run(
        """
        echo begins
        printf '{"lrsearch": {"epoch": 1, "val_loss": 0.5, "lr": 0.1, "step": 10}}\n'
        printf '[rank0]: {"lrsearch": {"epoch": 2, "val_loss": 0.25, "accuracy": 0.75}}\n'
        """
    )
    assert taken.reported == [
        (1.0, {"val_loss": 0.5}),
        (2.0, {"val_loss": 0.25, "accuracy": 0.75}),
    ]
    assert (taken.evaluations[0].step, taken.evaluations[0].lr_end) == (10, (0.1,))
    assert log_of(own_folder).startswith("begins\n")


def test_a_script_reports_by_a_file_and_reads_the_answers(run: Run, own_folder: Path) -> None:
    taken = Taken(prune_at=2)
    with pytest.raises(TrialPruned):
        run(
            """
            for epoch in 1 2 3; do
                echo "{\\"epoch\\": $epoch, \\"val_loss\\": 0.$epoch, \\"asks\\": true}" \
                    >> $LRSEARCH_REPORT
                until [ $(wc -l < $LRSEARCH_TRIAL/answers.jsonl) = $epoch ]; do sleep 0.01; done
                grep -q prune $LRSEARCH_TRIAL/answers.jsonl && echo leaves && exit 0
            done
            """,
            taken=taken,
            grace=30,
        )
    assert [epoch for epoch, _ in taken.reported] == [1, 2]
    assert log_of(own_folder) == "leaves\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"lrsearch": {"epoch": 1, "val_loss": 0.5', "not JSON"),
        ('{"lrsearch": {"val_loss": 0.5}}', "neither epoch nor step"),
        ('{"lrsearch": {"epoch": 1}}', "no value"),
        ('{"lrsearch": {"epoch": "one", "val_loss": 0.5}}', "not a number"),
        ('{"lrsearch": {"epoch": 1, "val_loss": [0.5]}}', "not a number"),
    ],
)
def test_a_bad_line_is_left_out_with_a_warning(run: Run, line: str, problem: str) -> None:
    good = '{"lrsearch": {"epoch": 1, "val_loss": 0.5}}'
    taken = run(f"echo '{line}'; echo '{good}'")
    assert taken.reported == [(1.0, {"val_loss": 0.5})]
    assert len(taken.warnings) == 1
    assert problem in taken.warnings[0]


def test_many_bad_lines_give_few_warnings(run: Run) -> None:
    taken = run(
        """
        yes '{"lrsearch": {"epoch": 1, "val_loss": false}}' | head -500
        echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5}}'
        """
    )
    assert 1 < len(taken.warnings) < 20
    assert len(taken.evaluations) == 1


def test_reports_of_other_ranks_than_the_first_are_ignored(run: Run) -> None:
    taken = run(
        """
        echo '{"lrsearch": {"epoch": 1, "val_loss": 0.9, "rank": 1}}'
        echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5, "rank": 0}}'
        """
    )
    assert taken.reported == [(1.0, {"val_loss": 0.5})]


@pytest.mark.parametrize("loss", ["NaN", "null", '"nan"', "Infinity"])
def test_a_loss_that_is_not_finite_has_diverged(run: Run, loss: str) -> None:
    with pytest.raises(Diverged):
        run(f"""echo '{{"lrsearch": {{"epoch": 1, "val_loss": {loss}}}}}'; sleep 60""")


def test_an_epoch_that_is_reported_twice_fails_the_trial(run: Run) -> None:
    line = """echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5}}'"""
    with pytest.raises(TrainingEnded, match=r"epoch 1 .*epoch 1") as ended:
        run(f"{line}; {line}; sleep 60")
    assert ended.value.outcome == Outcome.FAILED


def test_reported_rates_are_compared_with_the_recipes(run: Run) -> None:
    # The sweep digits has 15 epochs, and the recipe's cosine falls from 0.1 to 0.
    rates = [0.05 * (1 + math.cos(math.pi * epoch / 15)) for epoch in range(6)]
    lines = [
        f'{{"lrsearch": {{"epoch": {epoch}, "val_loss": 0.5, "lr": {lr}}}}}'
        for epoch, lr in ((1, rates[1]), (2, rates[2]), (3, 0.2), (4, rates[4]))
    ]
    taken = run("\n".join(f"echo '{line}'" for line in lines))
    assert [one.verified for one in taken.evaluations] == [True, True, False, True]
    assert len(taken.warnings) == 1
    assert "does not follow the recipe's schedule" in taken.warnings[0]


def test_another_rate_than_the_recipes_fails_the_trial_where_rates_are_strict(run: Run) -> None:
    with pytest.raises(TrainingEnded, match=r"strict_lr.*0\.2"):
        run(
            """echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5, "lr": 0.2}}'; sleep 60""",
            strict_lr=True,
        )


def test_rates_that_are_not_reported_are_not_verified(run: Run) -> None:
    taken = run("""echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5}}'""")
    assert [one.verified for one in taken.evaluations] == [False]


# Files of metrics


def test_a_csv_file_that_grows_is_read(run: Run) -> None:
    taken = run(
        """
        cd $1
        echo epoch,train_loss,eval_loss > summary.csv
        echo 0,2.5,2.25 >> summary.csv
        echo epoch,train_loss,eval_loss >> summary.csv
        printf 1,1.5, >> summary.csv; sleep 0.3; echo 1.25 >> summary.csv
        printf 2,0.5,0.25 >> summary.csv
        """,
        "{checkpoint_dir}",
        metrics={"file": "{checkpoint_dir}/summary.csv", "val_loss": "eval_loss"},
    )
    # timm counts epochs from 0, and writes its header again when it resumes.
    assert taken.reported == [
        (1.0, {"val_loss": 2.25}),
        (2.0, {"val_loss": 1.25}),
        (3.0, {"val_loss": 0.25}),
    ]
    assert taken.warnings == []


def test_json_lines_are_read_and_those_without_the_value_left_out(run: Run) -> None:
    taken = run(
        """
        echo '{"epoch": 0.5, "loss": 3.0}' > log.jsonl
        echo '{"epoch": 1, "eval_loss": 2.0, "eval_f1": 0.5}' >> log.jsonl
        """,
        metrics={"file": "log.jsonl", "val_loss": "eval_loss", "f1": "eval_f1"},
    )
    assert taken.reported == [(1.0, {"val_loss": 2.0, "f1": 0.5})]


def test_rows_of_an_earlier_attempt_are_not_reported_again(run: Run, own_folder: Path) -> None:
    (own_folder / "m.csv").write_text("epoch,val\n1,0.5\n2,0.4\n")
    taken = run(
        "echo 3,0.3 >> m.csv", metrics={"file": "m.csv", "val_loss": "val"}, taken=Taken(earlier=2)
    )
    assert [one.index for one in taken.evaluations] == [3]
    assert taken.reported == [(3.0, {"val_loss": 0.3})]


def test_a_file_without_the_column_is_named(run: Run) -> None:
    with pytest.raises(TrainingEnded, match=r"m\.csv .*columns epoch, valid_loss"):
        run(
            "printf 'epoch,valid_loss\n1,0.5\n' > m.csv",
            metrics={"file": "m.csv", "val_loss": "val"},
        )


# Ends


def test_a_pruned_script_is_ended_with_all_of_its_processes(run: Run, own_folder: Path) -> None:
    with pytest.raises(TrialPruned):
        run(
            """
            trap 'echo SIGTERM' TERM
            (trap '' TERM; exec sleep 100) &
            setsid sleep 101 &
            (setsid sleep 102 & disown)
            echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5}}'
            sleep 103; sleep 104
            """,
            taken=Taken(prune_at=1),
        )
    assert "SIGTERM" in log_of(own_folder)


def test_a_script_that_is_told_to_stop_can_save_and_is_handed_back(
    run: Run, own_folder: Path
) -> None:
    taken = Taken()
    with pytest.raises(Stopped):
        run(
            """
            trap 'echo saved > saved; exit 0' TERM
            echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5}}'
            while true; do sleep 0.05; done
            """,
            taken=taken,
            should_stop=taken.arrived.is_set,
            grace=30,
        )
    assert (own_folder / "saved").read_text() == "saved\n"


def test_processes_of_a_script_that_has_ended_are_ended_too(run: Run) -> None:
    taken = run(
        """
        setsid sleep 100 &
        echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5}}'
        """
    )
    assert len(taken.evaluations) == 1


def test_an_exit_code_is_a_failure_with_the_last_of_the_output(run: Run) -> None:
    with pytest.raises(TrainingEnded, match="exit code 3") as ended:
        run("seq 100000; echo it broke >&2; exit 3")
    assert ended.value.outcome == Outcome.FAILED
    assert str(ended.value).endswith("99999\n100000\nit broke")
    assert len(str(ended.value)) < script_log.TAIL + 1000


def test_an_end_without_a_report_is_a_failure_in_words(run: Run) -> None:
    with pytest.raises(TrainingEnded, match="never reported") as ended:
        run("echo done")
    cause = failure_cause(str(ended.value))  # the line that a sweep shows
    assert cause.startswith("the script has ended")
    assert cause.endswith("done")


def test_a_training_that_an_earlier_attempt_has_finished_needs_no_report(run: Run) -> None:
    assert run("echo nothing to do", taken=Taken(earlier=2)).evaluations == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "RuntimeError: CUDA error: out of memory",
    ],
)
def test_out_of_memory_is_infeasible(run: Run, line: str) -> None:
    with pytest.raises(TrainingEnded, match="out of memory") as ended:
        run(f"echo '{line}' >&2; seq 1000; exit 1")
    assert ended.value.outcome == Outcome.OUT_OF_MEMORY


def test_a_kill_is_a_crash(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_SIGNALS_TOGETHER", 0.0)
    with pytest.raises(TrainingEnded, match="signal 9") as ended:
        run("kill -9 $$")
    assert ended.value.outcome == Outcome.CRASHED


def test_a_script_that_falls_silent_is_ended(run: Run) -> None:
    with pytest.raises(TrainingEnded, match=r"queue\.stall_timeout") as ended:
        run("while true; do echo noise; sleep 0.1; done", stall_timeout=0.5)
    assert ended.value.outcome == Outcome.CRASHED
    assert "noise" in str(ended.value)


def test_a_heartbeat_keeps_a_script_alive(run: Run) -> None:
    taken = run(
        """
        for i in 1 2 3 4 5 6 7 8; do echo '{"heartbeat": true}' >> $LRSEARCH_REPORT; sleep 0.2; done
        echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5}}'
        """,
        stall_timeout=1.0,
    )
    assert len(taken.evaluations) == 1


def test_a_script_that_cannot_be_executed_is_refused_before_it_runs(
    run: Run, own_folder: Path, digits: Settings
) -> None:
    config = ComponentConfig("command", {"command": ["./absent.sh"]})
    settings = dataclasses.replace(digits, objective=config)
    with pytest.raises(UserError, match=r"objective\.command.*absent\.sh"):
        CommandObjective(settings, torch.device("cpu"), own_folder)


# Output


@pytest.mark.slow
def test_megabytes_of_output_neither_block_nor_fill_the_log(
    run: Run, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_log, "LARGEST_LOG", 1 << 20)
    run(
        """
        head -c 8000000 /dev/zero | tr '\\0' x
        head -c 4000000 /dev/zero | tr '\\0' '\\n'
        echo last
        echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5}}'
        """
    )
    log = log_of(own_folder)
    assert len(log) < 1.1 * (1 << 20)
    assert "left out" in log
    assert "\nlast\n" in log


def test_secrets_are_left_out_of_the_log_and_of_the_reason(run: Run, own_folder: Path) -> None:
    learn_secrets(["correct-horse"])
    try:
        with pytest.raises(TrainingEnded) as ended:
            run("echo token=correct-horse; exit 1")
    finally:
        forget()
    assert "correct-horse" not in str(ended.value)
    assert "token=***" in log_of(own_folder)


def test_the_password_of_the_database_is_not_given_to_scripts(
    run: Run, monkeypatch: pytest.MonkeyPatch, own_folder: Path
) -> None:
    monkeypatch.setenv("LRSEARCH_STORAGE", "postgresql://me:correct-horse@host/db")
    run('env > variables; echo \'{"lrsearch": {"epoch": 1, "val_loss": 0.5}}\'')
    assert "correct-horse" not in (own_folder / "variables").read_text()


def test_the_log_of_an_earlier_attempt_is_kept(run: Run, own_folder: Path) -> None:
    for attempt in ("first", "second"):
        run(f'echo {attempt}; echo \'{{"lrsearch": {{"epoch": 1, "val_loss": 0.5}}}}\'')
    assert log_of(own_folder).startswith("second")
    assert (own_folder / "logs" / "trial-3.log.old").read_text().startswith("first")


# Values


def test_placeholders_are_filled(run: Run, own_folder: Path) -> None:
    run(
        """
        printf '%s\n' "$@" > arguments
        cat $5 > recipe.yaml
        echo '{"lrsearch": {"epoch": 1, "val_loss": 0.5}}'
        """,
        *("--lr={lr}", "{batch_size}", "{optimizer}.{optimizer.momentum}", "{model.width} {{}}"),
        *("{recipe_file}", "--seed", "{seed}", "--clip", "{grad_clip}", "end"),
    )
    first, *rest = (own_folder / "arguments").read_text().splitlines()
    assert (first, *rest[:3]) == ("--lr=0.1", "32", "sgd.0.9", "8 {}")
    assert rest[4:] == ["--seed", "7", "end"]  # without a grad_clip its option is left out
    assert Recipe.from_file(own_folder / "recipe.yaml") == RECIPE


def test_a_script_reads_the_facts_of_its_trial(run: Run, own_folder: Path) -> None:
    run(
        "cat $LRSEARCH_TRIAL/trial.json > facts; "
        'echo \'{"lrsearch": {"epoch": 1, "val_loss": 0.5}}\''
    )
    facts = json.loads((own_folder / "facts").read_text())
    assert (facts["number"], facts["seed"]) == (3, 7)
    assert Recipe.from_dict(facts["recipe"]) == RECIPE


@pytest.mark.parametrize(
    ("keep_best", "confirm", "is_kept"),
    [(1, None, True), (0, None, False), (0, ConfirmSettings(), True)],
)
def test_weights_are_asked_for_where_trials_or_a_confirmation_keep_them(
    run: Run,
    own_folder: Path,
    digits: Settings,
    keep_best: int,
    confirm: ConfirmSettings | None,
    is_kept: bool,
) -> None:
    run(
        "cat $LRSEARCH_TRIAL/trial.json > facts; "
        'echo \'{"lrsearch": {"epoch": 1, "val_loss": 0.5}}\'',
        others={
            "train": dataclasses.replace(digits.train, keep_best=keep_best),
            "confirm": confirm,
        },
    )
    assert json.loads((own_folder / "facts").read_text())["keep_weights"] is is_kept


def test_a_script_ends_with_the_process_that_has_started_it(own_folder: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from lrsearch.objectives.script_process import ScriptProcess
script = "setsid sleep 100 & echo $! > child; echo $$ > parent.new; mv parent.new parent; sleep 100"
ScriptProcess(["/bin/bash", "-c", script], os.environ, Path.cwd(), 5.0, print)
while not Path("parent").exists():
    time.sleep(0.01)
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", code], cwd=own_folder, check=False)
    pids = [int((own_folder / name).read_text()) for name in ("parent", "child")]
    until = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(psutil.pid_exists(pid) for pid in pids)
