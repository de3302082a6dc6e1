"""The search space: the parameters of each branch, and how they make a recipe."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from lrsearch.optimizers import OPTIMIZERS
from lrsearch.optimizers.group_rules import OWN, SHIPPED, GroupRule
from lrsearch.parameters.parameter import FREE, Parameter
from lrsearch.recipe import COMMON, Recipe
from lrsearch.registry import ComponentConfig
from lrsearch.schedules.families import SCHEDULERS
from lrsearch.space.domains import Auto, Choices, Domain, Fixed, Suggester
from lrsearch.space.names import OWNERS, ParameterName
from lrsearch.text.hints import closest

Chooser = Callable[[str, Domain], Any]
"""Chooses a value, given a parameter's stored name and its domain."""

Options = Mapping[str, Mapping[str, Domain]]


@dataclass(frozen=True)
class Coupling:
    """How the learning rate follows the batch size: lr = lr_ref × (batch / reference) ** power."""

    rule: Literal["none", "sqrt", "linear"] = "none"
    reference: int = 128

    def factor(self, batch_size: int) -> float:
        """The rate at `batch_size` over the rate at the reference."""
        ratio = batch_size / self.reference
        return {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}[self.rule]


@dataclass(frozen=True)
class Space:
    """A tree of domains. Stored names: `lr`, `sgd.momentum`, `cosine.final`, `model.dropout`.

    `shared` holds what all branches have in common. An option of `optimizer` or `scheduler` may
    hold a domain of its own for a shared parameter; it is then stored under the option's name.
    A shared parameter that is an argument of optimizers, or one of a parameter group, is searched
    only with those that take it. `groups` are the rules of parameter groups, and `freeze` says
    which parameters do not train: both go into every recipe.
    """

    shared: Mapping[str, Domain]
    optimizer: Options
    scheduler: Options
    coupling: Coupling = field(default_factory=Coupling)
    own: Mapping[str, ComponentConfig] = field(default_factory=dict)
    """The options that are the user's own code, without arguments."""
    groups: tuple[GroupRule, ...] = ()
    freeze: str | None = None

    def recipe(self, choose: Chooser) -> Recipe:
        """Walk the tree, one choice after the other, and build the recipe."""
        optimizer = choose("optimizer", branch_domain(self.optimizer))
        scheduler = choose("scheduler", branch_domain(self.scheduler))
        # What an optimizer of the user's own takes stands among its own domains.
        taken = None if optimizer in self.own else OPTIMIZERS[optimizer].parameters
        common: dict[str, Any] = {}
        parts: dict[str, dict[str, Any]] = {optimizer: {}, scheduler: {}}
        own: dict[str, dict[str, Any]] = {owner: {} for owner in OWNERS}
        of_groups: dict[str, dict[str, Any]] = {rule.name: {} for rule in self.groups}
        own_to_groups = {key for rule in self.groups for key in rule.kind.parameters}
        overridden = {*self.optimizer[optimizer], *self.scheduler[scheduler]}

        def settle(name: ParameterName, domain: Domain, part: dict[str, Any]) -> None:
            argument = name.argument
            if name.is_rate and self.coupling.rule != "none":
                common["lr_ref"] = choose(str(name.as_reference()), domain)
            else:
                (common if argument in COMMON else part)[argument] = choose(str(name), domain)

        for stored, domain in self.shared.items():
            name = ParameterName.parse(stored)
            if name.group:
                if taken is None or name.argument in taken or name.argument in own_to_groups:
                    of_groups[name.group][name.argument] = choose(stored, domain)
            elif name.owner:
                own[name.owner][name.argument] = choose(stored, domain)
            elif stored not in overridden and (stored in COMMON or stored in (taken or ())):
                settle(name, domain, parts[optimizer])
        for option, domains in (
            (optimizer, self.optimizer[optimizer]),
            (scheduler, self.scheduler[scheduler]),
        ):
            for argument, domain in domains.items():
                settle(ParameterName(argument, option), domain, parts[option])
        if "lr_ref" in common:
            common["lr"] = common["lr_ref"] * self.coupling.factor(common["batch_size"])
        return Recipe(
            optimizer=self._config(optimizer, parts[optimizer]),
            scheduler=self._config(scheduler, parts[scheduler]),
            groups=tuple(rule.with_arguments(of_groups[rule.name], taken) for rule in self.groups),
            freeze=self.freeze,
            model=own["model"],
            data=own["data"],
            **common,
        )

    def _config(self, option: str, arguments: Mapping[str, Any]) -> ComponentConfig:
        return replace(self.own.get(option, ComponentConfig(option)), arguments=arguments)

    def suggest(self, trial: Suggester) -> Recipe:
        """The recipe of an Optuna trial."""
        return self.recipe(lambda name, domain: domain.suggest(trial, name))

    def sample(self, rng: random.Random) -> Recipe:
        """A random recipe, for previews."""
        return self.recipe(lambda name, domain: domain.sample(rng))

    def grid(self, only: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Enumerate every combination once, branches included, as parameters of a trial.

        `only` enumerates these names and leaves the others to the sampler. Raises ValueError,
        naming the parameter, where a domain does not say how many values it has.
        """
        prefix: list[int] = []
        while True:
            sizes: list[int] = []
            parameters: dict[str, Any] = {}

            def choose(
                name: str,
                domain: Domain,
                sizes: list[int] = sizes,
                parameters: dict[str, Any] = parameters,
            ) -> Any:
                if only is not None and name not in only:
                    return domain.ends()[0]
                try:
                    values = domain.grid()
                except ValueError as error:
                    raise ValueError(f"space.{name}: {error}") from None
                if len(sizes) == len(prefix):
                    prefix.append(0)
                value = values[prefix[len(sizes)]]
                sizes.append(len(values))
                parameters.update(domain.stored(name, value))
                return value

            self.recipe(choose)
            yield parameters
            # Like an odometer: the last choice with a next value takes it, those after it restart.
            del prefix[len(sizes) :]
            while prefix and prefix[-1] + 1 >= sizes[len(prefix) - 1]:
                prefix.pop()
            if not prefix:
                return
            prefix[-1] += 1

    @property
    def to_find(self) -> dict[str, str]:
        """The learning rates whose range is `auto`, each with its optimizer.

        By their names without a coupling: `lr`, `adamw.lr`.
        """
        rates = {}
        for optimizer, own in self.optimizer.items():
            name, domain = ("lr", self.shared.get("lr"))
            if "lr" in own:
                name, domain = str(ParameterName("lr", optimizer)), own["lr"]
            if isinstance(domain, Auto):
                rates[name] = optimizer
        return rates

    def tuned(self, owner: str) -> dict[str, Domain]:
        """The searched arguments of `model` or `data`, by their own names."""
        names = {stored: ParameterName.parse(stored) for stored in self.shared}
        return {name.argument: self.shared[s] for s, name in names.items() if name.owner == owner}

    def config_key(self, stored: str) -> str:
        """The key under which a configuration has a parameter: `space.optimizer.adamw.lr`."""
        name = ParameterName.parse(stored)
        branch = "optimizer." if name.owner in self.optimizer else ""
        branch = "scheduler." if name.owner in self.scheduler else branch
        owner = f"{branch}{name.owner}." if name.owner else ""
        return f"space.{owner}{name.argument}"

    def names(self) -> list[str]:
        """The stored names of all parameters, of every branch."""
        names: dict[str, None] = {"optimizer": None, "scheduler": None}
        for branches in self._branches({}):
            names |= dict.fromkeys(self._reached(branches))
        return list(names)

    @cached_property
    def searched(self) -> frozenset[str]:
        """The names of all parameters that are searched: `lr`, `sgd.momentum`, `groups.head.lr`.

        They are as users write them, and a rate is named without its coupling.
        """
        own = {
            f"{option}.{argument}": domain
            for options in (self.optimizer, self.scheduler)
            for option, domains in options.items()
            for argument, domain in domains.items()
        }
        domains = {**self.shared, **own}
        return frozenset(name for name, domain in domains.items() if not isinstance(domain, Fixed))

    def parameter(self, stored: str) -> Parameter:
        """What is known of the parameter of a stored name; nothing of the user's own code."""
        parsed = ParameterName.parse(stored)
        owner, name = parsed.owner, parsed.argument
        if owner in OWNERS:
            return FREE
        if owner in self.own and name not in COMMON:
            return Parameter("duration", None) if name in self.own[owner].durations else FREE
        known: dict[str, Parameter] = dict(COMMON)
        if parsed.group:
            known = dict(SHIPPED.get(parsed.group, OWN).parameters)
        if owner in SCHEDULERS:
            known |= SCHEDULERS[owner].parameters
        for optimizer in [owner] if owner in OPTIMIZERS else [*OPTIMIZERS]:
            known = {**OPTIMIZERS[optimizer].parameters, **known}
        return known.get(name, FREE)

    def _branches(self, wanted: Mapping[str, Any]) -> list[dict[str, str]]:
        """The pairs of an optimizer and a scheduler that agree with a setting."""
        return [
            {"optimizer": optimizer, "scheduler": scheduler}
            for optimizer in self.optimizer
            for scheduler in self.scheduler
            if wanted.get("optimizer", optimizer) == optimizer
            and wanted.get("scheduler", scheduler) == scheduler
        ]

    def _reached(self, branches: Mapping[str, str]) -> list[str]:
        """The stored names of the parameters of one pair."""
        names: list[str] = []

        def choose(name: str, domain: Domain) -> Any:
            names.append(name)
            return branches.get(name, domain.ends()[0])

        self.recipe(choose)
        return names

    def implied(self, wanted: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """The branches that a setting does not name but determines.

        Each with its option and a parameter that only this option has: `lr` may be of `sgd` alone.
        """
        pairs = self._branches(wanted)
        fitting = [pair for pair in pairs if wanted.keys() <= {*self._reached(pair)}]
        implied: dict[str, tuple[str, str]] = {}
        for branch, options in (("optimizer", self.optimizer), ("scheduler", self.scheduler)):
            if branch in wanted or len(options) == 1 or len({p[branch] for p in fitting}) != 1:
                continue
            option = fitting[0][branch]
            others = [{**fitting[0], branch: other} for other in options if other != option]
            reached = [self._reached(pair) for pair in others]
            lacking = [name for name in wanted if any(name not in names for names in reached)]
            implied[branch] = option, lacking[0]
        return implied

    def parameters_for(self, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Convert a setting by hand to parameters of a trial; return them and the problems.

        Branches that it implies are included; all else that it leaves out is up to the sampler.
        """
        wanted = dict(wanted) | {name: option for name, (option, _) in self.implied(wanted).items()}
        # Where no pair fits, the one that fits most makes the most helpful message.
        branches: dict[str, str] = max(
            self._branches(wanted),
            key=lambda pair: len(wanted.keys() & {*self._reached(pair)}),
            default={},
        )
        parameters: dict[str, Any] = {}
        problems: list[str] = []
        reached: list[str] = []

        def choose(name: str, domain: Domain) -> Any:
            reached.append(name)
            if name not in wanted:
                return branches.get(name, domain.ends()[0])
            problem = domain.problem(wanted[name])
            if problem:
                problems.append(f"{name}: {problem}")
                return domain.ends()[0]
            parameters.update(domain.stored(name, wanted[name]))
            return wanted[name]

        self.recipe(choose)
        problems += [
            self._no_such_parameter(name, reached) for name in wanted if name not in reached
        ]
        return parameters, problems

    def _no_such_parameter(self, name: str, reached: Sequence[str]) -> str:
        """The problem with a name that no parameter of the setting has."""
        elsewhere = [
            stored
            for stored in self.names()
            if stored == name or ParameterName.parse(stored).argument == name
        ]
        advice = closest(name, reached)
        if elsewhere and not {*elsewhere} & {*reached}:
            advice = f": {elsewhere[0]} goes with another optimizer or scheduler"
        return f"{name}: no such parameter here{advice} (this setting has {', '.join(reached)})"


def branch_domain(options: Options) -> Domain:
    """The domain of a branch: its options, or the only one as a fixed value."""
    names = tuple(options)
    return Fixed(names[0]) if len(names) == 1 else Choices(names)


def give_each_its_own(
    shared: dict[str, Domain], optimizer: Mapping[str, dict[str, Domain]]
) -> None:
    """Replace a shared rate of `auto` by one for each optimizer that has none, in place.

    The rates of different optimizers differ by decades.
    """
    without = [parameters for parameters in optimizer.values() if "lr" not in parameters]
    if isinstance(shared.get("lr"), Auto) and len(without) != 1:
        for parameters in without:
            parameters["lr"] = shared["lr"]
        del shared["lr"]
