"""lrsearch's own tables, beside Optuna's in the same database."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    Boolean,
    Computed,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.functions import FunctionElement

from lrsearch.states import StudyState, WorkState
from lrsearch.storage.storable import MeasuredJSON, StorableJSON, StorableText

SCHEMA_VERSION = 1
"""Version of these tables."""


LOCK: Any = {"key_share": True}
"""Arguments of `with_for_update` that lock a study (`FOR NO KEY UPDATE` of PostgreSQL).

A transaction that writes to a row which refers to the study, such as a trial slot, may have locked
the study's key. To wait for that while one holds the study itself would be a deadlock.
"""


class Base(DeclarativeBase):
    """Base of the tables."""

    type_annotation_map: ClassVar[Any] = {
        dict[str, Any]: StorableJSON,
        datetime: DateTime(timezone=True),
    }


def table_of(row: type[Base]) -> Table:
    """Return the table of a class of rows: statements on tables cost less than those on classes."""
    table = row.__table__
    assert isinstance(table, Table)
    return table


class VersionRow(Base):
    """One row: the version of these tables."""

    __tablename__ = "lrsearch_version"

    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)


class IdentityRow(Base):
    """One row: the random identity of this database."""

    __tablename__ = "lrsearch_identity"

    identity: Mapped[str] = mapped_column(
        String(32), primary_key=True, default=lambda: uuid.uuid4().hex
    )


class StudyRow(Base):
    """A study, with all that is needed to resume and to repeat it."""

    __tablename__ = "lrsearch_studies"

    study_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Key in Optuna's table `studies`, too."""
    name: Mapped[str] = mapped_column(String(512), unique=True)
    config: Mapped[dict[str, Any]]
    """The resolved configuration, without the storage URL."""
    record: Mapped[dict[str, Any]]
    """Data fingerprint, versions, Git commit, samplers and pruners of all runs, and more."""
    runs: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    """Number of times it was run or submitted, or its ranges were found; workers then reload it."""
    priority: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Workers serve the study with the highest priority first, then by shares."""
    share: Mapped[float] = mapped_column(Float, default=1.0, server_default="1")
    """Weight among the open studies of its priority: running work is shared in proportion."""
    max_running: Mapped[int | None] = mapped_column(Integer, default=None)
    """Most trials and auxiliary runs at a time; None is no limit."""
    owner: Mapped[str | None] = mapped_column(String(255), default=None)
    """Who it belongs to, as `status` shows it."""
    tags: Mapped[list[str]] = mapped_column(StorableJSON, default=list)
    """Words by which commands select studies."""
    needs: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What a worker must have: `{"gpu_memory": 40, "labels": ["a100"]}`."""
    allow_versions: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Whether workers of other versions of lrsearch and torch may serve it."""
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    """Wall-clock seconds so far in which any worker served the study."""
    ticked_at: Mapped[float | None] = mapped_column(Float, default=None)
    """When `seconds` was last increased: seconds since 1970 by the database's clock."""
    finished: Mapped[int] = mapped_column(Integer, default=0)
    """Number of trial slots that are done; the next one to finish gets the next `finish_order`."""
    trial_seconds: Mapped[float] = mapped_column(Float, default=0.0, server_default="0")
    """Seconds of the attempts that ended those trial slots."""
    turn: Mapped[float] = mapped_column(Float, default=0.0, server_default="0")
    """When it was last served, in the virtual time by which studies take turns (queue/shares)."""
    state: Mapped[str] = mapped_column(
        String(16), default=StudyState.OPEN, server_default=StudyState.OPEN, index=True
    )
    """A `StudyState`; workers claim work only while it is open."""
    stopped: Mapped[str | None] = mapped_column(StorableText, default=None)
    """Why it was paused or stopped; None while it is open."""
    hand_back: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Whether workers are to hand running trials back."""


class recipe_part(FunctionElement[Any]):
    """SQL expression: a value of the JSON document in the column `recipe`, by its path."""

    inherit_cache = False

    def __init__(self, *path: str, type_name: str) -> None:
        """`type_name` is the type to which a server converts it."""
        self.path, self.type_name = path, type_name
        super().__init__()


@compiles(recipe_part, "postgresql")
def _of_server(element: recipe_part, compiler: Any, **_: Any) -> str:
    return f"CAST(recipe #>> '{{{','.join(element.path)}}}' AS {element.type_name})"


@compiles(recipe_part, "sqlite")
def _of_file(element: recipe_part, compiler: Any, **_: Any) -> str:
    return f"json_extract(recipe, '$.{'.'.join(element.path)}')"


class Leased:
    """Columns that trial slots and auxiliary runs share: work with one owner at a time."""

    study_id: Mapped[int] = mapped_column(ForeignKey("lrsearch_studies.study_id"), index=True)
    state: Mapped[str] = mapped_column(String(16), default=WorkState.OPEN, index=True)
    seed: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str | None] = mapped_column(String(255), default=None)
    """Name of the worker that owns it or, when it is done, that finished it."""
    leased_until: Mapped[float | None] = mapped_column(Float, default=None)
    """When the owner's lease ends: seconds since 1970 by the database's clock."""
    claimed_at: Mapped[float | None] = mapped_column(Float, default=None)
    """When it was last claimed: seconds since 1970 by the database's clock."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    """Number of times it was claimed. A claim is valid only while this is its own number."""
    deaths: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Number of its owners that died or fell silent."""
    recipe: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    device: Mapped[str | None] = mapped_column(String(255), default=None)
    outcome: Mapped[str | None] = mapped_column(String(16), default=None)
    value: Mapped[float | None] = mapped_column(Float, default=None)
    """Value of the study's metric; if it ended early, the last one."""
    reason: Mapped[str | None] = mapped_column(StorableText, default=None)
    """Why it ended early, such as where it diverged, or a traceback."""
    seconds: Mapped[float | None] = mapped_column(Float, default=None)
    """Seconds of the attempt that ended it; otherwise those of all attempts that did not."""
    finished_at: Mapped[datetime | None] = mapped_column(default=None)


