"""Clinical rules as expressions that a clinician can read, evaluated over whole tables at once.

    albumin < 4.5 or ascites == "no"
    bilirubin > 0.1 * previous(bilirubin)

Names are columns of the rule's table and of the patient's own row in `patients`; `previous(x)` is the same patient's value in the
row before. Three-valued logic (Kleene 1952): what rests on a missing value is unknown, and an unknown rule is not broken.
Nothing but comparisons, and/or/not, arithmetic, abs, min, max and previous can be written: no attribute, call or power.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.errors import ConfigError
from synthgen.values import codes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synthgen.dictionary import Column, Dictionary, Rule

Floats = NDArray[np.float64]
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_FUNCTIONS = {"previous", "abs", "min", "max"}
_MOST = 2000
"""Characters of an expression."""


def broken(rule: Rule, tables: Mapping[str, pd.DataFrame], dictionary: Dictionary) -> pd.DataFrame | None:
    """The rows at which a rule can be told: `patient_id`, `day` (where the table has one), whether it is `broken`, and the
    columns that it names. None where the rule's table is not among `tables`.

    Raises:
        ConfigError: naming the rule, for an expression that is not of this language or names an unknown column.
    """
    if rule.table not in tables:
        return None
    columns = dictionary.tables["patients"].columns | dictionary.tables[rule.table].columns
    frame, named = tables[rule.table], names_in(rule)
    if "day" in frame:
        frame = frame.sort_values(["patient_id", "day"], kind="stable", ignore_index=True)
    if own := [n for n in named if n in dictionary.tables["patients"].columns and n not in frame]:
        frame = frame.merge(tables["patients"][["patient_id", *own]], on="patient_id", how="left")
    truth = holds(rule, frame, columns)
    shown = list(dict.fromkeys([k for k in ("patient_id", "day", *sorted(named)) if k in frame]))
    return frame[shown].assign(broken=truth == 0)[~np.isnan(truth)]


def holds(rule: Rule, frame: pd.DataFrame, columns: dict[str, Column]) -> Floats:
    """[rows] 1 where the rule holds, 0 where it is broken, NaN where it cannot be told.

    Args:
        frame: the rule's table joined with the patients' columns, sorted by patient and day, with `patient_id`.

    Raises:
        ConfigError: naming the rule, for an expression that is not of this language or names an unknown column.
    """
    tree = _read(rule)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.broadcast_to(_Evaluation(rule, frame, columns).truth(tree), len(frame)).astype(np.float64)


def names_in(rule: Rule) -> set[str]:
    """The columns that a rule names."""
    return {node.id for node in ast.walk(_read(rule)) if isinstance(node, ast.Name)} - _FUNCTIONS


def _read(rule: Rule) -> ast.expr:
    if len(rule.expression) > _MOST:
        raise ConfigError(f"rules.{rule.name}: an expression has at most {_MOST} characters")
    try:
        return ast.parse(rule.expression, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(f"rules.{rule.name}: the expression cannot be read") from None


class _Evaluation:
    """One rule over one table."""

    def __init__(self, rule: Rule, frame: pd.DataFrame, columns: dict[str, Column]) -> None:
        self.rule, self.frame, self.columns = rule, frame, columns

    def truth(self, node: ast.AST) -> Floats:
        """1, 0 or NaN for unknown."""
        if isinstance(node, ast.BoolOp):
            parts = [np.broadcast_to(self.truth(v), len(self.frame)) for v in node.values]
            return _all(parts) if isinstance(node.op, ast.And) else 1 - _all([1 - p for p in parts])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return 1 - self.truth(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return _all([self._compared(*pair) for pair in zip(sides, node.ops, sides[1:], strict=False)])
        raise self._refused("a rule is made of comparisons joined by and, or, not")

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Floats:
        if type(op) not in _COMPARISONS:
            raise self._refused("comparisons are < <= > >= == !=")
        a, b = self._word(left, right), self._word(right, left)
        known = ~(np.isnan(a) | np.isnan(b))
        return np.where(known, _COMPARISONS[type(op)](a, b), np.nan)

    def _word(self, node: ast.expr, other: ast.expr) -> Any:
        """A number; a category is its place among those of the column it is compared with."""
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            return self._number(node)
        for name in self._names(other):
            categories = self.columns[name].categories or ()
            if node.value in categories:
                return np.float64(categories.index(node.value))
        raise self._refused(f"{node.value} is no category of the column it is compared with")

    def _number(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return np.float64(node.value)
        if isinstance(node, ast.Name):
            return self._column(node.id)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return _ARITHMETIC[type(node.op)](self._number(node.left), self._number(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._number(node.operand)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self._called(node.func.id, [self._number(a) for a in node.args])
        raise self._refused("only columns, numbers, words, + - * /, abs, min, max and previous may stand in it")

    def _called(self, name: str, values: list[Any]) -> Any:
        if name == "previous" and len(values) == 1:
            column = pd.Series(np.broadcast_to(values[0], len(self.frame)), index=self.frame.index)
            return column.groupby(self.frame["patient_id"].to_numpy(), sort=False).shift(1).to_numpy()
        if name == "abs" and len(values) == 1:
            return np.abs(values[0])
        if name in ("min", "max") and len(values) > 1:
            return (np.minimum if name == "min" else np.maximum).reduce(np.broadcast_arrays(*values))
        raise self._refused("its functions are previous(x), abs(x), min(x, y) and max(x, y)")

    def _column(self, name: str) -> Floats:
        column = self.columns.get(name)
        if column is None or name not in self.frame or not (column.numeric or column.discrete):
            raise self._refused(f"{name} is no column with numbers or categories")
        if column.numeric:
            return self.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        code = codes(column, self.frame[name].astype("category")).astype(np.float64)
        return np.where(code < 0, np.nan, code)

    def _names(self, node: ast.expr) -> Iterator[str]:
        found = (n.id for n in ast.walk(node) if isinstance(n, ast.Name))
        return (name for name in found if name in self.columns)

    def _refused(self, why: str) -> ConfigError:
        return ConfigError(f"rules.{self.rule.name}: {why}")


def _all(parts: list[Floats]) -> Floats:
    """Kleene's `and`: false where any is false, else unknown where any is unknown."""
    stacked = np.stack(np.broadcast_arrays(*parts))
    false = (stacked == 0).any(axis=0)
    return np.where(false, 0.0, np.where(np.isnan(stacked).any(axis=0), np.nan, 1.0))
