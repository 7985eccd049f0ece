"""`configs/pneumonia.yaml` from archive to report, on simulated pictures in the archive's form and with a small network."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from conftest import ROOT

import synthgen as sg
from synthgen.phantoms import phantom

pytestmark = pytest.mark.slow

SMALL = {
    "ehr": {"pretrain_patients": 200, "pretrain_epochs": 1, "populations": 4, "gradient_steps": 2},
    "images": {"channels": [8, 16], "pretrain_steps": 20, "gradient_steps": 2, "sampling_steps": 4},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> sg.Run:
    folder = tmp_path_factory.mktemp("pneumonia")
    rng, labels = np.random.default_rng(0), np.arange(140) % 2
    pictures = np.stack([phantom(0.1 + 0.8 * label, 28, rng) for label in labels])
    np.savez(folder / "pictures.npz", train_images=pictures, train_labels=labels[:, None].astype(np.uint8))
    cohort = yaml.safe_load((ROOT / "configs/pneumonia/cohort.yaml").read_text()) | {"declared_patients": 140}
    (folder / "cohort.yaml").write_text(yaml.safe_dump(cohort, sort_keys=False))
    job = yaml.safe_load((ROOT / "configs/pneumonia.yaml").read_text())
    job |= {"cohort": "cohort.yaml", "data": "pictures.npz", "generators": SMALL}
    (folder / "job.yaml").write_text(yaml.safe_dump(job, sort_keys=False))
    return sg.run(sg.load_job(folder / "job.yaml"), sg.Workspace(folder / "workspace"))


def test_pictures_are_drawn_and_looked_at(run: sg.Run) -> None:
    pictures = run.synthetic.images
    assert pictures is not None
    assert len(pictures) > 50
    checks = {f.check for f in run.findings}
    assert {"images", "image-agreement", "image-memorisation", "image-utility"} <= checks
    assert 2.5 < (run.plan.epsilon or 0) <= 3


def test_written_pictures_carry_their_mark(run: sg.Run) -> None:
    from synthgen.pictures import read_mark

    files = sorted((run.folder / "synthetic").rglob("*.png"))
    assert run.synthetic.images is not None
    assert len(files) == len(run.synthetic.images)
    assert read_mark(files[0])["synthetic"] == "yes"


def test_the_report_says_that_it_is_a_stand_in(run: sg.Run) -> None:
    page = (run.folder / "report.html").read_text()
    assert "Stand-in for an imaging cohort" in page
    assert "not a rare disease" in page


def test_the_report_shows_a_row_of_each_class_and_the_steps_of_sampling(run: sg.Run) -> None:
    page = (run.folder / "report.html").read_text()
    for words in ("Diagnosis: normal", "Diagnosis: pneumonia", "One picture as it comes out of noise"):
        assert words in page
