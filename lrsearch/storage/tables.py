"""lrsearch's own tables, beside Optuna's in the same database."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    Boolean,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from lrsearch.states import StudyState, WorkState
from lrsearch.storage.storable import MeasuredJSON, StorableJSON, StorableText

SCHEMA_VERSION = 1


class Base(DeclarativeBase):
    """Base of the tables."""

    type_annotation_map: ClassVar[Any] = {
        dict[str, Any]: StorableJSON,
        datetime: DateTime(timezone=True),
    }


class VersionRow(Base):
    """One row: the version of these tables."""

    __tablename__ = "lrsearch_version"

    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)


class IdentityRow(Base):
    """One row: the random number of this database, which no other one has."""

    __tablename__ = "lrsearch_identity"

    identity: Mapped[str] = mapped_column(
        String(32), primary_key=True, default=lambda: uuid.uuid4().hex
    )


class StudyRow(Base):
    """A study: what is needed to go on with it and to repeat it."""

    __tablename__ = "lrsearch_studies"

    study_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """As in Optuna's `studies`."""
    name: Mapped[str] = mapped_column(String(512), unique=True)
    config: Mapped[dict[str, Any]]
    """The resolved configuration, without the storage URL."""
    record: Mapped[dict[str, Any]]
    """Data fingerprint, versions, git revision, history of samplers and pruners."""
    runs: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    """How often it was run or submitted, or its ranges found: then workers load it again."""
    priority: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """Workers serve the study of the highest priority first, then the oldest."""
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    """Wall clock spent so far: the time in which anybody worked on the study."""
    ticked_at: Mapped[float | None] = mapped_column(Float, default=None)
    """When `seconds` was last added to, by the database's clock."""
    finished: Mapped[int] = mapped_column(Integer, default=0)
    """How many units are done; numbers them in the order in which they finish."""
    state: Mapped[str] = mapped_column(
        String(16), default=StudyState.OPEN, server_default=StudyState.OPEN, index=True
    )
    """Workers claim nothing unless it is open."""
    stopped: Mapped[str | None] = mapped_column(StorableText, default=None)
    """Why it was paused or stopped."""
    hand_back: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Whether running trials are to be handed back, too."""


class Leased:
    """What trial slots and auxiliary runs have in common: work that one owner has at a time."""

    study_id: Mapped[int] = mapped_column(ForeignKey("lrsearch_studies.study_id"), index=True)
    state: Mapped[str] = mapped_column(String(16), default=WorkState.OPEN, index=True)
    seed: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str | None] = mapped_column(String(255), default=None)
    """The worker that has it; of one that is done, the one that finished it."""
    leased_until: Mapped[float | None] = mapped_column(Float, default=None)
    """When the owner's lease ends: seconds since 1970 by the database's clock."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    """How often it was claimed. An owner writes only as long as this is its own number."""
    deaths: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """How many owners died, or fell silent, with it."""
    recipe: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    device: Mapped[str | None] = mapped_column(String(255), default=None)
    outcome: Mapped[str | None] = mapped_column(String(16), default=None)
    value: Mapped[float | None] = mapped_column(Float, default=None)
    """The value of the study's metric; of one that was cut short, its last."""
    reason: Mapped[str | None] = mapped_column(StorableText, default=None)
    """Why it ended early: where it diverged, or the traceback."""
    seconds: Mapped[float | None] = mapped_column(Float, default=None)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)


class TrialSlotRow(Leased, Base):
    """One unit of a study's budget: it becomes exactly one finished trial."""

    __tablename__ = "lrsearch_units"
    __table_args__ = (UniqueConstraint("study_id", "number"),)

    unit_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    """From 0 in the order of the plan; below 0 where it was added by hand, on top of the plan."""
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Parameters that are given beforehand: tried first, balanced, or of a grid."""
    trial_id: Mapped[int | None] = mapped_column(Integer, default=None, index=True)
    trial_number: Mapped[int | None] = mapped_column(Integer, default=None)
    end_step: Mapped[int | None] = mapped_column(Integer, default=None)
    end_lr: Mapped[float | None] = mapped_column(Float, default=None)
    """Step and learning rate at which it diverged or ran out of memory."""
    finish_order: Mapped[int | None] = mapped_column(Integer, default=None)
    """Counts the study's units in the order in which they finished."""
    spared_at: Mapped[int | None] = mapped_column(Integer, default=None)
    """The evaluation at which it should have been pruned, but was let go on as a check."""


