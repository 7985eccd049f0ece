"""A workspace: which run a command takes, what `status` says of it, and who may look into the folder."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from conftest import ROOT

import synthgen as sg
from synthgen.errors import WorkspaceError


def runs_that_reached(root: Path, *stages: str | None) -> list[sg.Run]:
    """One run each, oldest first, that has finished everything up to that stage and holds nothing else."""
    from synthgen.pipeline import STAGES

    job = sg.load_job(ROOT / "configs" / "pbc.yaml")
    planned = sg.plan(job, job.dictionary)
    runs = []
    for number, last in enumerate(stages):
        run = sg.Workspace(root).new_run(job, job.dictionary, planned)
        run = sg.Run(run.folder.rename(run.folder.with_name(f"2030010{number}-000000-pbc-abcd")))
        done = list(STAGES)[: list(STAGES).index(last) + 1] if last else []
        run.write_json("stages.json", {stage: {"seconds": 1.0, "peak_mb": 300} for stage in done})
        runs.append(run)
    return runs


def test_the_newest_run_is_the_newest_that_came_so_far(tmp_path: Path):
    reported, trained, refused = runs_that_reached(tmp_path, "report", "train", "split")
    place = sg.Workspace(str(tmp_path))
    assert place.run() == refused
    assert place.run(done="train") == trained
    assert place.run(done="flag") == place.run(done="report") == reported
    assert place.run(trained.id, done="train") == trained
    with pytest.raises(WorkspaceError, match=f"run {refused.id} has not reached train; `synthgen resume {refused.id}`"):
        place.run(refused.id, done="train")


def test_where_no_run_came_so_far_it_is_said(tmp_path: Path):
    runs_that_reached(tmp_path, "split")
    with pytest.raises(WorkspaceError, match="no run has reached report; `synthgen status` lists them"):
        sg.Workspace(tmp_path).run(done="report")


@pytest.mark.parametrize(("command", "stage"), [("report", "flag"), ("release", "report"), ("sample", "train")])
def test_commands_ask_for_the_stage_they_need(command: str, stage: str, tmp_path: Path, cli):
    (run,) = runs_that_reached(tmp_path, "charge")
    arguments = (command, tmp_path / "out", run.id) if command == "sample" else (command, run.id)
    code, _, err = cli(*arguments, "--workspace", tmp_path)
    assert code == 2
    assert f"run {run.id} has not reached {stage}" in err


def test_nobody_else_looks_into_a_workspace(tmp_path: Path):
    before = os.umask(0o022)
    try:
        (tmp_path / "shared").mkdir(mode=0o755)
        runs_that_reached(tmp_path / "a" / "b", "split")
        made = sg.Workspace(tmp_path / "shared")
        made.ledger()
    finally:
        os.umask(before)
    folders = [tmp_path / "a", *(path for path in (tmp_path / "a").rglob("*") if path.is_dir())]
    assert len(folders) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in made.root.glob("ledger*")} == {0}


def test_status_says_what_is_planned_and_what_is_spent(tmp_path: Path, cli):
    charged, waiting = runs_that_reached(tmp_path, "charge", "split")
    epsilon = charged.plan.epsilon
    charged.write_lines("findings.jsonl", [sg.Finding("marginals", "shape", 0.9, "pass", "Agree.", "fidelity")])
    code, out, _ = cli("status", "--workspace", tmp_path)
    assert code == 0
    first, second = out.splitlines()
    assert f"{charged.id}  pbc  stopped before train" in first
    assert f"epsilon {epsilon:.4f}  1 pass, 0 fail, 0 inconclusive" in first
    assert f"planned {epsilon:.4f}" in second
    assert "epsilon" not in second
    assert f"planned {epsilon:.4f}; no verdict yet" in cli("status", waiting.id, "--workspace", tmp_path)[1]


def test_a_cap_below_what_is_spent_warns(tmp_path: Path, cli):
    from privacy.budget import Budget
    from privacy.ledger import TAG_BYTES

    planned = runs_that_reached(tmp_path, "split")[0].plan
    sg.Workspace(tmp_path).ledger().reserve("r1", "pbc", [b"x" * TAG_BYTES], planned.charges, Budget(10, 1e-4))
    code, out, _ = cli("budget", "pbc", "--workspace", tmp_path)
    assert (code, "warning" in out) == (0, False)
    assert ", 1 run composed" in out
    code, out, _ = cli("budget", "pbc", "--cap", "1", "--by", "Dr A. Keller", "--workspace", tmp_path)
    assert code == 0
    assert "warning: pbc: the cap of 1 is below what is spent already" in out


def test_a_refused_release_says_what_to_mend_and_how_to_accept_the_rest():
    from synthgen.cli.release import explained
    from synthgen.gate import _of_findings

    class Context:
        findings = (
            sg.Finding("membership", "auc", 0.7, "fail", "An attacker succeeds.", "audit"),
            sg.Finding("survival", "overall", 0.7, "inconclusive", "Too few.", "fidelity"),
            sg.Finding("tstr", "auc", 0.7, "inconclusive", "Too few.", "utility"),
        )

    reasons = _of_findings(Context(), {})  # type: ignore[arg-type]
    mend, accept = explained(reasons, ["synthgen", "release", "r1", "--by", "Dr A"]).split("must be accepted by name:")
    assert "must be mended:\n- membership/auc failed" in mend.replace(Context.findings[0].name, "membership/auc")
    names = [f.name for f in Context.findings[1:]]
    assert all(f"- {name} is inconclusive" in accept for name in names)
    assert accept.endswith(f"  synthgen release r1 --by 'Dr A' --accept={names[0]} --accept={names[1]}")


def test_a_cohort_never_prints_a_patient():
    import pandas as pd

    cohort = sg.Cohort(pd.DataFrame({"patient_id": ["PLANTED-7"]}), visits=pd.DataFrame({"patient_id": []}))
    assert repr(cohort) == str(cohort) == "Cohort(real: patients, visits)"
    assert "PLANTED" not in f"{[cohort]!r}"


def test_the_newest_of_several_runs_within_one_second_is_the_last_one_made(tmp_path, monkeypatch):
    """Ids end in random letters: sorted by name, any of them could seem the newest."""
    workspace = sg.Workspace(tmp_path)
    endings = iter(["ffff", "0000", "8888"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(endings))
    job = sg.load_job(ROOT / "configs/pbc.yaml")
    empty = sg.Plan(312, 156, None, (), None, None)
    made = []
    for _ in range(3):
        made.append(workspace.new_run(job, job.dictionary, empty).id)
        time.sleep(0.02)  # the clock of files ticks every few milliseconds
    assert [run.id for run in workspace.runs()] == made
    assert workspace.run().id == made[-1]