class TrialSlotRow(Leased, Base):
    """A trial slot: one unit of a study's budget, which becomes exactly one finished trial."""

    __tablename__ = "lrsearch_units"
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        Index(
            "ix_lrsearch_units_open",
            *("study_id", "number"),
            # Claims take the first of these: they need not pass all slots that are done.
            sqlite_where=text(f"state = '{WorkState.OPEN}'"),
            postgresql_where=text(f"state = '{WorkState.OPEN}'"),
        ),
    )

    unit_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    """From 0 in the order of the plan; below 0 for slots added by hand."""
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Fixed parameters by stored name: of `try_first`, a balance, a grid or a warm start."""
    trial_id: Mapped[int | None] = mapped_column(Integer, default=None, index=True)
    trial_number: Mapped[int | None] = mapped_column(Integer, default=None)
    end_step: Mapped[int | None] = mapped_column(Integer, default=None)
    end_lr: Mapped[float | None] = mapped_column(Float, default=None)
    """Step and learning rate at which it diverged or ran out of memory."""
    finish_order: Mapped[int | None] = mapped_column(Integer, default=None)
    """Position among the study's trials in the order of their ends, from 1."""
    weights: Mapped[str | None] = mapped_column(StorableText, default=None)
    """Path or URL of its weights, where they are kept."""
    warning: Mapped[str | None] = mapped_column(StorableText, default=None)
    """What is doubtful about its training, such as rates that are not its recipe's."""
    spared_at: Mapped[int | None] = mapped_column(Integer, default=None)
    """Evaluation at which the pruner would have ended a trial that goes on as a check."""
    # Pruners read these of hundreds of trials at each report: the database takes them out of the
    # recipe once, when that is written.
    peak_lr: Mapped[float | None] = mapped_column(
        Float, Computed(recipe_part("lr", type_name="DOUBLE PRECISION"), persisted=True)
    )
    batch_size: Mapped[int | None] = mapped_column(
        Integer, Computed(recipe_part("batch_size", type_name="INTEGER"), persisted=True)
    )
    optimizer: Mapped[str | None] = mapped_column(
        String, Computed(recipe_part("optimizer", "name", type_name="VARCHAR"), persisted=True)
    )


class AuxiliaryRunRow(Leased, Base):
    """An auxiliary run, outside the budget: samplers, pruners and Optuna do not see it."""

    __tablename__ = "lrsearch_side_runs"
    __table_args__ = (UniqueConstraint("study_id", "kind", "number"),)

    side_run_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    """A `RunKind`; it defines the meaning of `number`, `recipe`, `value` and `result`."""
    number: Mapped[int] = mapped_column(Integer)
    """Number within its kind, from 0."""
    trial_number: Mapped[int | None] = mapped_column(Integer, default=None)
    """Number of the trial whose recipe it trains again; None where there is none."""
    result: Mapped[dict[str, Any] | None] = mapped_column(MeasuredJSON, default=None)
    """Result so far, such as its curve or test scores."""


