"""Hard clinical rules, evaluated on synthetic patients: whoever breaks one is drawn again. A rule looks at no real patient,
so drawing again costs nothing (DESIGN.md, rule 8).

An expression is Python's syntax for comparisons, `and`, `or`, `not` and arithmetic over the table's columns, the patient's own
row and `previous(x)`; it is walked, never executed. What cannot be told because a value is missing holds.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthgen.dictionary import Column, Dictionary, Rule
from synthgen.errors import ConfigError
from synthgen.values import codes

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


def breakers(tables: dict[str, pd.DataFrame], dictionary: Dictionary) -> set[str]:
    """Ids of the patients who break a hard rule anywhere.

    Raises:
        ConfigError: for an expression that cannot be read.
    """
    broken: set[str] = set()
    for rule in dictionary.rules:
        if rule.severity == "hard" and rule.table in tables:
            frame = tables[rule.table]
            broken |= set(frame["patient_id"].to_numpy()[breaches(rule, tables, dictionary)])
    return broken


def breaches(rule: Rule, tables: dict[str, pd.DataFrame], dictionary: Dictionary) -> NDArray[np.bool_]:
    """[rows of the rule's table] where the rule certainly does not hold."""
    try:
        tree = ast.parse(rule.expression, mode="eval").body
    except SyntaxError:
        raise ConfigError(f"rules.{rule.name}: the expression cannot be read; see docs/configuration.md") from None
    true, known = _Scope(rule, tables, dictionary).truth(tree)
    return np.asarray(~true & known)


class _Scope:
    """The columns an expression may name, as codes (with -1) or numbers (with NaN)."""

    def __init__(self, rule: Rule, tables: dict[str, pd.DataFrame], dictionary: Dictionary) -> None:
        self.rule = rule
        self.frame = tables[rule.table]
        self.patients = tables["patients"].set_index("patient_id")
        self.columns = dictionary.tables["patients"].columns | dictionary.tables[rule.table].columns
        patient = self.frame["patient_id"].to_numpy()
        self.first = np.concatenate([[True], patient[1:] != patient[:-1]])[: len(patient)]

    def truth(self, node: ast.expr) -> tuple[Array, Array]:
        """(where it is true, where that can be told), in three-valued logic."""
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(value) for value in node.values]
            unite = isinstance(node.op, ast.Or)
            decided = np.any([known & (true == unite) for true, known in parts], axis=0)
            every = np.all([known for _, known in parts], axis=0)
            return np.where(decided, unite, not unite), decided | every
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            true, known = self.truth(node.operand)
            return ~true, known
        if isinstance(node, ast.Compare):
            return self._compare(node)
        raise self._unreadable()

    def _compare(self, node: ast.Compare) -> tuple[Array, Array]:
        sides = [node.left, *node.comparators]
        true, known = np.ones(len(self.frame), bool), np.ones(len(self.frame), bool)
        for left, kind, right in zip(sides, node.ops, sides[1:], strict=False):
            if type(kind) not in _COMPARE:
                raise self._unreadable()
            a, b = self._value(left, self._discrete(right)), self._value(right, self._discrete(left))
            known &= ~(np.isnan(a) | np.isnan(b))
            true &= _COMPARE[type(kind)](a, b)
        return true, known

    def _discrete(self, node: ast.expr) -> Column | None:
        """The column of categories that a side names, so that a word on the other side can be looked up in it."""
        if isinstance(node, ast.Call) and node.args:
            return self._discrete(node.args[0])
        if isinstance(node, ast.Name) and node.id in self.columns and self.columns[node.id].discrete:
            return self.columns[node.id]
        return None

    def _value(self, node: ast.expr, other: Column | None) -> NDArray[np.float64]:
        """[rows] numbers; categories by their position, NaN where missing."""
        if isinstance(node, ast.Constant):
            if other is not None and str(node.value) in (other.categories or ()):
                return np.full(len(self.frame), float((other.categories or ()).index(str(node.value))))
            if isinstance(node.value, int | float) and not isinstance(node.value, bool):
                return np.full(len(self.frame), float(node.value))
        if isinstance(node, ast.Name):
            return self._column(node.id)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            with np.errstate(divide="ignore", invalid="ignore"):
                out: NDArray[np.float64] = _ARITHMETIC[type(node.op)](
                    self._value(node.left, None), self._value(node.right, None)
                )
            return out
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._value(node.operand, None)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "previous"
            and len(node.args) == 1
        ):
            now = self._value(node.args[0], None)
            before = np.concatenate([[np.nan], now[:-1]])[: len(now)]
            return np.where(self.first, np.nan, before)
        raise self._unreadable()

    def _column(self, name: str) -> NDArray[np.float64]:
        if name not in self.columns:
            raise ConfigError(f"rules.{self.rule.name}: {name} is no column of {self.rule.table} or patients")
        column = self.columns[name]
        series = self.frame[name] if name in self.frame else self.frame["patient_id"].map(self.patients[name])
        if column.discrete:
            position = codes(column, series.astype("category"))
            return np.where(position < 0, np.nan, position).astype(np.float64)
        values: NDArray[np.float64] = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return values

    def _unreadable(self) -> ConfigError:
        return ConfigError(
            f"rules.{self.rule.name}: an expression may hold comparisons, and, or, not, + - * /, columns and previous(x)"
        )
