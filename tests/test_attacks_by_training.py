"""White-box attacks and rehearsals: on arrays with a known answer, and end to end on the shipped generator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from liars import run_job

from privacy.accounting import calibrate
from privacy.attacks.leave_one_out import leave_one_out
from privacy.attacks.likelihood import lira_scores, rmia_scores
from privacy.attacks.shadow import nearness, shadow_scores
from privacy.budget import Budget
from privacy.charges import Charge
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.rates import auc
from privacy.session import Session


def trained(seed: int, shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihoods under a target and ten references: a model likes those it was trained on by `shift` better, but patients
    differ from each other by far more."""
    rng = np.random.default_rng(seed)
    member = np.arange(200) < 100
    hard = rng.normal(scale=5, size=200)
    included = np.argsort(rng.random((10, 200)), axis=0) < 5  # everybody is in half of the references
    target = hard + shift * member + rng.normal(size=200)
    references = hard + shift * included + rng.normal(size=(10, 200))
    return target, references, included, member


def test_references_find_what_the_likelihood_alone_hides():
    target, references, included, member = trained(0, 2.0)
    lira = lira_scores(target, references, included)
    rmia = rmia_scores(target, references, included, ~member)
    assert auc(target[member], target[~member]) < 0.7
    assert auc(lira[member], lira[~member]) > 0.85
    assert auc(rmia[member], rmia[~member]) > 0.85


def test_a_model_without_memory_gives_nothing_away():
    areas = []
    for seed in range(20):
        target, references, included, member = trained(seed, 0.0)
        both = lira_scores(target, references, included), rmia_scores(target, references, included, ~member)
        areas += [auc(scores[member], scores[~member]) for scores in both]
    assert abs(np.mean(areas) - 0.5) < 0.03


def test_ratios_are_compared_with_everybody_else_of_the_population():
    target, references = np.array([3.0, 2.0, 1.0]), np.zeros((2, 3))
    nobody = np.zeros((2, 3), dtype=bool)
    population = np.array([False, True, True])
    assert rmia_scores(target, references, nobody, population).tolist() == [1.0, 1.0, 0.0]


def shadowed(seed: int, spread: float) -> float:
    """AUC of the shadow attack on a generator that adds this much to each number of the patients it was trained on."""
    rng = np.random.default_rng(seed)
    pool, member = rng.normal(size=(120, 5)), np.arange(120) < 60
    included = np.argsort(rng.random((6, 120)), axis=0) < 3

    def made(trained_on: np.ndarray) -> np.ndarray:
        chosen = rng.choice(np.flatnonzero(trained_on), 60)
        return nearness(pool, pool[chosen] + rng.normal(scale=spread, size=(60, 5)))

    scores = shadow_scores(made(member), np.stack([made(row) for row in included]), included)
    return auc(scores[member], scores[~member])


def test_shadow_cohorts_teach_what_a_leak_looks_like():
    assert min(shadowed(seed, 0.5) for seed in range(5)) > 0.65
    assert abs(np.mean([shadowed(seed, 20.0) for seed in range(20)]) - 0.5) < 0.04


def test_leave_one_out_finds_the_shift():
    rng = np.random.default_rng(0)
    result = leave_one_out(rng.normal(1.5, 1, 200), rng.normal(0, 1, 200), rng)
    assert result.mu.low < 1.5 < result.mu.high
    assert result.auc.low < 0.8556 < result.auc.high  # Phi(1.5 / sqrt 2)
    nothing = leave_one_out(rng.normal(size=50), rng.normal(size=50), rng)
    assert nothing.mu.low < 0 < nothing.mu.high


def session(patients: int = 6) -> Session:
    charges = calibrate([Charge("a", 1.0, steps=2)], Budget(3.0, 1e-5))
    return Session({"x": torch.arange(float(patients))[:, None]}, charges, 100, Noise(), Journal())


