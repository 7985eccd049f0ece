"""Show the runs of a workspace, or one run's stages with their time and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthgen.cli.console import Json, emit
from synthgen.cli.options import RunArgument, WorkspaceOption, workspace

if TYPE_CHECKING:
    from synthgen.workspace import Run


def command(run: RunArgument = None, folder: WorkspaceOption = None, as_json: Json = False) -> None:
    place = workspace(folder)
    if run is not None:
        emit_run(place.run(run), as_json)
        return
    rows = [summary(r) for r in place.runs()]
    words = [f"{r['run']}  {r['job']}  {r['state']:<24} {_price(r)}  {_verdicts(r)}".rstrip() for r in rows]
    emit({"runs": rows}, "\n".join(words) or f"{place.root}: no runs yet; `synthgen run JOB` makes one", as_json)


def summary(run: Run) -> dict[str, Any]:
    """One run in a few words."""
    from synthgen.pipeline import STAGES

    todo = [stage for stage in STAGES if stage not in run.stages]
    verdicts = [f.verdict for f in run.findings]
    return {
        "run": run.id,
        "job": run.job.name,
        "folder": str(run.folder),
        "state": f"stopped before {todo[0]}" if todo else "finished",
        "epsilon": run.plan.epsilon,
        "charged": "charge" in run.stages,
        "verdicts": {v: verdicts.count(v) for v in ("pass", "fail", "inconclusive")},
        "stages": run.stages,
        "report": str(run.report) if run.report.exists() else None,
    }


def emit_run(run: Run, as_json: bool) -> None:
    """A run's state, its verdicts and where its report lies."""
    row = summary(run)
    took = [f"  {stage:<9} {t['seconds']:>7.1f} s {t['peak_mb']:>6} MB" for stage, t in run.stages.items()]
    head = f"{run.id}: {row['state']}; {_price(row)}; {_verdicts(row) or 'no verdict yet'}"
    last = f"report: {row['report']}" if row["report"] else f"go on with: synthgen resume {run.id}"
    emit(
        row,
        "\n".join([head, *took, f"synthetic: {run.folder}/synthetic", last]),
        as_json,
    )


def _price(row: dict[str, Any]) -> str:
    """What it cost; what it would cost, as long as nothing was charged."""
    if row["epsilon"] is None:
        return "NO PRIVACY: never releasable"
    return f"{'epsilon' if row['charged'] else 'planned'} {row['epsilon']:.4f}"


def _verdicts(row: dict[str, Any]) -> str:
    counts: dict[str, int] = row["verdicts"]
    return ", ".join(f"{n} {verdict}" for verdict, n in counts.items()) if any(counts.values()) else ""
