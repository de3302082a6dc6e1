"""Formulas of `epoch`, `progress` and `step`: a small, safe subset of Python, never eval'd."""

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
    # Floats alone: an integer power could fill the memory, and a root of a negative is no rate.
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
_LONGEST = 4000

Value = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Formula:
    """A parsed formula; `source` is valid Python where `from math import *` stands."""

    source: str

    def __post_init__(self) -> None:
        self._compiled()  # raises ValueError at once

    def _compiled(self) -> Value:
        if len(self.source) > _LONGEST:
            raise ValueError(f"a formula of {len(self.source)} characters is too long")
        try:
            tree = ast.parse(self.source.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ValueError(f"{self.source!r} is not a formula: {error}") from None
        return _compile(tree.body)

    def function(self, steps_per_epoch: int, steps: int) -> Callable[[int], float]:
        """The formula as a function of the step; `epoch` is whole, `progress` goes to 1."""
        value = self._compiled()

        def at(step: int) -> float:
            names = {"step": step, "epoch": step // steps_per_epoch, "progress": step / steps}
            return value(names)

        return at

    def of_step(self, steps_per_epoch: int, steps: int, offset: int = 0) -> str:
        """The formula as Python source in `step` alone, `step` counted from `offset`."""
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

        return ast.unparse(Substitute().visit(ast.parse(self.source.strip(), mode="eval")))


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
            function, arguments = _FUNCTIONS[name], [_compile(argument) for argument in args]
            return lambda names: function(*(argument(names) for argument in arguments))
    raise ValueError(f"{ast.unparse(node)!r} is not allowed in a formula")
