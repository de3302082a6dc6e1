"""Components: the callables that a configuration names, from the catalogue or the user's own code.

Every noun of a configuration (optimizer, scheduler, model, sampler, ...) has a `Registry` of
`Component`s. Where a configuration may have a name of a registry, it may have
`{_target_: mypkg.Thing, ...}` instead.
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from lrsearch.errors import UserError
from lrsearch.own_code import check_arguments, load_target
from lrsearch.parameters.parameter import Kind, Parameter
from lrsearch.text.hints import as_given, unknown

TARGET = "_target_"
"""The configuration key of a dotted path to the user's own code."""
DURATIONS = "_durations_"
"""The key, in a stored recipe, of the names of arguments that are durations."""
_SILENT = frozenset({"Optional", "Union", "None", "typing", "t"})
"""Words of an annotation that do not name the type of a value."""


@dataclass(frozen=True)
class Component:
    """A callable that a configuration can name, and its parameters.

    Registries whose components need further facts use frozen subclasses.
    """

    name: str
    target: Callable[..., Any] | str
    """A callable, or its dotted path, which is imported when it is first needed."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """The parameters that a configuration can set."""
    help: str = ""
    """A description in one line."""
    is_own: bool = False
    """Whether it is the user's own code."""

    def load(self) -> Any:
        """Return the callable. Raises UserError or OwnCodeError if it cannot be imported."""
        return load_target(self.target, self.name) if isinstance(self.target, str) else self.target

    @property
    def path(self) -> str:
        """The dotted path of the callable."""
        if isinstance(self.target, str):
            return self.target
        return f"{self.target.__module__}.{self.target.__qualname__}"

    def complete(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Add the defaults of missing arguments; for user code its signature does that."""
        if self.is_own:
            return dict(arguments)
        defaults = {
            name: parameter.default
            for name, parameter in self.parameters.items()
            if not parameter.required
        }
        return defaults | dict(arguments)

    def problems(self, path: str, arguments: Mapping[str, Any]) -> list[str]:
        """A line for each unknown name, bad value and missing argument; `path` begins each line.

        For the user's own code only the values are checked here: the names were checked against
        the signature when the component was made.
        """
        problems = []
        for name, value in arguments.items():
            if name in self.parameters:
                problem = self.parameters[name].problem(value)
                problems += [f"{path}.{name}: {problem}"] if problem else []
            elif not self.is_own:
                problems.append(f"{path}.{name}: {unknown(name, self.parameters)}")
        problems += [
            f"{path}.{name} is missing: {self.name} needs it"
            for name, parameter in self.parameters.items()
            if parameter.required and name not in arguments and not self.is_own
        ]
        return problems


@dataclass(frozen=True)
class ComponentConfig:
    """A component named by a configuration, with its arguments.

    For the user's own code `target` is its dotted path, and `name` its name in results.
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
        """The user's own code at the dotted path `target`, which is the default of `name`."""
        return cls(name or target, arguments or {}, target)

    @property
    def own(self) -> bool:
        """Whether it is the user's own code."""
        return self.target is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML, which `from_dict` reads."""
        plain: dict[str, Any] = {"name": self.name}
        if self.target is not None:
            plain[TARGET] = self.target
        if self.durations:
            plain[DURATIONS] = list(self.durations)
        return plain | listed(self.arguments)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any] | str) -> ComponentConfig:
        """Read the output of `to_dict`, or a name alone for a component without arguments."""
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
        """Register the components of a noun, whose configuration key is `where`.

        A user's callable is called by lrsearch with `leading` positional arguments, and with those
        named in `offered` if its signature has them.
        """
        self.noun, self.where, self.leading, self.offered = noun, where, leading, offered
        self.components = {component.name: component for component in components}

    def __getitem__(self, name: str) -> C:
        return self.components[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.components)

    def __len__(self) -> int:
        return len(self.components)

    def unknown(self, name: object, *others: str) -> str:
        """The message for a name that is not in the registry; `others` are valid values, too."""
        return unknown(name, [*self, *others, f"{TARGET}: mypkg.{self.noun}"])

    def read(self, node: Any, path: str, problems: list[str]) -> ComponentConfig | None:
        """Read a node: `cosine`, `{name: cosine, ...}` or `{_target_: mypkg.Thing, ...}`.

        Nothing is imported, so arguments of the user's own code are not checked. Returns None
        after adding to `problems`, a line each.
        """
        if isinstance(node, str):
            node = {"name": node}
        if not isinstance(node, Mapping):
            problems.append(f"{path}: {self.unknown(node)}")
            return None
        arguments = dict(node)
        if arguments.get(TARGET) is not None:
            if arguments.get("name") in self.components:
                del arguments["name"]  # names the component that the user's own code replaces
            return read_own(arguments, path, problems)
        arguments.pop(TARGET, None)
        name = arguments.pop("name", None)
        if name not in self.components:
            problems.append(f"{path}: {self.unknown(name)}")
            return None
        wrong = self[str(name)].problems(path, arguments)
        problems.extend(wrong)
        return None if wrong else ComponentConfig(str(name), arguments)

    def complete(self, config: ComponentConfig, problems: list[str]) -> ComponentConfig:
        """Fill the defaults in; what is wrong with the component goes to `problems`.

        The user's own code is not imported: recipes are read where it is not installed. Its
        arguments were checked with the configuration.
        """
        if config.target is not None:
            return replace(config, arguments=listed(config.arguments))
        component = self.components.get(config.name)
        if component is None:
            problems.append(f"{self.noun}: {unknown(config.name, self)}")
            return config
        problems.extend(component.problems(config.name, config.arguments))
        return replace(config, arguments=listed(component.complete(config.arguments)))

    def component(self, config: ComponentConfig) -> Component:
        """The component of a configuration; for user code it is made from the signature.

        Raises UserError or OwnCodeError if user code cannot be imported, and UserError if it does
        not take the arguments.
        """
        if config.target is None:
            return self[config.name]
        return own_component(config, self.where, self.leading, self.offered)


def read_own(node: Mapping[str, Any], path: str, problems: list[str]) -> ComponentConfig | None:
    """Read a node with `_target_`; nothing is imported.

    Returns None after adding to `problems`.
    """
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
    """Whether a text is a dotted path of valid names, as exported scripts must import it."""
    words = text.split(".")
    return len(words) > 1 and all(w.isidentifier() and not keyword.iskeyword(w) for w in words)


def own_component(
    config: ComponentConfig, path: str, leading: int = 0, offered: Collection[str] = ()
) -> Component:
    """The component of user code, after its arguments were checked.

    lrsearch gives the first `leading` arguments by position and can give those named in `offered`.

    Raises UserError, whose lines begin with `path`, if the code cannot be imported or does not take
    the arguments, and OwnCodeError if importing it fails.
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
    arguments: Collection[str],
    leading: int = 0,
    offered: Collection[str] = (),
) -> Component:
    """The component of user code that must take the arguments named in `arguments`.

    Its parameters are those of its signature. Raises the errors of `own_component`.
    """
    function = load_target(target, path)
    check_arguments(function, arguments, path, offered=offered, positional=leading)
    return Component(name, target, parameters_of(function, leading), is_own=True)


