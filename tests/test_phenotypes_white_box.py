"""How likely the phenotype generator finds a patient, and what that gives away: nothing with privacy, all without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_hpo as tiny
from scipy import sparse

from generators.phenotypes import PhenotypeBayes, facts
from generators.phenotypes.predictive import NODES, _gamma, _log_facts, _log_set
from generators.phenotypes.profiles import Frailty, closed, ends, hits
from privacy.charges import Charge
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.rates import auc
from privacy.session import Session

IMPLIES = sparse.csr_array(np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]], dtype=np.float32))
"""Two systems of a root and its child each."""
SYSTEM = np.array([0, 0, 1, 1])
HAZARD = np.array([0.2, 0.7, 0.05, 1.5])
FRAILTY = Frailty(1.2, 0.8)


def every_closed_set() -> np.ndarray:
    marks = np.array([[bool(k >> j & 1) for j in range(4)] for k in range(16)])
    return np.unique(closed(marks, IMPLIES), axis=0)


def test_the_probabilities_of_all_closed_sets_add_up_and_are_how_often_they_are_drawn():
    sets = every_closed_set()
    probability = np.exp(_log_set(HAZARD, ends(sets, IMPLIES), ~sets, FRAILTY, SYSTEM))
    assert len(sets) == 9
    assert probability.sum() == pytest.approx(1, abs=1e-9)
    drawn = closed(hits(HAZARD, FRAILTY, SYSTEM, 40_000, np.random.default_rng(0)), IMPLIES)
    often = np.array([(drawn == one).all(axis=1).mean() for one in sets])
    assert probability == pytest.approx(often, abs=0.015)


def test_a_gamma_has_mean_one_and_its_spread():
    nodes = _gamma(2.0)
    assert (len(nodes), nodes.mean()) == (NODES, pytest.approx(1))
    assert nodes.var() == pytest.approx(0.5, rel=0.15)


def test_a_fact_that_is_not_recorded_has_what_is_left():
    frequency, told = np.full(facts.WIDTH, 0.01), np.zeros((2, facts.WIDTH))
    told[0, facts.slices()["sex"].start] = 1
    one, nobody = _log_facts(frequency, told)
    assert one - nobody == pytest.approx(np.log(0.01) - np.log(0.97))  # three sexes


def attacked(folder: Path, noise: float) -> float:
    """AUC of what training adds to the log-likelihood, of 6 members of each of three diseases against 50 others of each."""
    dictionary = tiny.dictionary()
    generator = PhenotypeBayes(dictionary, {"hpo": str(tiny.write(folder)), "terms": 40})
    generator.pretrain(0, folder, lambda *_: None)
    real = tiny.cohort(dictionary)
    turn = np.arange(len(real)) % 100
    before = generator.log_likelihood(real)
    charges = [Charge(c.name, noise) for c in generator.charges(18)]
    members = real.of(np.array(real.ids, dtype=object)[turn < 6])
    generator.fit(Session(generator.encode(members), charges, 18, Noise(0), Journal(None)), 0, lambda *_: None)
    (folder / "model").mkdir(exist_ok=True)
    generator.save(folder / "model")
    again = PhenotypeBayes(dictionary, {"hpo": str(folder), "terms": 40})
    again.load(folder / "model")
    assert again.log_likelihood(real) == pytest.approx(generator.log_likelihood(real), abs=1e-3)
    gain = generator.log_likelihood(real) - before
    return auc(gain[turn < 6], gain[(turn >= 6) & (turn < 56)])


def test_a_model_of_a_few_patients_without_noise_gives_them_away_and_one_with_noise_does_not(tmp_path: Path):
    assert attacked(tmp_path, 1e-3) > 0.7
    assert attacked(tmp_path, 20.0) < 0.65


@pytest.mark.slow
def test_a_run_is_attacked_with_its_model_in_hand_and_by_canaries_with_findings(tmp_path: Path):
    """The audit of depth `standard` on a job of phenotypes, end to end."""
    import yaml

    import synthgen as sg
    from synthgen.auditing.retraining import audit_by_training
    from synthgen.pipeline import STAGES, Work
    from synthgen.progress import Silent
    from synthgen.storage import as_written, write_cohort

    folder, hpo = tmp_path / "job", tmp_path / "hpo"
    folder.mkdir()
    hpo.mkdir()
    known = as_written(tiny.dictionary()).model_dump(mode="json", exclude_none=True)
    (folder / "cohort.yaml").write_text(yaml.safe_dump(known))
    write_cohort(replace(tiny.cohort(tiny.dictionary()), origin="real"), folder / "cohort", ("csv",))
    job = {
        "name": "tiny", "cohort": "cohort.yaml", "data": "cohort", "privacy": {"epsilon": 3.0}, "holdout": 0.5, "seed": 1,
        "generators": {"phenotypes": {"hpo": str(tiny.write(hpo)), "terms": 40}},
    }  # fmt: skip
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    loaded = sg.load_job(folder / "job.yaml")
    with pytest.MonkeyPatch.context() as patch:
        for stage in ("fidelity", "utility"):
            patch.setitem(STAGES, stage, lambda work: None)
        run = sg.run(loaded, sg.Workspace(tmp_path / "workspace"))
    train, holdout = Work(run, Silent()).halves()
    found = audit_by_training(run, train, holdout, "standard", np.random.default_rng(0))
    areas = {f.metric: f.verdict for f in found if f.check == "white_box_phenotypes" and f.metric.startswith("auc")}
    assert set(areas) == {"auc_likelihood", "auc_lira", "auc_rmia", "auc_shadow_cohorts"}
    assert "fail" not in areas.values()
    (bound,) = [f for f in found if f.check == "one_run"]
    assert bound.verdict == "information"
    assert "the noisy sums" in bound.text
