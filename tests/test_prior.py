"""`synthgen prior`: what the dictionary alone implies, without a file of patients."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from test_pipeline import FAST

from synthgen.conformance import conform
from synthgen.dictionary import read_dictionary


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job whose folder holds a dictionary and no patient at all."""
    folder = tmp_path / "cohort"
    folder.mkdir()
    shutil.copy(ROOT / "configs/pbc/cohort.yaml", folder)
    content = yaml.safe_load((ROOT / "configs/pbc.yaml").read_text())
    content |= {"cohort": str(folder / "cohort.yaml"), "generators": {"ehr": FAST}}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_it_needs_no_patient_and_keeps_to_the_dictionary(job: Path, tmp_path: Path, cli: Any) -> None:
    out = tmp_path / "prior"
    code, text, error = cli("prior", job, out, "--patients", 40, "--workspace", tmp_path / "w", "--json")
    assert (code, error) == (0, "")
    said = json.loads(text)
    assert (said["epsilon"], said["patients"]) == (0, 40)
    dictionary = read_dictionary(job.parent / "cohort" / "cohort.yaml")
    tables = {name: pd.read_parquet(out / f"synthetic_{name}.parquet") for name in ("patients", "visits")}
    assert len(tables["patients"]) == 40
    assert conform(tables, dictionary, "synthetic")[1] == []
    page = Path(said["page"]).read_text()
    for word in ("no file of patients was opened", "<svg", "Dickson et al. 1989", "Kaplan-Meier"):
        assert word in page
    assert not list((tmp_path / "w").glob("**/ledger*"))  # nothing was charged


def test_another_seed_draws_other_patients_and_a_folder_is_never_overwritten(
    job: Path, tmp_path: Path, cli: Any
) -> None:
    drawn = []
    for seed in (0, 1):
        code, _, _ = cli(
            "prior", job, tmp_path / str(seed), "--seed", seed, "--patients", 20, "--workspace", tmp_path / "w"
        )
        assert code == 0
        drawn.append(pd.read_parquet(tmp_path / str(seed) / "synthetic_patients.parquet"))
    assert not drawn[0].equals(drawn[1])
    code, _, error = cli("prior", job, tmp_path / "0", "--workspace", tmp_path / "w")
    assert code == 2
    assert "exists already" in error


def test_a_generator_that_knows_nothing_public_says_so(job: Path, tmp_path: Path, cli: Any) -> None:
    pytest.importorskip("sdv")
    content = yaml.safe_load(job.read_text()) | {"generators": {"sdv": {}}, "privacy": {"epsilon": None}}
    job.write_text(yaml.safe_dump(content))
    code, _, error = cli("prior", job, tmp_path / "out", "--workspace", tmp_path / "w")
    assert code == 2
    assert "knows nothing public" in error
