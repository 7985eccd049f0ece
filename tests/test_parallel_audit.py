"""Where the trainings of an audit run, and that a backend which is not there is refused before anything is spent."""

from __future__ import annotations

import sys
from operator import mul
from pathlib import Path

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
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with over("ray"):
            assert in_parallel([(mul, i, 2) for i in range(5)]) == [0, 2, 4, 6, 8]
    finally:
        ray.shutdown()
