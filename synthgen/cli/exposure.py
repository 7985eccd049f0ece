"""List the training patients by what each of them gave at most: for the privacy officer only.

From the norms they contributed to the run's noisy sums, an upper bound on each one's own epsilon (no retraining needed). The
numbers depend on the patients: they are no claim, and neither they nor the ids may leave. The cohort is read again, for the run
keeps no ids.
"""

from __future__ import annotations

from typing import Annotated

import typer

from synthgen.cli.console import Json, emit
from synthgen.cli.options import RunArgument, WorkspaceOption, workspace


def command(
    run: RunArgument = None,
    most: Annotated[int, typer.Option(min=1, help="How many patients, the most exposed first.")] = 20,
    folder: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    from synthgen.auditing.runs import exposed

    found = workspace(folder).run(run)
    rows = exposed(found)[:most]
    words = [f"{row['patient']}  epsilon {row['epsilon']:.3f}" for row in rows]
    head = f"INTERNAL, for the privacy officer only. Everybody's guarantee is epsilon {found.plan.epsilon:.3f}; by what they"
    emit(
        {"run": found.id, "claim": found.plan.epsilon, "audience": "internal", "patients": rows},
        "\n".join([f"{head} contributed, these gave at most", *words]),
        as_json,
    )
