"""Show what was spent on a cohort over all its runs, or set its cap. Only an officer should set a cap: `--by` is recorded."""

from __future__ import annotations

from typing import Annotated

import typer

from synthgen.cli.console import Json, emit
from synthgen.cli.options import WorkspaceOption, workspace


def command(
    cohort: Annotated[str | None, typer.Argument(help="The cohort's name; default: all the ledger knows.")] = None,
    cap: Annotated[float | None, typer.Option(help="A new cap on epsilon over all runs of this cohort.")] = None,
    by: Annotated[str, typer.Option(help="Who answers for the new cap.")] = "",
    folder: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    from privacy.budget import Budget
    from privacy.errors import ConfigError

    ledger = workspace(folder).ledger()
    if cap is not None:
        if cohort is None or not by.strip():
            raise ConfigError("--cap: name the cohort, and with --by the person who answers for it")
        delta = ledger.spent(cohort).delta
        if delta is None:
            raise ConfigError(
                f"{cohort}: the ledger knows no such cohort; its first run sets a cap, which can then be changed"
            )
        ledger.set_cap(cohort, Budget(cap, delta), by)
    spent = [ledger.spent(name) for name in ([cohort] if cohort else ledger.datasets())]
    rows = [
        {
            "cohort": s.dataset,
            "epsilon": s.micro_epsilon / 1e6,
            "micro_epsilon": s.micro_epsilon,
            "delta": s.delta,
            "cap": s.cap.epsilon if s.cap else None,
            "runs": list(s.runs),
            "history": [dict(e.content) | {"number": e.number} for e in ledger.history(s.dataset)],
        }
        for s in spent
    ]
    words = [
        f"{s.dataset}: epsilon {s.micro_epsilon / 1e6:.6f} of {s.cap.epsilon if s.cap else 0:g} at delta {s.delta or 0:g}, "
        f"{len(s.runs)} {'run' if len(s.runs) == 1 else 'runs'} composed"
        for s in spent
    ]
    words += [
        f"warning: {s.dataset}: the cap of {s.cap.epsilon:g} is below what is spent already; no run on it can be charged"
        for s in spent
        if s.cap and s.micro_epsilon / 1e6 > s.cap.epsilon
    ]
    emit({"cohorts": rows}, "\n".join(words) or "nothing was spent yet", as_json)
