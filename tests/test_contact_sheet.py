"""Synthetic pictures by class in the report: a row for each stage, no real picture, nothing that asks the network."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from finished_run import context, named
from PIL import Image

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.linked_simulation import simulate_linked
from synthgen.report import write_report
from synthgen.report.contact_sheet import ACROSS, contact_sheet, row


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return read_dictionary(ROOT / "configs" / "linked" / "cohort.yaml")


@pytest.fixture(scope="module")
def cohort(dictionary: Dictionary) -> Cohort:
    made = simulate_linked(dictionary, 80, np.random.default_rng(0))
    return named(made, [f"SYN-{i:06d}" for i in range(80)], "synthetic")


def test_each_row_shows_patients_of_its_stage(cohort: Cohort, dictionary: Dictionary):
    sheet = contact_sheet(cohort, dictionary)
    assert [label for label, _ in sheet] == [f"Fibrosis stage at diagnosis: {k}" for k in (1, 2, 3, 4)]
    stage = cohort.images["patient_id"].map(cohort.patients.set_index("patient_id")["stage"])
    for k, (_, address) in enumerate(sheet, start=1):
        pictures = cohort.images.loc[(stage == str(k)).to_numpy(), "image"].tolist()[:ACROSS]
        shown = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        assert shown.text == {"synthetic": "yes"}
        assert np.array_equal(np.asarray(shown), row(pictures))


def test_real_pictures_have_no_way_in(cohort: Cohort, dictionary: Dictionary):
    with pytest.raises(ValueError, match="synthetic pictures only"):
        contact_sheet(replace(cohort, origin="real"), dictionary)


def test_a_cohort_without_pictures_has_no_sheet(cohort: Cohort, dictionary: Dictionary):
    assert contact_sheet(replace(cohort, images=None), dictionary) == []


@pytest.mark.parametrize("audience", ["internal", "release"])
def test_it_stands_in_the_report(cohort: Cohort, dictionary: Dictionary, tmp_path: Path, audience):
    steps = np.zeros((10, 40), dtype=np.uint8)
    made = replace(
        context(), dictionary=dictionary, synthetic=cohort, train=None, holdout=None, flags=(), sampling_steps=steps
    )
    page = write_report(tmp_path, made, audience)[0].read_text()
    assert page.count('<img src="data:image/png;base64,') == 5
    assert page.count("<img ") == 5
    assert "from noise on" in page
