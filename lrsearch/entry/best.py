"""`best`: the recipe that a study has found, from the database; also any other complete trial's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from lrsearch.config.settings import Settings
from lrsearch.data.spec import DataInfo
from lrsearch.display import described, number
from lrsearch.entry.asked import Asked, asked, no_more, print_json, stored_settings
from lrsearch.errors import UserError
from lrsearch.study.progress import Finished, Progress, ranked
from lrsearch.study.study import load_row
from lrsearch.study.tables import COMPLETE

USAGE = "best NAME [--trial N] [storage.url=...]"
Format = Literal["text", "yaml", "python", "json"]


def show_best(arguments: Sequence[str], wanted: int | None, form: Format) -> None:
    """Prints it. Raises UserError where no trial has completed, or the one named has not."""
    with asked(arguments, USAGE) as where:
        no_more(where.words, USAGE)
        settings, info, trial, is_best = stored_trial(where, wanted)
        if form == "text":
            print("\n".join(_lines(where, settings, trial, is_best)))
            return
        from lrsearch import results

        info = results.info_of(settings, info, trial)
        record = results.best_record(settings, info, trial)
        if form == "yaml":
            print(results.as_yaml(record), end="")
        elif form == "json":
            print_json(record)
        else:
            from lrsearch.export.script import best_script

            print(best_script(settings, info, record), end="")


def record_of(where: Asked, wanted: int | None) -> dict[str, Any]:
    """The best trial, or the one named, as `best.yaml` has it. Raises UserError."""
    from lrsearch import results

    settings, info, trial, _ = stored_trial(where, wanted)
    return results.best_record(settings, results.info_of(settings, info, trial), trial)


def stored_trial(
    where: Asked, wanted: int | None
) -> tuple[Settings, DataInfo | None, Finished, bool]:
    """The settings and data of a study, its best trial or the one named, and whether it is best.

    Raises UserError where no trial has completed, or the one named has not.
    """
    row = load_row(where.database, where.name)
    settings = stored_settings(row)
    finished = Progress(where.database.session, row.study_id).finished()
    best = ranked(finished, settings.metric.mode)
    data = row.record["data"]
    info = None if data is None else DataInfo.from_json(data)
    if wanted is None:
        if not best:
            raise UserError(
                f"no trial of {where.name} has completed yet: "
                f"python -m lrsearch status {where.name}{where.place}"
            )
        return settings, info, best[0], True
    for one in finished:
        if one.trial == wanted:
            if one.outcome != COMPLETE or one.value is None:
                raise UserError(
                    f"trial {wanted} of {where.name} is {one.outcome}: only one that has run to "
                    f"its end has a value to be repeated"
                )
            return settings, info, one, one is best[0]
    complete = ", ".join(str(one.trial) for one in best[:10]) or "none yet"
    raise UserError(f"{where.name} has no finished trial {wanted}; the best complete: {complete}")


def _lines(where: Asked, settings: Settings, trial: Finished, is_best: bool) -> list[str]:
    metric = settings.metric
    which = "the best" if is_best else "complete"
    name, chosen = where.name, "" if is_best else f" --trial {trial.trial}"
    return [
        f"{name}, trial {trial.trial}, {which}: {metric.name} {number(trial.value)} "
        f"({metric.at} evaluation)",
        f"  {described(trial.recipe)}",
        f"again:            python -m lrsearch train {name}{chosen}{where.place}",
        f"in plain PyTorch: python -m lrsearch best {name}{chosen} --format python{where.place} "
        f"> best.py; python best.py",
    ]
