"""The main job end to end on the real PBC cohort, with a short pretraining: what each stage leaves, and what the rules forbid."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT

import synthgen as sg
from privacy.errors import BudgetExceeded, ConfigError, NotReleasable, WorkspaceError
from synthgen.pipeline import STAGES, draw
from synthgen.planning import plan

pytestmark = pytest.mark.slow

FAST = {"pretrain_patients": 600, "pretrain_epochs": 3, "populations": 8, "gradient_steps": 8}


def job_file(folder: Path, **change: object) -> Path:
    job = yaml.safe_load((ROOT / "configs/pbc.yaml").read_text())
    job |= {"cohort": str(ROOT / "configs/pbc/cohort.yaml"), "generators": {"ehr": FAST}} | change
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> sg.Run:
    folder = tmp_path_factory.mktemp("pipeline")
    return sg.run(sg.load_job(job_file(folder)), sg.Workspace(folder / "workspace"))


def test_every_stage_leaves_what_it_says(finished: sg.Run):
    assert list(finished.stages) == list(STAGES)
    left = {
        "job.json",
        "plan.json",
        "cohort.json",
        "split.json",
        "findings.jsonl",
        "flags.jsonl",
        "quality.json",
        "report.html",
        "report.json",
    }
    assert left <= {p.name for p in finished.folder.iterdir()}
    assert all(t["seconds"] >= 0 and t["peak_mb"] > 50 for t in finished.stages.values())
    assert {f.section for f in finished.findings} == {"fidelity", "rules", "utility", "audit"}


def test_the_plan_is_met_from_below_and_wastes_little(finished: sg.Run):
    assert 2.95 < (finished.plan.epsilon or 0) <= 3
    assert finished.workspace.ledger().spent("pbc").epsilon == pytest.approx(finished.plan.epsilon, abs=1e-6)


def test_the_synthetic_cohort_keeps_to_its_dictionary_and_is_marked(finished: sg.Run):
    synthetic = finished.synthetic
    assert len(synthetic) == finished.plan.declared_training
    assert synthetic.origin == "synthetic"
    assert synthetic.ids.str.startswith("SYN-").all()
    hard = [f for f in finished.findings if f.section == "rules" and f.verdict == "fail"]
    assert hard == []


def test_no_patient_id_lies_in_the_run_outside_the_ledger_as_a_keyed_hash(finished: sg.Run):
    split = json.loads((finished.folder / "split.json").read_text())
    assert set(split) == {"train", "holdout"}
    assert all(isinstance(v, int) and v % 10 == 0 for v in split.values())
    assert set(json.loads((finished.folder / "cohort.json").read_text())) == {"fingerprint", "patients"}


def test_every_measure_stands_beside_public_knowledge_and_one_finding_says_what_patients_added(finished: sg.Run):
    found = {f.name: f for f in finished.findings}
    beside = [f for f in found.values() if f.gain is not None]
    assert {"marginals/visit_shape", "detection/patient", "trajectories/slope"} <= {f.name for f in beside}
    assert found["gain/patients"].n == len(beside)
    assert "Patients added" in finished.report.read_text()


def test_a_finished_run_is_not_run_again(finished: sg.Run):
    before = {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*") if p.is_file() and p.name != ".lock"}
    sg.resume(finished)
    after = {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*") if p.is_file() and p.name != ".lock"}
    assert before == after


def test_more_patients_can_be_drawn_with_a_static_column_fixed(finished: sg.Run):
    women = draw(finished, 40, seed=3, where={"sex": "f"})
    assert len(women) == 40
    assert set(women.patients["sex"]) == {"f"}
    with pytest.raises(ConfigError, match="colour"):
        draw(finished, 5, seed=3, where={"colour": "blue"})


def test_replicates_are_what_the_next_seeds_draw(finished: sg.Run, tmp_path: Path, cli):
    root = finished.workspace.root
    code, _, error = cli(
        "sample", tmp_path / "m", finished.id, "--patients", 15, "--replicates", 2, "--workspace", root
    )
    assert (code, error) == (0, "")
    assert cli("sample", tmp_path / "1", finished.id, "--patients", 15, "--seed", 1, "--workspace", root)[0] == 0
    first, second = (pd.read_parquet(tmp_path / "m" / k / "synthetic_patients.parquet") for k in ("1", "2"))
    assert not first.equals(second)
    assert second.equals(pd.read_parquet(tmp_path / "1" / "synthetic_patients.parquet"))


def test_two_processes_never_work_on_one_run(finished: sg.Run):
    with finished.locked(), pytest.raises(WorkspaceError, match="another process"):
        sg.resume(finished)


def test_a_plan_reads_no_patient(tmp_path: Path):
    dictionary = tmp_path / "cohort.yaml"
    shutil.copy(ROOT / "configs/pbc/cohort.yaml", dictionary)  # and no table beside it
    job = sg.load_job(job_file(tmp_path, cohort="cohort.yaml"))
    assert plan(job, job.dictionary).epsilon


def test_a_cohort_that_changed_since_the_run_began_is_refused(tmp_path: Path):
    for name in ("cohort.yaml", "pbc2.csv"):
        shutil.copy(ROOT / "configs/pbc" / name, tmp_path / name)
    job = sg.load_job(job_file(tmp_path, cohort="cohort.yaml"))
    workspace = sg.Workspace(tmp_path / "workspace")
    run = workspace.new_run(job, job.dictionary, plan(job, job.dictionary))
    from synthgen.pipeline import Work, read

    work = Work(run, _silent())
    read(work)
    run.write_json("stages.json", {"read": {"seconds": 0, "peak_mb": 0}})
    lines = (tmp_path / "pbc2.csv").read_text().splitlines(keepends=True)
    (tmp_path / "pbc2.csv").write_text("".join(lines[:-3]))
    with pytest.raises(WorkspaceError, match="files changed since run"):
        sg.resume(run)
    assert not (run.folder / "answers").exists()


def test_the_cap_stops_a_job_before_it_reads_anything_of_its_patients(finished: sg.Run, tmp_path: Path):
    shutil.copytree(finished.workspace.root, tmp_path / "workspace", ignore=shutil.ignore_patterns("runs", "cache"))
    workspace = sg.Workspace(tmp_path / "workspace")
    job = sg.load_job(job_file(tmp_path, privacy={"epsilon": 9.99}))
    with pytest.raises(BudgetExceeded, match="cap"):
        sg.run(job, workspace)
    (run,) = workspace.runs()
    assert not (run.folder / "answers").exists()
    assert "charge" not in run.stages


def test_a_ledger_put_back_to_before_the_charge_is_found_out(finished: sg.Run, tmp_path: Path):
    shutil.copytree(finished.workspace.root, tmp_path / "workspace")
    workspace = sg.Workspace(tmp_path / "workspace")
    for old in workspace.root.glob("ledger.db*"):
        old.unlink()
    from privacy.ledger import Ledger

    Ledger(f"sqlite:///{workspace.root / 'ledger.db'}", bytes.fromhex((workspace.root / "ledger.key").read_text()))
    run = workspace.run()
    stages = {k: v for k, v in run.stages.items() if k != "report"}
    run.write_json("stages.json", stages)
    with pytest.raises(WorkspaceError, match="not the one this run was charged in"):
        sg.resume(run)


def test_a_copied_run_folder_cannot_train_again_for_nothing(finished: sg.Run, tmp_path: Path):
    shutil.copytree(finished.workspace.root, tmp_path / "workspace")
    workspace = sg.Workspace(tmp_path / "workspace")
    twin = workspace.root / "runs" / f"{finished.id}-twin"
    shutil.copytree(workspace.run().folder, twin)
    shutil.rmtree(twin / "answers")
    run = sg.Run(twin)
    run.write_json("stages.json", {k: v for k, v in run.stages.items() if k in ("read", "split", "charge")})
    with pytest.raises(WorkspaceError, match="holds no charge of run"):
        sg.resume(run)
    assert not (twin / "answers").exists()


def test_answers_once_given_cannot_be_thrown_away_and_asked_again(finished: sg.Run, tmp_path: Path):
    shutil.copytree(finished.workspace.root, tmp_path / "workspace")
    run = sg.Workspace(tmp_path / "workspace").run()
    shutil.rmtree(run.folder / "answers")
    run.write_json("stages.json", {k: v for k, v in run.stages.items() if k in ("read", "split", "charge")})
    with pytest.raises(WorkspaceError, match="put back to an earlier state"):
        sg.resume(run)


def test_a_run_taken_to_a_ledger_that_never_charged_it_has_no_guarantee(finished: sg.Run, tmp_path: Path):
    from synthgen.report.of_run import context_of

    elsewhere = sg.Workspace(tmp_path / "elsewhere")
    (elsewhere.root / "runs").mkdir(parents=True)
    shutil.copytree(finished.folder, elsewhere.root / "runs" / finished.id)
    claim = context_of(elsewhere.run()).claim
    assert claim.guarantee is None
    assert "never charged this run" in " ".join(claim.sentences)


def test_a_removed_mark_does_not_make_predictable_noise_releasable(finished: sg.Run, tmp_path: Path):
    from synthgen.report.of_run import context_of

    shutil.copytree(finished.workspace.root, tmp_path / "workspace")
    run = sg.Workspace(tmp_path / "workspace").run()
    job = run.read_json("job.json")
    run.write_json("job.json", job | {"privacy": job["privacy"] | {"noise_seed": 3}})
    assert context_of(run).claim.guarantee is None


def test_predictable_noise_is_never_releasable(tmp_path: Path, finished: sg.Run):
    run = _short_run(tmp_path, finished, privacy={"epsilon": 3, "noise_seed": 1})
    assert run.marks == ["seeded"]
    assert "seed" in _refusal(run)


def test_a_job_has_exactly_one_generator_of_records(tmp_path: Path):
    job = sg.load_job(job_file(tmp_path, generators={"ehr": FAST, "sdv": {}}))
    with pytest.raises(ConfigError, match=r"exactly one generator of records.*it has ehr and sdv"):
        plan(job, job.dictionary)


def test_a_run_without_privacy_is_never_releasable(tmp_path: Path, finished: sg.Run, cli):
    run = _short_run(tmp_path, finished, privacy={"epsilon": None}, generators={"ehr": FAST | {"finetune_epochs": 2}})
    assert run.marks == ["revealed"]
    assert "no privacy guarantee" in _refusal(run)
    assert "NO PRIVACY GUARANTEE" in run.report.read_text()
    code, out, _ = cli("sample", tmp_path / "out", run.id, "--patients", 5, "--workspace", run.workspace.root)
    assert code == 0
    assert "NO PRIVACY GUARANTEE" in out
    assert (tmp_path / "out" / "NO_PRIVACY.txt").exists()


def test_the_gate_opens_for_a_run_whose_findings_pass(finished: sg.Run, tmp_path: Path):
    """Findings are what they are; here all of them are made to pass, to see the gate open."""
    from synthgen.pipeline import Work, report
    from synthgen.release import release, verify
    from synthgen.report.of_run import context_of

    shutil.copytree(finished.workspace.root, tmp_path / "workspace")
    run = sg.Workspace(tmp_path / "workspace").run()
    run.write_lines("findings.jsonl", [replace(f, verdict="pass") for f in run.findings])
    run.write_lines("flags.jsonl", [f for f in run.flags if f.severity != "severe"])
    report(Work(run, _silent()))
    bundle = release(run.folder, context_of(run), "An Officer")
    assert verify(bundle) == []
    next(bundle.rglob("*.csv")).write_text("changed")
    assert verify(bundle)


def test_nothing_is_written_below_a_workspace_that_cannot_be(tmp_path: Path, cli):
    (tmp_path / "workspace").write_text("a file, not a folder")
    code, _, err = cli("run", job_file(tmp_path), "--workspace", tmp_path / "workspace")
    assert code == 2
    assert "cannot be made" in err


def _silent():
    from synthgen.progress import Silent

    return Silent()


def _short_run(folder: Path, finished: sg.Run, **change: object) -> sg.Run:
    """Another run in a workspace that shares the first one's public pretraining."""
    workspace = sg.Workspace(folder / "workspace")
    workspace.root.mkdir()
    (workspace.root / "cache").symlink_to(finished.workspace.cache)
    return sg.run(sg.load_job(job_file(folder, **change)), workspace)


def _refusal(run: sg.Run) -> str:
    from synthgen.release import release
    from synthgen.report.of_run import context_of

    with pytest.raises(NotReleasable) as refused:
        release(run.folder, context_of(run), "An Officer")
    return str(refused.value)
