"""Where the trainings of an audit run, and that a backend which is not there is refused before anything is spent."""

from __future__ import annotations

import sys
from operator import mul
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from synthgen.auditing.parallel import in_parallel, over


def test_calls_come_back_in_order_from_other_processes():
    with over("loky"):
        assert in_parallel([(mul, i, 2) for i in range(5)]) == [0, 2, 4, 6, 8]


def test_a_backend_that_is_not_installed_is_refused_kindly(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    job = ROOT / "configs" / "pbc.yaml"
    code, _, err = cli("run", job, "--backend", "ray", "--workspace", tmp_path / "workspace")
    assert code == 2
    assert "pip install 'synthgen[ray]'" in err
    assert not list((tmp_path).rglob("ledger*")), "nothing was charged"


def test_ray_carries_what_joblib_gives_it():
    ray = pytest.importorskip("ray", reason="SKIPPED: the extra `ray` is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with over("ray"):
            assert in_parallel([(mul, i, 2) for i in range(5)]) == [0, 2, 4, 6, 8]
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_ray_carries_a_real_audit(tmp_path: Path):
    """Reference models of a run on PBC are trained by Ray's workers, and attacked."""
    ray = pytest.importorskip("ray", reason="SKIPPED: the extra `ray` is not installed, no audit was carried by it")
    from liars import run_job

    from synthgen.auditing.retraining import white_box
    from synthgen.pipeline import Work
    from synthgen.progress import Silent

    run = run_job(tmp_path, gradient_steps=2, pretrain_epochs=1)
    train, holdout = Work(run, Silent()).halves()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with over("ray"):
            findings = white_box(run, "ehr", train, holdout, 4, np.random.default_rng(0))
    finally:
        ray.shutdown()
    areas = {f.metric: f.verdict for f in findings if f.metric.startswith("auc")}
    assert set(areas) == {"auc_likelihood", "auc_lira", "auc_rmia", "auc_shadow_cohorts"}
    assert "fail" not in areas.values()
