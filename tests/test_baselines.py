"""The SDV baseline goes through the same door as everything else, and its runs can never leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import ROOT

from privacy.errors import ConfigError, WorkspaceError
from privacy.journal import Journal
from privacy.session import Session
from synthgen.dictionary import read_dictionary
from synthgen.storage import read_cohort

pytest.importorskip("sdv", reason="SKIPPED: the extra `baselines` (sdv) is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def silent(*_: object) -> None: ...


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    from generators.baselines import SDVCopula

    dictionary = read_dictionary(ROOT / "configs/pbc/cohort.yaml")
    cohort = read_cohort(ROOT / "configs/pbc", dictionary)
    folder = tmp_path_factory.mktemp("answers")
    generator = SDVCopula(dictionary, {"visits": 4})
    generator.fit(Session(generator.encode(cohort), (), 156, journal=Journal(folder)), 0, silent)
    return generator, cohort, folder


def test_it_reveals_its_patients_and_says_so(fitted):
    assert Journal(fitted[2]).marks() == ["revealed"]
    assert fitted[0].private is False


def test_its_cohort_keeps_to_the_dictionary(fitted):
    synthetic = fitted[0].sample(80, np.random.default_rng(0))  # `Cohort.checked` refuses every breach
    assert len(synthetic) == 80
    assert synthetic.origin == "synthetic"
    assert synthetic.visits.groupby("patient_id").size().max() <= 4


def test_another_seed_draws_other_patients_and_the_same_one_the_same(fitted):
    draws = [fitted[0].sample(20, np.random.default_rng(seed)).patients for seed in (1, 1, 2)]
    assert draws[0].equals(draws[1])
    assert not draws[0].equals(draws[2])


def test_its_rows_are_coupled_to_their_own_patient(fitted):
    generator, cohort, _ = fitted
    whole = generator.encode(cohort)["wide"]
    part = generator.encode(cohort.of(list(cohort.ids)[10:20]))["wide"]
    assert torch.equal(torch.nan_to_num(whole[10:20], -1.0), torch.nan_to_num(part, -1.0))


def test_it_is_saved_and_loaded_without_pickle(fitted, tmp_path):
    from generators.baselines import SDVCopula

    fitted[0].save(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json"}
    again = SDVCopula(fitted[0].dictionary, {"visits": 4})
    again.load(tmp_path)
    rng = np.random.default_rng
    assert again.sample(10, rng(0)).patients.equals(fitted[0].sample(10, rng(0)).patients)
    (tmp_path / "revealed.safetensors").write_bytes(b"damaged")
    with pytest.raises(WorkspaceError, match="missing or corrupt"):
        again.load(tmp_path)


def test_wrong_settings_and_conditions_are_refused(fitted):
    from generators.baselines import SDVCopula

    with pytest.raises(ConfigError, match=r"generators\.sdv\.layers"):
        SDVCopula(fitted[0].dictionary, {"layers": 3})
    with pytest.raises(ConfigError, match="does not sample under conditions"):
        fitted[0].sample(5, np.random.default_rng(0), {"sex": "f"})
