"""The code of the best recipe, to copy: a script, and the command that trains it again."""

from __future__ import annotations

from dataclasses import dataclass

from lrsearch.analysis.parameters import settings_of
from lrsearch.analysis.study_data import StudyData
from lrsearch.analysis.warned import find_warned
from lrsearch.data.prepare import prepare
from lrsearch.data.spec import DataInfo
from lrsearch.export.script import best_script


@dataclass(frozen=True)
class BestCode:
    """Return the script of the best recipe, or why it cannot be made on this machine."""

    script: str | None
    problem: str | None


def best_code(study: StudyData) -> BestCode | None:
    """The script; None where no trial is complete. The user's own code is imported for it."""
    if not study.ranked or study.ranked[0].recipe is None:
        return None
    best = study.ranked[0]
    assert best.recipe is not None
    settings, data = settings_of(study), study.record.get("data")
    record = {
        "study": study.name,
        "trial": best.number,
        "metric": study.metric.name,
        "at": study.metric.at,
        "value": best.value,
        "recipe": best.recipe.to_dict(),
        "seed": best.seed,
    }
    if warning := find_warned(study).stand_in:
        record["WARNING"] = warning
    try:
        info = None if data is None else DataInfo.from_json(data)
        if info is not None and best.recipe.data:  # other arguments are other data
            info = prepare(settings.data.with_arguments(best.recipe.data))
        return BestCode(best_script(settings, info, record), None)
    except Exception as error:  # noqa: BLE001  the user's own module may raise anything
        return BestCode(None, str(error) or repr(error))
