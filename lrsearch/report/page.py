"""The page: one HTML file with its scripts and figures inside, which works offline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lrsearch import __version__
from lrsearch.analysis.confirmed import progress_words
from lrsearch.analysis.findings import Findings
from lrsearch.analysis.sentences.verdict import verdict_line
from lrsearch.analysis.study_data import StudyData
from lrsearch.report.sections import Section
from lrsearch.text.formatting import number, plural, to_error

if TYPE_CHECKING:
    from markupsafe import Markup
    from plotly.graph_objects import Figure

_FOLDER = Path(__file__).parent
_HEIGHT = 420


def build_page(
    study: StudyData,
    findings: Findings,
    sections: Sequence[Section],
    figures: Mapping[str, Figure],
) -> str:
    """The HTML of a report."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["unbroken"] = _unbroken
    return environment.get_template("page.html").render(
        study=study,
        description=study.config.get("description") or "",
        warnings=findings.warnings(),
        verdict=verdict_line(findings.verdict),
        unfinished=unfinished(study),
        tiles=tiles(study, findings),
        sections=sections,
        figures={name: _embedded(figure) for name, figure in figures.items()},
        heights={name: figure.layout.height or _HEIGHT for name, figure in figures.items()},
        plotly=get_plotlyjs(),
        style=(_FOLDER / "style.css").read_text(),
        script=(_FOLDER / "draw.js").read_text(),
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _unbroken(text: str) -> Markup:
    """A text whose words are not broken at hyphens, as `1e-05` would be in a narrow column.

    Nor is a number torn from its `%`.
    """
    from markupsafe import Markup

    text = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)
    span = Markup('<span class="word">{}</span>')
    return Markup(" ").join(span.format(word) if "-" in word else word for word in text.split(" "))


def _embedded(figure: Figure) -> str:
    """A figure as JSON that may stand inside a script element."""
    return str(figure.to_json()).replace("<", "\\u003c").replace(">", "\\u003e")


def unfinished(study: StudyData) -> str | None:
    """Return a note that the study is unfinished; None when it has ended."""
    if study.done >= study.total:
        confirmation = study.confirmation
        if confirmation is None or not confirmation.work_left:
            return None
        return f"The study is not finished: {progress_words(confirmation)}."
    left = plural(study.total - study.done, "trial")
    why = f" ({study.stopped.strip().splitlines()[0]})" if study.stopped else ""
    return f"The study is not finished: {left} of {study.total} to go{why}."


def tiles(study: StudyData, findings: Findings) -> list[tuple[str, str]]:
    """The numbers at the top: a label and a value each."""
    best = findings.winner.best
    noise = findings.verdict.noise
    shown = "none yet" if best is None or best.value is None else to_error(best.value, noise)
    rows = [(f"best {study.metric.name}", shown)]
    confirmed = study.confirmation
    if confirmed is not None and confirmed.winner is not None and confirmed.winner.estimate:
        known = confirmed.winner.estimate
        mean = to_error(known.mean, (known.high - known.low) / 2)
        rows = [(f"confirmed {study.metric.name}", mean), ("found in the search", shown)]
    rows.append(("trials", f"{study.done} of {study.total}"))
    if best is not None and best.recipe is not None:
        recipe = best.recipe
        rows += [
            ("learning rate", number(recipe.lr, 3)),
            ("batch size", str(recipe.batch_size)),
            ("scheduler", recipe.scheduler.name),
            ("optimizer", recipe.optimizer.name),
        ]
    return rows
