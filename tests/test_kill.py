"""kill -9 at twenty places of one job, each time resumed: nothing is lost, charged twice, or answered twice with other noise."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from privacy.journal import Journal
from synthgen.workspace import Run, Workspace

pytestmark = [pytest.mark.slow, pytest.mark.kill]

SHARES = {"location": 0.05, "scale": 0.1, "gradient": 0.2, "summary": 0.65}
"""With DP-SGD, so that there are many answers to be killed between."""
FAST = {
    "ehr": {
        "pretrain_patients": 600, "pretrain_epochs": 3, "populations": 8, "gradient_steps": 8, "shares": SHARES,
        "known_populations": 60, "reference_patients": 1000,
    }
}  # fmt: skip


def answers(run: Run) -> list[Path]:
    return sorted(run.folder.glob("answers/ehr/*.safetensors"))


def at_answer(number: int) -> Callable[[Run], bool]:
    return lambda run: len(answers(run)) >= number


def after_stage(stage: str) -> Callable[[Run], bool]:
    return lambda run: (run.folder / "stages.json").exists() and stage in run.stages


PLACES: dict[str, Callable[[Run], bool]] = {
    "the run exists": lambda _: True,
    "the cohort is read": lambda run: (run.folder / "cohort.json").exists(),
    "read is done": after_stage("read"),
    "the split is written": lambda run: (run.folder / "split.json").exists(),
    "the ledger exists": lambda run: (run.workspace.root / "ledger.db").exists(),
    "the charge is done": after_stage("charge"),
    "pretraining has begun": lambda run: any(run.workspace.root.glob("cache/**/*")),
    "the journal's folder exists": lambda run: (run.folder / "answers/ehr").exists(),
    "answer 1": at_answer(1),
    "answer 2": at_answer(2),
    "answer 3": at_answer(3),
    "answer 5": at_answer(5),
    "answer 8": at_answer(8),
    "a model file": lambda run: any(run.folder.glob("models/ehr/*")),
    "training is done": after_stage("train"),
    "synthetic tables": lambda run: any(run.folder.glob("synthetic/*")),
    "sampling is done": after_stage("sample"),
    "findings": lambda run: (run.folder / "findings.jsonl").exists(),
    "fidelity is done": after_stage("fidelity"),
    "audit is done": after_stage("audit"),
    "flags": lambda run: (run.folder / "flags.jsonl").exists(),
    "the report": lambda run: run.report.exists(),
}


def the_run(workspace: Workspace) -> Run | None:
    runs = workspace.runs()
    return runs[0] if runs else None


def start(*arguments: str) -> subprocess.Popen[bytes]:
    code = "from synthgen.cli import main; main()"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT)


def kill_at(place: Callable[[Run], bool], workspace: Workspace, process: subprocess.Popen[bytes], delay: float) -> bool:
    """Kills the process when the place is reached (if it was before, after `delay` seconds); False when it ended before."""
    run = the_run(workspace)
    began, reached = time.monotonic(), run is not None and place(run)
    while process.poll() is None:
        run = the_run(workspace)
        if time.monotonic() - began > delay if reached else run is not None and place(run):
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.0005)
    return False


def test_a_job_killed_at_twenty_places_finishes_and_never_draws_noise_twice(tmp_path: Path):
    job = yaml.safe_load((ROOT / "configs/pbc.yaml").read_text())
    job |= {"cohort": str(ROOT / "configs/pbc/cohort.yaml"), "generators": FAST}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    workspace = Workspace(tmp_path / "workspace")
    process = start("run", str(path), "--workspace", str(workspace.root))
    kills, seen, delays = 0, {}, random.Random(0)
    for place in PLACES.values():
        kills += kill_at(place, workspace, process, delay=delays.uniform(1, 8))
        run = the_run(workspace)
        if run is None:  # killed before there was a run: nothing was read, nothing spent
            process = start("run", str(path), "--workspace", str(workspace.root))
            continue
        for file, content in seen.items():  # what was answered before stays as it was
            assert file.read_bytes() == content
        seen = {file: file.read_bytes() for file in answers(run)}
        if seen:
            spent = workspace.ledger().spent("pbc")
            assert spent.runs == (run.id,)  # charged before answered, and once
        process = start("resume", run.id, "--workspace", str(workspace.root))
    assert process.wait() == 0
    assert kills >= 20
    finished = workspace.run()
    assert finished.report.exists()
    assert len(workspace.runs()) == 1
    ledger = workspace.ledger()
    assert ledger.verify().ok
    assert [e.content["kind"] for e in ledger.history("pbc")].count("reserve") == 1
    assert len(Journal(finished.folder / "answers" / "ehr")) == sum(charge.steps for charge in finished.plan.charges)
    contents = [file.read_bytes() for file in answers(finished)]
    assert len(set(contents)) == len(contents)
    assert not list(tmp_path.rglob("*.partial"))
