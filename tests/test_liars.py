"""Each lie is told by the shipped code, end to end, and must be convicted by name; the truth must not be.

The family-wise error of one honest run's audit: 1% for the attacks on cohorts, 0.1% for the canaries' bound on epsilon and
0.001% for each limit on noise, clip and sampling; replay, coupling and delta do not err. `benchmarks/audit.py` does the same
with 20 honest seeds and writes the table.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from liars import LIES, convictions, run_job

from privacy.accounting import calibrate
from privacy.attacks.canaries import audit_canaries
from privacy.budget import Budget
from privacy.charges import Charge
from privacy.noise import Noise


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Public pretraining, made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def workspace(tmp_path: Path, cache: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "cache").symlink_to(cache)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", LIES)
def test_a_liar_is_convicted_by_name(name: str, workspace: Path):
    found = convictions(run_job(workspace, LIES[name]))
    assert any(f.startswith(LIES[name].convicted_by) for f in found), found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_truth_is_not_convicted(seed: int, workspace: Path):
    assert convictions(run_job(workspace, seed=seed)) == []


def test_the_audit_of_mu_tells_an_honest_sigma_from_eight_tenths_of_it(monkeypatch: pytest.MonkeyPatch):
    """At epsilon 4 and 99.9% confidence; the benchmark does it a hundred times."""
    charges = calibrate([Charge("a", 1.0)], Budget(4.0, 1e-4))
    honest, gaussians = [audit_canaries(charges, 1e-4, 4.0) for _ in range(10)], Noise.gaussians
    assert [r.convicted for r in honest] == [()] * 10
    monkeypatch.setattr(Noise, "gaussians", lambda self, count: 0.8 * gaussians(self, count))
    assert sum("epsilon" in audit_canaries(charges, 1e-4, 4.0).convicted for _ in range(10)) >= 9
