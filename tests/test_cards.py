"""The cards of a release: valid Croissant, and nothing that the claim does not say."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from finished_run import PLANTED, REAL_IDS, context, make_run

from synthgen.release import release


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cards") / "run"
    folder.mkdir()
    return release(folder, make_run(folder), "Dr A. Keller")


def test_the_data_card_describes_every_file_and_column_of_the_bundle(bundle: Path):
    card = json.loads((bundle / "croissant.json").read_text())
    for file in card["distribution"]:
        assert hashlib.sha256((bundle / file["contentUrl"]).read_bytes()).hexdigest() == file["sha256"]
    for records in card["recordSet"]:
        columns = [f["source"]["extract"]["column"] for f in records["field"]]
        with (bundle / records["field"][0]["source"]["fileObject"]["@id"]).open(newline="") as file:
            assert next(csv.reader(file)) == columns
    assert {f["contentUrl"] for f in card["distribution"]} == {p.name for p in bundle.glob("*.csv")}


def test_the_reference_implementation_finds_no_fault_in_it(bundle: Path):
    pytest.importorskip("mlcroissant")
    reads = "import mlcroissant; mlcroissant.Dataset(jsonld='croissant.json')"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", reads],
        capture_output=True, text=True, cwd=bundle, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()


def test_the_model_card_says_what_the_claim_says(bundle: Path):
    card = (bundle / "MODEL_CARD.md").read_text()
    claim = context().claim
    for sentence in (claim.headline, *claim.sentences, *claim.outside):
        assert sentence in card
    for charge in claim.charges:
        assert charge.name in card


def test_no_real_value_stands_in_a_card(bundle: Path):
    for name in ("croissant.json", "MODEL_CARD.md"):
        text = (bundle / name).read_text()
        assert not [i for i in REAL_IDS if i in text]
        assert not [v for values in PLANTED.values() for v in values if f"{v:.4f}" in text]
