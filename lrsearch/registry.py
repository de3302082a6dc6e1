"""Components: what a name, or a dotted path to the user's own code, stands for in a configuration.

Every noun of a configuration (optimizer, scheduler, model, sampler, ...) has a `Registry` of
`Component`s. Wherever a name of it may stand, `{_target_: mypkg.Thing, ...}` may stand.
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from lrsearch.errors import UserError
from lrsearch.own_code import check_arguments, load_target
from lrsearch.parameters.parameter import Kind, Parameter
from lrsearch.text.hints import as_given, unknown

TARGET = "_target_"
"""The key of a dotted path to the user's own code."""
DURATIONS = "_durations_"
"""The key, in a record, of the names of arguments that are durations."""
_SILENT = frozenset({"Optional", "Union", "None", "typing", "t"})
"""Words of an annotation that do not say of what type a value is."""


@dataclass(frozen=True)
class Component:
    """Something that a configuration can name: a callable and its parameters.

    Nouns that must know more about their components have frozen subclasses.
    """

    name: str
    target: Callable[..., Any] | str
    """A callable, or the dotted path of one, which is imported when it is first needed."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """Those that a configuration can give."""
    help: str = ""
    """One line."""
    is_own: bool = False
    """Whether it is the user's own code."""

    def load(self) -> Any:
        """The callable itself. Raises UserError or OwnCodeError where it cannot be imported."""
        return load_target(self.target, self.name) if isinstance(self.target, str) else self.target

    @property
    def path(self) -> str:
        """The dotted path of the callable."""
        if isinstance(self.target, str):
            return self.target
        return f"{self.target.__module__}.{self.target.__qualname__}"

    def complete(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with the defaults of what is not given; user code has its own."""
        if self.is_own:
            return dict(arguments)
        defaults = {name: one.default for name, one in self.parameters.items() if not one.required}
        return defaults | dict(arguments)

    def problems(self, path: str, arguments: Mapping[str, Any]) -> list[str]:
        """A line for each unknown name, bad value and missing argument.

        Of the user's own code the values alone are checked here: its names were checked against
        its signature when the component was made.
        """
        found = []
        for name, value in arguments.items():
            if name in self.parameters:
                problem = self.parameters[name].problem(value)
                found += [f"{path}.{name}: {problem}"] if problem else []
            elif not self.is_own:
                found.append(f"{path}.{name}: {unknown(name, self.parameters)}")
        found += [
            f"{path}.{name} is missing: {self.name} needs it"
            for name, parameter in self.parameters.items()
            if parameter.required and name not in arguments and not self.is_own
        ]
        return found


@dataclass(frozen=True)
class ComponentConfig:
    """A component as a configuration names it, with its arguments.

    For the user's own code `target` is its dotted path, and `name` the word it goes by.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None
    durations: tuple[str, ...] = ()
    """Names of arguments of the user's own code that are durations."""

    @classmethod
    def own_code(
        cls, target: str, arguments: Mapping[str, Any] | None = None, name: str | None = None
    ) -> ComponentConfig:
        """The user's own code by its dotted path, which also names it unless `name` is given."""
        return cls(name or target, arguments or {}, target)

    @property
    def own(self) -> bool:
        """Whether it is the user's own code."""
        return self.target is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML; `from_dict` reads them back."""
        plain: dict[str, Any] = {"name": self.name}
        if self.target is not None:
            plain[TARGET] = self.target
        if self.durations:
            plain[DURATIONS] = list(self.durations)
        return plain | listed(self.arguments)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any] | str) -> ComponentConfig:
        """The inverse of `to_dict`; a name alone is a component without arguments."""
        arguments = {"name": plain} if isinstance(plain, str) else dict(plain)
        target = arguments.pop(TARGET, None)
        durations = tuple(arguments.pop(DURATIONS, ()))
        name = str(arguments.pop("name", target or ""))
        return cls(name, arguments, target, durations)


C = TypeVar("C", bound=Component, covariant=True)


class Registry(Mapping[str, C], Generic[C]):
    """The components of one noun, by name."""

    def __init__(
        self,
        noun: str,
        components: Iterable[C],
        where: str,
        leading: int = 0,
        offered: Collection[str] = (),
    ) -> None:
        """`where` is the key of a configuration that names one; `leading` is how many positional
        arguments lrsearch itself gives the callable of a user's component, `offered` the names of
        those that it gives where the signature has them.
        """
        self.noun, self.where, self.leading, self.offered = noun, where, leading, offered
        self.components = {one.name: one for one in components}

    def __getitem__(self, name: str) -> C:
        return self.components[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.components)

    def __len__(self) -> int:
        return len(self.components)

    def unknown(self, name: object, *others: str) -> str:
        """What to say of a name that is not in the registry; `others` may stand there, too."""
        return unknown(name, [*self, *others, f"{TARGET}: mypkg.{self.noun}"])

    def read(self, node: Any, path: str, problems: list[str]) -> ComponentConfig | None:
        """What a node names: `cosine`, `{name: cosine, ...}` or `{_target_: mypkg.Mine, ...}`.

        Imports nothing, so arguments of the user's own code are not checked. None where `problems`
        got any.
        """
        if isinstance(node, str):
            node = {"name": node}
        if not isinstance(node, Mapping):
            problems.append(f"{path}: {self.unknown(node)}")
            return None
        arguments = dict(node)
        if arguments.get(TARGET) is not None:
            if arguments.get("name") in self.components:
                del arguments["name"]  # of the component that the user's own replaces
            return read_own(arguments, path, problems)
        arguments.pop(TARGET, None)
        name = arguments.pop("name", None)
        if name not in self.components:
            problems.append(f"{path}: {self.unknown(name)}")
            return None
        wrong = self[str(name)].problems(path, arguments)
        problems.extend(wrong)
        return None if wrong else ComponentConfig(str(name), arguments)

    def component(self, config: ComponentConfig) -> Component:
        """The component that is meant; for user code it is made from the signature.

        Raises UserError where user code cannot be imported or does not take the arguments.
        """
        if config.target is None:
            return self[config.name]
        return own_component(config, self.where, self.leading, self.offered)


def read_own(node: Mapping[str, Any], path: str, problems: list[str]) -> ComponentConfig | None:
    """The user's own code that a node with `_target_` names; nothing is imported."""
    arguments = dict(node)
    dotted = arguments.pop(TARGET, None)
    if not isinstance(dotted, str) or not is_dotted(dotted):
        example = path.rpartition(".")[2]
        problems.append(
            f"{path}.{TARGET}: {as_given(dotted)} is not a dotted path such as mypkg.{example}"
        )
        return None
    return ComponentConfig.own_code(dotted, arguments)


def is_dotted(text: str) -> bool:
    """Whether `import` takes it: exported scripts import it, too."""
    words = text.split(".")
    return len(words) > 1 and all(w.isidentifier() and not keyword.iskeyword(w) for w in words)


def own_component(
    config: ComponentConfig, path: str, leading: int = 0, offered: Collection[str] = ()
) -> Component:
    """The component of user code with fixed arguments.

    lrsearch gives the first `leading` arguments by position and can give those named in `offered`.
    Raises UserError, beginning with `path`, or OwnCodeError.
    """
    assert config.target is not None
    component = component_from(config.target, config.name, path, config.arguments, leading, offered)
    if wrong := component.problems(path, config.arguments):
        raise UserError("\n".join(wrong))
    return component


def component_from(
    target: str,
    name: str,
    path: str,
    given: Collection[str],
    leading: int = 0,
    offered: Collection[str] = (),
) -> Component:
    """The component of user code whose arguments named in `given` will be given.

    Its parameters are those of its signature. Raises as `own_component` does.
    """
    function = load_target(target, path)
    check_arguments(function, given, path, offered=offered, positional=leading)
    return Component(name, target, parameters_of(function, leading), is_own=True)


def parameters_of(function: Callable[..., Any], leading: int = 0) -> dict[str, Parameter]:
    """The parameters of a callable that can be given by name, without the first `leading` ones.

    Their types are those of the annotations. Where there is none, a default of float, bool or a
    list says it; a whole default does not, because many write `dropout=0`.
    """
    try:
        signature = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # of some functions in C it is not known
        return {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {one.name: _parameter(one) for one in signature[leading:] if one.kind in by_name}


def _parameter(one: inspect.Parameter) -> Parameter:
    required = one.default is one.empty
    default = None if required else one.default
    kind: Kind = "any"
    if isinstance(default, list | tuple):
        kind = "list"
    elif one.annotation is not one.empty:
        kind = _annotated(one.annotation, default)
    elif isinstance(default, bool):
        kind = "bool"
    elif isinstance(default, float):
        kind = "float"
    return Parameter(kind, default, required=required)


def _annotated(annotation: Any, default: Any) -> Kind:
    """The kind of `int`, `float | None`, `Optional[bool]` and the like, as text or as types."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    words = set(re.findall(r"\w+", text))
    if words & {"None", "Optional"} and default is not None:
        return "any"  # a parameter says that it can be null by that being its default
    kinds: dict[frozenset[str], Kind] = {
        frozenset({"int"}): "int",
        frozenset({"float"}): "float",
        frozenset({"int", "float"}): "float",
        frozenset({"bool"}): "bool",
        frozenset({"str"}): "text",
    }
    return kinds.get(frozenset(words - _SILENT), "any")


def listed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with lists for tuples, as JSON has them."""

    def plain(value: Any) -> Any:
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return {name: plain(value) for name, value in arguments.items()}
