"""Cause: do the arrows and independences that the dictionary declares hold in synthetic patients as they do in real ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fidelity.verdict import Views, judged
from fidelity.view import View, once
from synthgen.findings import Evidence, Finding

if TYPE_CHECKING:
    from synthgen.dictionary import Graph

Floats = NDArray[np.float64]
Z = 1.959964


@dataclass(frozen=True)
class Statement:
    """`first` and `second` depend on each other given `given` (an edge), or do not (`edge` is false)."""

    first: str
    second: str
    given: tuple[str, ...]
    edge: bool

    @property
    def name(self) -> str:
        """How a person refers to it."""
        given = f" given {', '.join(self.given)}" if self.given and not self.edge else ""
        return f"{self.first} {'->' if self.edge else 'and'} {self.second}{given}"


class Causal:
    """Conditional-independence tests of what the dictionary's `graph` declares, by Fisher's z of partial rank correlations at the
    first visit (alpha .05; the outcome's status stands for time to the first event, as martingale residuals). `agreement`: share
    of statements on which a test comes out as in the training patients (none, positive, negative). `strength`: mean absolute
    difference of Fisher's z of the partial correlations. Then one line a statement, for information, which also says whether
    real patients bear it out at all: a declared arrow that they do not is a doubt about the graph."""

    name = "causal"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if not statements(evidence.dictionary.graph):
            return []
        views = Views.of(evidence)
        agree = "How often tests of the declared causal graph come out as in real patients"
        strength_text = "How far the strength of the declared graph's relations is off"
        return [
            *judged(self.name, "agreement", agree, agreement, views, "higher"),
            *judged(self.name, "strength", strength_text, strength, views, "lower"),
            *_statements(views.alike()),
        ]


def statements(graph: Graph) -> list[Statement]:
    """An edge is tested given its effect's other declared causes."""
    edges = [
        Statement(e.cause, e.effect, tuple(c for c in graph.causes(e.effect) if c != e.cause), True)
        for e in graph.edges
    ]
    return edges + [Statement(*i.between, i.given, False) for i in graph.independences]


def agreement(real: View, other: View) -> float:
    """1: every test comes out the same."""
    ours, theirs = (decisions(*tests(view)) for view in (real, other))
    return float((ours == theirs).mean())


def strength(real: View, other: View) -> float:
    """0 is the same."""
    return float(np.abs(tests(real)[0] - tests(other)[0]).mean())


def decisions(z: Floats, error: Floats) -> NDArray[np.int64]:
    """[statements] -1, 0 or 1: whether a partial correlation differs from none, and in which direction."""
    return np.where(np.abs(z) > Z * error, np.sign(z), 0).astype(np.int64)


@once
def tests(view: View) -> tuple[Floats, Floats]:
    """[statements] Fisher's z of the partial correlation, 0 where it cannot be worked out, and its standard error
    1 / sqrt(n - given - 3) (Fisher 1924)."""
    nodes = _nodes(view)
    found = [_test(nodes, s) for s in statements(view.dictionary.graph)]
    return np.array([z for z, _ in found]), np.array([e for _, e in found])


def _test(nodes: pd.DataFrame, statement: Statement) -> tuple[float, float]:
    values = nodes[[statement.first, statement.second, *statement.given]].to_numpy(dtype=np.float64)
    values = values[~np.isnan(values).any(axis=1)]
    free = len(values) - len(statement.given) - 3
    values = values[:, [True, True, *(values[:, 2:].std(axis=0) > 0)]] if len(values) else values
    if free < 1 or (values[:, :2].std(axis=0) == 0).any():
        return 0.0, float("inf")
    inverse = np.linalg.pinv(np.corrcoef(values, rowvar=False), hermitian=True)
    r = -inverse[0, 1] / np.sqrt(max(inverse[0, 0] * inverse[1, 1], 1e-12))
    return float(np.arctanh(np.clip(r, -0.999, 0.999))), free**-0.5


def _nodes(view: View) -> pd.DataFrame:
    """[patients, named columns] ranks; the outcome's status as martingale residuals without covariates: events - expected."""
    outcome = view.dictionary.outcome
    names = view.dictionary.graph.columns
    frame = view.baseline[[n for n in names if outcome is None or n != outcome.status]].copy()
    if outcome is not None and outcome.status in names:
        frame[outcome.status] = residuals(view)
    return frame.rank()


def residuals(view: View) -> pd.Series[float]:
    """[patients] 1 for an event, else 0, minus the Nelson-Aalen cumulative hazard at the end of follow-up."""
    outcome = view.dictionary.outcome
    assert outcome is not None
    censored = (view.dictionary.tables["patients"].columns[outcome.status].categories or ()).index(outcome.censored)
    known = view.patients[[outcome.time, outcome.status]].dropna()
    time, event = known[outcome.time].to_numpy(), known[outcome.status].to_numpy() != censored
    moments, died = np.unique(time[event], return_counts=True)
    at_risk = len(time) - np.searchsorted(np.sort(time), moments, side="left")
    hazard = np.concatenate([[0.0], np.cumsum(died / np.maximum(at_risk, 1))])
    found = event - hazard[np.searchsorted(moments, time, side="right")]
    return pd.Series(found, index=known.index).reindex(view.patients.index)


def _statements(views: Views) -> list[Finding]:
    found = []
    cohorts = (views.synthetic, views.train, views.holdout, views.floor)
    (z, error), (real, real_error), (second, _), (floor, _) = (tests(view) for view in cohorts)
    said = [decisions(*tests(view)) for view in (views.synthetic, views.train)]
    for i, s in enumerate(statements(views.train.dictionary.graph)):
        if not np.isfinite([error[i], real_error[i]]).all():
            continue
        words = [("apart from chance" if d else "not apart from chance") for d in (said[0][i], said[1][i])]
        text = (
            f"Declared {'cause' if s.edge else 'independence'} {s.name}: partial correlation {np.tanh(z[i]):.2f} in synthetic "
            f"patients ({words[0]}), {np.tanh(real[i]):.2f} in real ones ({words[1]})."
        )
        if s.edge != bool(said[1][i]):
            text += " The real patients themselves do not bear it out."
        ends = np.tanh([z[i] - Z * error[i], z[i] + Z * error[i]])
        found.append(
            Finding(
                "causal",
                "statement",
                float(np.tanh(z[i])),
                "information",
                text,
                low=float(ends[0]),
                high=float(ends[1]),
                n=len(views.synthetic.patients),
                ceiling=float(np.tanh(second[i])),
                floor=float(np.tanh(floor[i])),
                bound=float(np.tanh(real[i])),
                better="target",
                column=s.name,
            )
        )
    return found


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Causal()