def test_a_rehearsal_leaves_out_and_adds_patients_and_has_noise_of_its_own():
    whole = session()
    fewer = whole.rehearse(without=[0, 5], added={"x": torch.tensor([[10.0]])})
    assert fewer.reveal()["x"].ravel().tolist() == [1, 2, 3, 4, 10]
    assert fewer.declared_patients == whole.declared_patients
    one, other = (whole.rehearse().sum(lambda rows: rows["x"], 1.0, "a") for _ in range(2))
    assert not torch.equal(one, other)
    assert whole.sum(lambda rows: rows["x"], 1.0, "a").shape == (1,)  # and it used no charge of the session's own


def test_a_rehearsal_marks_the_run(tmp_path: Path):
    """It answers without being charged; whoever learnt from one must never be released."""
    journal = Journal(tmp_path / "answers")
    Session({"x": torch.ones(2, 1)}, [Charge("a", 1.0)], 2, Noise(), journal).rehearse()
    assert journal.marks() == ["rehearsed"]


@pytest.mark.slow
def test_a_run_is_audited_by_training_again(tmp_path: Path, cli):
    from synthgen.auditing.one_run import canary_patients
    from synthgen.auditing.retraining import left_out, white_box
    from synthgen.pipeline import Work
    from synthgen.progress import Silent

    run = run_job(tmp_path / "workspace", gradient_steps=2, pretrain_epochs=1)
    train, holdout = Work(run, Silent()).halves()
    rng = np.random.default_rng(0)
    findings = white_box(run, "ehr", train, holdout, 4, rng)
    assert {f.metric for f in findings if "auc" in f.metric} == {
        "auc_likelihood",
        "auc_lira",
        "auc_rmia",
        "auc_shadow_cohorts",
    }
    assert not [f for f in findings if f.verdict == "fail"]
    (found,) = canary_patients(run, ["ehr"], train, 20, rng)
    assert found.ceiling is not None
    assert 0 <= found.value <= found.ceiling < 2
    (lost,) = left_out(run, "ehr", train, 1, rng, repeats=3)
    assert lost.low is not None
    assert lost.low < lost.value
    code, out, _ = cli("exposure", run.id, "--most", 5, "--workspace", run.workspace.root, "--json")
    said = json.loads(out)["patients"]
    losses = run.read_json("individual.json")["epsilon"]
    assert code == 0
    assert [row["epsilon"] for row in said] == sorted(losses, reverse=True)[:5]
    where = {str(i): e for i, e in zip(train.ids, losses, strict=True)}
    assert all(where[row["patient"]] == row["epsilon"] <= said[0]["epsilon"] for row in said)
    (run.folder / "individual.json").unlink()
    code, _, err = cli("exposure", run.id, "--workspace", run.workspace.root)
    assert code == 2
    assert "no individual losses" in err


@pytest.mark.slow
def test_a_model_that_cannot_be_asked_is_named_and_its_cohorts_are_attacked_all_the_same(tmp_path: Path):
    """SDV's baseline says of nobody how likely it finds them."""
    pytest.importorskip("sdv", reason="SKIPPED: the extra `baselines` (sdv) is not installed")
    import synthgen as sg
    from synthgen.auditing.retraining import audit_by_training
    from synthgen.pipeline import STAGES, Work
    from synthgen.progress import Silent

    job = sg.load_job(ROOT / "configs" / "pbc-nonprivate.yaml").model_copy(update={"generators": {"sdv": {}}})
    with pytest.MonkeyPatch.context() as patch:
        for stage in ("fidelity", "utility", "audit"):
            patch.setitem(STAGES, stage, lambda work: None)
        run = sg.run(job, sg.Workspace(tmp_path))
    train, holdout = Work(run, Silent()).halves()
    steps: list[tuple[str, int, int]] = []
    rng = np.random.default_rng(0)
    found = audit_by_training(run, train, holdout, "standard", rng, lambda *step: steps.append(step))
    (unasked,) = [f for f in found if f.metric == "model_attacked"]
    assert "sdv has no log_likelihood" in unasked.text
    assert [f.metric for f in found if f.metric.startswith("auc")] == ["auc_shadow_cohorts"]
    assert not [f for f in found if f.check == "one_run"]
    assert steps == [("6 reference models of sdv", 0, 1)]
