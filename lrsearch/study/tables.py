"""lrsearch's own tables, beside Optuna's in the same database."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, Float, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 1

# States of a unit.
OPEN, RUNNING, DONE = "open", "running", "done"

# Outcomes of a unit that is done.
COMPLETE, PRUNED, DIVERGED, OUT_OF_MEMORY, FAILED = (
    "complete",
    "pruned",
    "diverged",
    "out_of_memory",
    "failed",
)


class Base(DeclarativeBase):
    """Base of the tables."""

    type_annotation_map: ClassVar[Any] = {dict[str, Any]: JSON, datetime: DateTime(timezone=True)}


class VersionRow(Base):
    """One row: the version of these tables."""

    __tablename__ = "lrsearch_version"

    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)


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
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    """Wall clock spent so far, all runs together."""
    finished: Mapped[int] = mapped_column(Integer, default=0)
    """How many units are done; numbers them in the order in which they finish."""
    stopped: Mapped[str | None] = mapped_column(Text, default=None)
    """Why the sweep was stopped; workers claim nothing while this is set."""


class UnitRow(Base):
    """One unit of a study's budget: it becomes exactly one finished trial."""

    __tablename__ = "lrsearch_units"
    __table_args__ = (UniqueConstraint("study_id", "number"),)

    unit_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("lrsearch_studies.study_id"), index=True)
    number: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16), default=OPEN, index=True)
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Parameters that are given beforehand: tried first, balanced, or of a grid."""
    seed: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str | None] = mapped_column(String(255), default=None)
    lease_until: Mapped[datetime | None] = mapped_column(default=None)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    trial_id: Mapped[int | None] = mapped_column(Integer, default=None, index=True)
    trial_number: Mapped[int | None] = mapped_column(Integer, default=None)
    recipe: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    device: Mapped[str | None] = mapped_column(String(255), default=None)
    outcome: Mapped[str | None] = mapped_column(String(16), default=None)
    value: Mapped[float | None] = mapped_column(Float, default=None)
    """The trial's value of the study's metric; for one that was cut short, its last."""
    reason: Mapped[str | None] = mapped_column(Text, default=None)
    """Why it ended early: where it diverged, or the traceback."""
    end_step: Mapped[int | None] = mapped_column(Integer, default=None)
    end_lr: Mapped[float | None] = mapped_column(Float, default=None)
    """Step and learning rate at which it diverged or ran out of memory."""
    seconds: Mapped[float | None] = mapped_column(Float, default=None)
    finish_order: Mapped[int | None] = mapped_column(Integer, default=None)
    """Counts the study's units in the order in which they finished."""
    finished_at: Mapped[datetime | None] = mapped_column(default=None)


class EpochRow(Base):
    """One evaluation of one trial, for any SQL client to plot."""

    __tablename__ = "lrsearch_epochs"

    trial_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """As in Optuna's `trials`."""
    step: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Optimizer steps done."""
    epoch: Mapped[float] = mapped_column(Float)
    train_loss: Mapped[float | None] = mapped_column(Float)
    val_loss: Mapped[float | None] = mapped_column(Float)
    lr_start: Mapped[float] = mapped_column(Float)
    lr_end: Mapped[float] = mapped_column(Float)
    grad_norm: Mapped[float | None] = mapped_column(Float)
    seconds: Mapped[float] = mapped_column(Float)
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Further metrics, the share of clipped steps, and the rates of further groups."""