class EvaluationRow(Base):
    """One evaluation of one trial, in columns that any SQL client can plot."""

    __tablename__ = "lrsearch_epochs"
    __table_args__ = (
        # Pruners read these in order: values of all trials, of complete ones, of one bracket.
        Index("ix_lrsearch_epochs_rank", "study_id", "moment", "value"),
        Index("ix_lrsearch_epochs_complete", "study_id", "moment", "complete", "value"),
        Index(
            "ix_lrsearch_epochs_bracket",
            *("study_id", "moment", "bracket", "value"),
            # A partial index: it costs nothing where there are no brackets.
            sqlite_where=text("bracket is not null"),
            postgresql_where=text("bracket is not null"),
        ),
        Index("ix_lrsearch_epochs_progress", "study_id", "progress", "trial_id"),
    )

    trial_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Key in Optuna's table `trials`, too."""
    step: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Number of optimizer steps done."""
    study_id: Mapped[int] = mapped_column(Integer)
    evaluation: Mapped[int] = mapped_column(Integer)
    """Number of the evaluation within its trial, from 1."""
    moment: Mapped[int | None] = mapped_column(Integer, default=None)
    """Number of equal parts of the training that are done, where pruners compare trials.

    None where an earlier evaluation of the trial lies in the same part.
    """
    value: Mapped[float | None] = mapped_column(Float)
    """Value of the study's metric; None where it was not finite."""
    complete: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Whether the trial is complete."""
    bracket: Mapped[int | None] = mapped_column(Integer, default=None)
    """Bracket of the trial; None where the pruner has none."""
    progress: Mapped[float | None] = mapped_column(Float, default=None)
    """Share of the whole training that is done."""
    rate_left: Mapped[float | None] = mapped_column(Float, default=None)
    """Area under the rest of the schedule, divided by the length of the whole training.

    None where the schedule is not known.
    """
    epoch: Mapped[float] = mapped_column(Float)
    train_loss: Mapped[float | None] = mapped_column(Float)
    val_loss: Mapped[float | None] = mapped_column(Float)
    lr_start: Mapped[float] = mapped_column(Float)
    lr_end: Mapped[float] = mapped_column(Float)
    grad_norm: Mapped[float | None] = mapped_column(Float)
    seconds: Mapped[float] = mapped_column(Float)
    metrics: Mapped[dict[str, Any]] = mapped_column(MeasuredJSON, default=dict)
    """Further metrics, the share of clipped steps, and the rates of further parameter groups."""


class JobRow(Base):
    """A job of a cluster that was started to serve a study."""

    __tablename__ = "lrsearch_jobs"

    study_id: Mapped[int] = mapped_column(
        ForeignKey("lrsearch_studies.study_id"), primary_key=True, autoincrement=False
    )
    launcher: Mapped[str] = mapped_column(String(32), primary_key=True)
    """Name of the launcher that started it, such as `slurm`."""
    job_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    """Its name in the cluster, such as `1234_5`."""
    address: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Arguments of the launcher with which another process finds the job."""
    log: Mapped[str | None] = mapped_column(StorableText, default=None)
    """Where its log is: a file, or a command that prints it."""
    submitted_at: Mapped[float] = mapped_column(Float)
    """Seconds since 1970 by the database's clock."""
    owner: Mapped[str | None] = mapped_column(String(255), default=None)
    """Owner name of the worker that runs in it; None until it has begun."""
    host: Mapped[str | None] = mapped_column(String(255), default=None)
    """Machine on which it runs."""
    started_at: Mapped[float | None] = mapped_column(Float, default=None)
    """When its worker began, seconds since 1970 by the database's clock."""


class RefusalRow(Base):
    """Why a host's workers cannot serve a study, such as missing code or different data."""

    __tablename__ = "lrsearch_refusals"

    study_id: Mapped[int] = mapped_column(
        ForeignKey("lrsearch_studies.study_id"), primary_key=True, autoincrement=False
    )
    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    reason: Mapped[str] = mapped_column(StorableText)
    at: Mapped[float] = mapped_column(Float)
    """Seconds since 1970 by the database's clock."""
