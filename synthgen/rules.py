"""Clinical rules as expressions that a clinician can read, evaluated over whole tables at once.

    implies(ascites == "yes", albumin < 4.5)
    abs(albumin - previous(albumin)) < 0.1 * (day - previous(day))

Names are columns of the rule's table and of the patient's own row in `patients`. `previous(x)` is the same patient's value in
the row before, `first(x)` in their first row, `highest(x)` the highest of all rows before; `known(x)`: whether x is recorded;
`ever(x)`: whether x held in this row or in any before, as in `implies(code == "metformin", not ever(code == "dialysis"))`.
Three-valued logic (Kleene 1952): what rests on a missing value is unknown, and an unknown rule is not broken.
Nothing but comparisons, and/or/not, implies, known, ever, arithmetic, abs, min, max, previous, first and highest can be written:
no attribute, other call or power.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
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
FUNCTIONS = {"previous", "first", "highest", "abs", "min", "max", "implies", "known", "ever"}
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
    return _told(rule, joined(rule.table, tables, dictionary), dictionary)


def joined(table: str, tables: Mapping[str, pd.DataFrame], dictionary: Dictionary) -> pd.DataFrame:
    """A table beside the patients' own columns, sorted by patient and day: what rules are told on."""
    frame = tables[table]
    if "day" in frame:
        frame = frame.sort_values(["patient_id", "day"], kind="stable", ignore_index=True)
    own = [n for n in dictionary.tables["patients"].columns if n not in frame and n in tables["patients"]]
    if not own:
        return frame
    patients = tables["patients"].drop_duplicates("patient_id")
    return frame.merge(patients[["patient_id", *own]], on="patient_id", how="left")


def broken_in(
    rules: Iterable[Rule], tables: Mapping[str, pd.DataFrame], dictionary: Dictionary
) -> Iterator[tuple[Rule, pd.DataFrame | None]]:
    """`broken` for each of many rules; every table is sorted and joined once."""
    ready: dict[str, pd.DataFrame] = {}
    for rule in rules:
        if rule.table in tables and rule.table not in ready:
            ready[rule.table] = joined(rule.table, tables, dictionary)
        yield rule, _told(rule, ready[rule.table], dictionary) if rule.table in ready else None


def _told(rule: Rule, frame: pd.DataFrame, dictionary: Dictionary) -> pd.DataFrame:
    truth = holds(rule, frame, dictionary.tables["patients"].columns | dictionary.tables[rule.table].columns)
    shown = list(dict.fromkeys([k for k in ("patient_id", "day", *sorted(names_in(rule))) if k in frame]))
    can_be_told = ~np.isnan(truth)
    return frame.loc[can_be_told, shown].assign(broken=truth[can_be_told] == 0)


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
    return {node.id for node in ast.walk(_read(rule)) if isinstance(node, ast.Name)} - FUNCTIONS


def words_in(rule: Rule) -> set[str]:
    """The words that a rule compares with."""
    return {n.value for n in ast.walk(_read(rule)) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


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
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            if node.func.id == "implies" and len(node.args) == 2:
                condition, consequence = (np.broadcast_to(self.truth(a), len(self.frame)) for a in node.args)
                return 1 - _all([condition, 1 - consequence])
            if node.func.id == "known" and len(node.args) == 1:
                return np.where(np.isnan(np.broadcast_to(self._number(node.args[0]), len(self.frame))), 0.0, 1.0)
            if node.func.id == "ever" and len(node.args) == 1:
                return self._ever(np.broadcast_to(self.truth(node.args[0]), len(self.frame)))
        raise self._refused("a rule is made of comparisons joined by and, or, not, implies(x, y), known(x) and ever(x)")

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
        raise self._refused(
            "only columns, numbers, words, + - * / and its functions (abs, min, max, previous, ...) may stand in it"
        )

    def _called(self, name: str, values: list[Any]) -> Any:
        if name in ("previous", "first", "highest") and len(values) == 1:
            column = np.broadcast_to(np.asarray(values[0], dtype=np.float64), len(self.frame))
            return {"previous": self._previous, "first": self._first, "highest": self._highest}[name](column)
        if name == "abs" and len(values) == 1:
            return np.abs(values[0])
        if name in ("min", "max") and len(values) > 1:
            return (np.minimum if name == "min" else np.maximum).reduce(np.broadcast_arrays(*values))
        raise self._refused("its functions are previous(x), first(x), highest(x), abs(x), min(x, y) and max(x, y)")

    @cached_property
    def _starts(self) -> NDArray[np.bool_]:
        """[rows] whether a row is its patient's first."""
        ids = pd.factorize(self.frame["patient_id"])[0]
        return np.concatenate([[True], ids[1:] != ids[:-1]]) if len(ids) else np.empty(0, dtype=np.bool_)

    def _previous(self, values: Floats) -> Floats:
        return np.where(self._starts, np.nan, np.roll(values, 1)) if len(values) else values

    def _first(self, values: Floats) -> Floats:
        return values[np.maximum.accumulate(np.where(self._starts, np.arange(len(values)), 0))]

    def _highest(self, values: Floats) -> Floats:
        """Of the rows before; NaN where none of them is recorded."""
        so_far = pd.Series(values).groupby(np.cumsum(self._starts)).cummax().groupby(np.cumsum(self._starts)).ffill()
        return self._previous(np.asarray(so_far, dtype=np.float64))

    def _ever(self, truth: Floats) -> Floats:
        """Kleene's `or` over the rows so far: true once one was, else unknown where any is."""
        rows = pd.DataFrame({"true": truth == 1, "unknown": np.isnan(truth)}).groupby(np.cumsum(self._starts)).cummax()
        return np.where(rows["true"], 1.0, np.where(rows["unknown"], np.nan, 0.0))

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