class AuxiliaryRunRow(Leased, Base):
    """A run outside the budget: no trial, nothing that samplers, pruners or Optuna hear of."""

    __tablename__ = "lrsearch_side_runs"
    __table_args__ = (UniqueConstraint("study_id", "kind", "number"),)

    side_run_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    """What it is for; what `number`, `recipe`, `value` and `result` mean is the kind's own."""
    number: Mapped[int] = mapped_column(Integer)
    """From 0 within its kind. Auxiliary runs are claimed in the order in which they were added."""
    trial_number: Mapped[int | None] = mapped_column(Integer, default=None)
    """The trial whose recipe it trains again; None where there is none."""
    result: Mapped[dict[str, Any] | None] = mapped_column(MeasuredJSON, default=None)
    """What it has found so far: its curve, test scores."""


class EvaluationRow(Base):
    """One evaluation of one trial, for any SQL client to plot."""

    __tablename__ = "lrsearch_epochs"
    __table_args__ = (
        # What pruning reads in order: values of all trials, of complete ones, of a bracket's.
        Index("ix_lrsearch_epochs_rank", "study_id", "evaluation", "value"),
        Index("ix_lrsearch_epochs_complete", "study_id", "evaluation", "complete", "value"),
        Index(
            "ix_lrsearch_epochs_bracket",
            *("study_id", "evaluation", "bracket", "value"),
            # Costs nothing where there are no brackets.
            sqlite_where=text("bracket is not null"),
            postgresql_where=text("bracket is not null"),
        ),
        Index("ix_lrsearch_epochs_progress", "study_id", "progress", "trial_id"),
    )

    trial_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """As in Optuna's `trials`."""
    step: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Optimizer steps done."""
    study_id: Mapped[int] = mapped_column(Integer)
    evaluation: Mapped[int] = mapped_column(Integer)
    """Counts the evaluations of the trial from 1."""
    value: Mapped[float | None] = mapped_column(Float)
    """That of the study's metric."""
    complete: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Whether the trial ran to its end."""
    bracket: Mapped[int | None] = mapped_column(Integer, default=None)
    """Where the pruner has brackets: the trial's own."""
    progress: Mapped[float | None] = mapped_column(Float, default=None)
    """The share of the trial's whole training that is over."""
    rate_left: Mapped[float | None] = mapped_column(Float, default=None)
    """The mean rate of the whole training, counting only what is still to come, where known."""
    epoch: Mapped[float] = mapped_column(Float)
    train_loss: Mapped[float | None] = mapped_column(Float)
    val_loss: Mapped[float | None] = mapped_column(Float)
    lr_start: Mapped[float] = mapped_column(Float)
    lr_end: Mapped[float] = mapped_column(Float)
    grad_norm: Mapped[float | None] = mapped_column(Float)
    seconds: Mapped[float] = mapped_column(Float)
    metrics: Mapped[dict[str, Any]] = mapped_column(MeasuredJSON, default=dict)
    """Further metrics, the share of clipped steps, and the rates of further parameter groups."""


class RefusalRow(Base):
    """Why a host's workers leave a study alone: its code is missing there, its data differ."""

    __tablename__ = "lrsearch_refusals"

    study_id: Mapped[int] = mapped_column(
        ForeignKey("lrsearch_studies.study_id"), primary_key=True, autoincrement=False
    )
    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    reason: Mapped[str] = mapped_column(StorableText)
    at: Mapped[float] = mapped_column(Float)
    """Seconds since 1970 by the database's clock."""
