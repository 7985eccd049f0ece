"""White-box attacks on each generator: a model that learnt its patients by heart gives them away, one with privacy does not.

The record VAE answers with its evidence lower bound, the diffusion model with its denoising loss over timesteps, the language
model with the log probability of tokens; LiRA and RMIA compare with reference models, as an audit at depth `deep` does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_linking import SMALL, job_file

import synthgen as sg
from generators.ehr import nonprivate_fit
from generators.ehr.encoding import Records
from generators.ehr.model import RecordVAE
from privacy.attacks.likelihood import lira_scores, rmia_scores
from privacy.rates import auc
from synthgen.auditing.rehearsal import Rehearsal
from synthgen.auditing.retraining import balanced
from synthgen.cohort import Cohort
from synthgen.dictionary import read_dictionary
from synthgen.linked_simulation import simulate_linked
from synthgen.planning import plan
from synthgen.storage import read_cohort, write_cohort

PATIENTS, REFERENCES = 48, 4
BY_HEART: dict[str, dict[str, Any]] = {
    "ehr": {},
    "images": {"steps": 200, "ema": 0.9},
    "notes": {"finetune_epochs": 20},
}
"""Settings of a fit without privacy that goes over the same few patients again and again."""
FEWER = {"ehr": {"known_populations": 8, "pretrain_patients": 300, "pretrain_epochs": 1}, "images": {}, "notes": {}}
STEPS = 300


def by_heart(model: RecordVAE, records: Records, *_: object) -> int:
    """In place of `nonprivate_fit._train`, which holds patients out and stops when they no longer gain."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _step in range(STEPS):
        loss = -model(records, torch.randn(len(records["end"]), model.latent)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return STEPS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("white-box")
    job_file(folder)
    return folder


@pytest.fixture(scope="module")
def pool(folder: Path) -> Cohort:
    dictionary = read_dictionary(folder / "cohort.yaml")
    made = replace(simulate_linked(dictionary, PATIENTS, np.random.default_rng(0)), origin="real")
    write_cohort(made, folder / "cohort", ("csv",))
    return read_cohort(folder / "cohort", dictionary)


def attacked(
    folder: Path, name: str, pool: Cohort, epsilon: float | None, settings: dict[str, Any]
) -> dict[str, float]:
    """AUC of each attack on a model of half the pool."""
    record = {"ehr": SMALL["ehr"]} if name != "ehr" else {}
    generators = record | {name: SMALL[name] | FEWER[name] | settings}
    job = sg.load_job(job_file(folder, generators=generators, privacy={"epsilon": epsilon}))
    run = sg.Workspace(folder / "workspace").new_run(job, job.dictionary, plan(job, job.dictionary))
    rehearsal = Rehearsal(run.folder, name, pool)
    member, included = np.arange(PATIENTS) % 2 == 0, balanced(REFERENCES, PATIENTS, np.random.default_rng(1))
    target = rehearsal.likelihoods(member, 0)
    under = np.stack([rehearsal.likelihoods(row, 1 + k) for k, row in enumerate(included)])
    scores = {
        "likelihood": target,
        "LiRA": lira_scores(target, under, included),
        "RMIA": rmia_scores(target, under, included, ~member),
    }
    has = target != 0  # whoever has no picture, or no note, has no likelihood either
    assert has.sum() > PATIENTS / 3
    return {attack: auc(values[member & has], values[~member & has]) for attack, values in scores.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_HEART)
def test_what_is_known_by_heart_is_given_away(name: str, folder: Path, pool: Cohort, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nonprivate_fit, "_train", by_heart)
    found = attacked(folder, name, pool, None, BY_HEART[name])
    assert min(found["LiRA"], found["RMIA"]) > 0.7, found


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_HEART)
def test_what_is_learnt_with_privacy_is_not(name: str, folder: Path, pool: Cohort):
    """About 20 against 20 patients: where nothing leaks an AUC lies below .85 in all but 1 of 10,000 draws."""
    found = attacked(folder, name, pool, 3, {})
    assert max(found.values()) < 0.85, found