def parameters_of(function: Callable[..., Any], leading: int = 0) -> dict[str, Parameter]:
    """The parameters of a callable that can be given by name, without the first `leading` ones.

    Their kinds come from the annotations, or else from defaults of type float, bool or list. A
    default of type int does not count, because many write `dropout=0` for a float.
    """
    try:
        signature = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some functions written in C have no signature
        return {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        argument.name: _parameter(argument)
        for argument in signature[leading:]
        if argument.kind in by_name
    }


def _parameter(argument: inspect.Parameter) -> Parameter:
    """An argument of a signature as a parameter."""
    required = argument.default is argument.empty
    default = None if required else argument.default
    kind: Kind = "any"
    if isinstance(default, list | tuple):
        kind = "list"
    elif argument.annotation is not argument.empty:
        kind = _annotated(argument.annotation, default)
    elif isinstance(default, bool):
        kind = "bool"
    elif isinstance(default, float):
        kind = "float"
    return Parameter(kind, default, required=required)


def _annotated(annotation: Any, default: Any) -> Kind:
    """The kind of an annotation (a text or a type) such as `int`, `float | None`, `Optional[bool]`.

    It is "any" for other annotations.
    """
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    words = set(re.findall(r"\w+", text))
    if words & {"None", "Optional"} and default is not None:
        return "any"  # other kinds accept null only as the default
    kinds: dict[frozenset[str], Kind] = {
        frozenset({"int"}): "int",
        frozenset({"float"}): "float",
        frozenset({"int", "float"}): "float",
        frozenset({"bool"}): "bool",
        frozenset({"str"}): "text",
    }
    return kinds.get(frozenset(words - _SILENT), "any")


def listed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with tuples turned into lists, at every depth, as JSON reads them."""

    def plain(value: Any) -> Any:
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return {name: plain(value) for name, value in arguments.items()}
