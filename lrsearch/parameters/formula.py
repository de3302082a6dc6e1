"""Formulas of `epoch`, `progress` and `step`: a small, safe subset of Python, run without eval."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_FUNCTIONS: dict[str, Callable[..., float]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "log": math.log,
    "max": max,
    "min": min,
    "sin": math.sin,
    "sqrt": math.sqrt,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    # On floats: a power of integers could fill the memory, and math.pow refuses complex roots.
    ast.Pow: lambda base, exponent: math.pow(base, exponent),
}
_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
VARIABLES = ("epoch", "progress", "step")
_FEWEST_ARGUMENTS = {"max": 2, "min": 2}
_MOST_ARGUMENTS = {"log": 2, "max": math.inf, "min": math.inf}
"""The most arguments of the functions that take more than one."""
_LONGEST = 4000
_DEEPEST = 100
"""Levels of nesting; each takes a few of Python's stack frames, which are limited to 1,000."""

Value = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Formula:
    """A valid formula; `source` is an expression of Python after `from math import *`."""

    source: str

    def __post_init__(self) -> None:
        """Raise ValueError if it is not a formula, or a constant part has no finite value."""
        if len(self.source) > _LONGEST:
            raise ValueError(f"a formula of {len(self.source)} characters is too long")
        tree = _parsed(self.source)
        if _depth(tree) > _DEEPEST:
            raise ValueError(
                f"the formula {_shortened(self.source)!r} is nested too deep: "
                f"{_DEEPEST} levels at most"
            )
        _compile(tree)
        for node in ast.walk(tree):
            _check_constant(node, self.source.strip())

    @property
    def names(self) -> frozenset[str]:
        """The names in the formula: variables, functions and constants."""
        nodes = ast.walk(_parsed(self.source))
        return frozenset(node.id for node in nodes if isinstance(node, ast.Name))

    def function(self, steps_per_epoch: int, steps: int) -> Callable[[int], float]:
        """The formula as a function of the step; `epoch` is an integer, `progress` from 0 to 1."""
        value = _compile(_parsed(self.source))

        def at(step: int) -> float:
            names = {"step": step, "epoch": step // steps_per_epoch, "progress": step / steps}
            return value(names)

        return at

    def of_step(self, steps_per_epoch: int, steps: int, offset: int = 0) -> str:
        """The formula as Python source in `step` alone, where `step` is counted from `offset`."""
        step: ast.expr = ast.Name("step", ast.Load())
        if offset:
            step = ast.BinOp(step, ast.Add(), ast.Constant(offset))
        replacements: dict[str, ast.expr] = {
            "step": step,
            "epoch": ast.BinOp(step, ast.FloorDiv(), ast.Constant(steps_per_epoch)),
            "progress": ast.BinOp(step, ast.Div(), ast.Constant(steps)),
        }

        class Substitute(ast.NodeTransformer):
            def visit_Name(self, node: ast.Name) -> ast.expr:
                return replacements.get(node.id, node)

        return ast.unparse(Substitute().visit(_parsed(self.source)))


def of_step_alone(source: str) -> Callable[[int], float]:
    """Source made from the output of `Formula.of_step`, as a function of the step.

    It may be longer and deeper than a formula of a user.
    """
    value = _compile(_parsed(source))
    return lambda step: value({"step": step})


def _parsed(source: str) -> ast.expr:
    try:
        return ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{_shortened(source)!r} is not a formula: {error}") from None


def _depth(tree: ast.expr) -> int:
    """Levels of nesting, counted without recursion, which a deep formula would exhaust."""
    deepest, left = 0, [(1, tree)]
    while left:
        depth, node = left.pop()
        deepest = max(deepest, depth)
        left += [
            (depth + 1, child)
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.expr)
        ]
    return deepest


def _check_constant(node: ast.AST, source: str) -> None:
    """Raise ValueError for a part without variables that has no finite value."""
    if not isinstance(node, ast.expr) or isinstance(node, ast.Name):
        return
    if any(isinstance(part, ast.Name) and part.id in VARIABLES for part in ast.walk(node)):
        return
    try:
        value = float(_compile(node)({}))
    except (ArithmeticError, ValueError) as error:
        problem = str(error)
    else:
        if math.isfinite(value):
            return
        problem = "it is too large"
    shown = _shortened(ast.get_source_segment(source, node) or source)
    raise ValueError(f"{shown!r} cannot be computed in a formula: {problem}")


def _check_arguments(name: str, node: ast.Call) -> None:
    """Raise ValueError if a function has too few or too many arguments."""
    fewest, most = _FEWEST_ARGUMENTS.get(name, 1), _MOST_ARGUMENTS.get(name, 1)
    if fewest <= len(node.args) <= most:
        return
    takes = (
        f"at least {fewest} arguments"
        if most == math.inf
        else "1 argument"
        if most == 1
        else f"{fewest} or {most} arguments"
    )
    shown = _shortened(ast.unparse(node))
    raise ValueError(f"{name} takes {takes} in a formula, not {len(node.args)}: {shown!r}")


def _shortened(source: str) -> str:
    return source if len(source) <= 80 else f"{source[:77]}..."


def _compile(node: ast.expr) -> Value:
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            return lambda names: number
        case ast.Name(id=name) if name in VARIABLES:
            return lambda names: names[name]
        case ast.Name(id=name) if name in _CONSTANTS:
            return lambda names: _CONSTANTS[name]
        case ast.Name(id=name):
            raise ValueError(
                f"{name!r} is unknown in a formula: use {', '.join(VARIABLES)}, "
                f"{', '.join(_CONSTANTS)}, {', '.join(_FUNCTIONS)}"
            )
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _compile(operand)
            return lambda names: -inner(names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            first, second, apply = _compile(left), _compile(right), _BINARY[type(op)]
            return lambda names: apply(first(names), second(names))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            first, second, compare = _compile(left), _compile(right), _COMPARE[type(op)]
            return lambda names: compare(first(names), second(names))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            condition, yes, no = _compile(test), _compile(body), _compile(orelse)
            return lambda names: yes(names) if condition(names) else no(names)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            _check_arguments(name, node)
            function, arguments = _FUNCTIONS[name], [_compile(argument) for argument in args]
            return lambda names: function(*(argument(names) for argument in arguments))
    raise ValueError(f"{ast.unparse(node)!r} is not allowed in a formula")
