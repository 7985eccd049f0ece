"""Record, picture and note of one patient under one epsilon: a small linked job from its cohort to its bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT

import synthgen as sg
from privacy.accounting import epsilon
from synthgen.dictionary import read_dictionary
from synthgen.errors import ConfigError
from synthgen.linked_simulation import simulate_linked
from synthgen.pictures import read_mark
from synthgen.planning import plan
from synthgen.storage import fingerprint, read_cohort, write_cohort

SMALL = {
    "ehr": {"pretrain_patients": 600, "pretrain_epochs": 3, "populations": 8, "gradient_steps": 4},
    "images": {
        "channels": [8, 16],
        "layers": 1,
        "steps": 20,
        "pretrain_steps": 20,
        "gradient_steps": 3,
        "sampling_steps": 4,
    },
    "notes": {
        "vocabulary": 700,
        "hidden": 32,
        "layers": 1,
        "heads": 2,
        "pretrain_patients": 60,
        "pretrain_steps": 30,
        "steps": 3,
    },
}


def job_file(folder: Path, **change: object) -> Path:
    """A job on 80 simulated patients, whose cohort lies in the folder's `cohort`."""
    content = yaml.safe_load((ROOT / "configs" / "linked" / "cohort.yaml").read_text()) | {"declared_patients": 80}
    (folder / "cohort.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    job = {
        "name": "linked",
        "cohort": "cohort.yaml",
        "data": "cohort",
        "privacy": {"epsilon": 3},
        "generators": SMALL,
        "seed": 1,
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job | change, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("linked")
    job_file(folder)
    cohort = simulate_linked(read_dictionary(folder / "cohort.yaml"), 80, np.random.default_rng(0))
    write_cohort(replace(cohort, origin="real"), folder / "cohort", ("csv",))
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> sg.Run:
    return sg.run(sg.load_job(folder / "job.yaml"), sg.Workspace(folder / "workspace"))


def test_one_plan_spends_nearly_all_of_one_budget_on_all_modalities(folder: Path):
    job = sg.load_job(folder / "job.yaml")
    made = plan(job, job.dictionary)
    assert {q.modality for q in made.queries} == {"ehr", "images", "notes"}
    assert made.epsilon is not None
    assert 2.95 < made.epsilon < 3.0
    assert made.budget is not None
    alone = sum(epsilon(made.charges_of(m), made.budget.delta) for m in ("ehr", "images", "notes"))
    assert made.epsilon < alone, "charges compose better than epsilons add up"


def test_a_share_moves_the_noise_from_one_modality_to_another(folder: Path):
    noise = {}
    for name, share in (
        ("records", {"ehr": 8, "images": 1, "notes": 1}),
        ("notes", {"ehr": 1, "images": 1, "notes": 8}),
    ):
        job = sg.load_job(job_file(folder, privacy={"epsilon": 3, "share": share}))
        noise[name] = {q.charge.name: q.charge.noise_multiplier for q in plan(job, job.dictionary).queries}
    job_file(folder)
    assert noise["records"]["ehr/location"] < noise["notes"]["ehr/location"]
    assert noise["records"]["notes/occurrence"] > noise["notes"]["notes/occurrence"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generators": {"images": {}, "notes": {}}}, "exactly one generator of records"),
        ({"privacy": {"epsilon": 3, "share": {"ehr": 1}}}, "privacy.share: needs one number for each"),
    ],
)
def test_jobs_that_cannot_be_linked_are_refused(folder: Path, change: dict[str, object], message: str):
    job = sg.load_job(job_file(folder, **change))
    job_file(folder)
    with pytest.raises(ConfigError, match=message):
        plan(job, job.dictionary)


@pytest.mark.parametrize("place", ["cohort", "cohort/images", ".", "workspace/runs/a/models/images"])
def test_no_patient_is_taken_for_public(folder: Path, tmp_path: Path, place: str):
    """Pictures of the cohort itself, or what a run (perhaps without privacy) learnt, would be learnt from for nothing."""
    made = folder
    if place.startswith("workspace"):
        made = tmp_path
        (made / place).mkdir(parents=True)
        (made / "workspace" / "ledger.key").write_bytes(b"key")
    images = SMALL["images"] | {"pretrained": str(made / place)}
    job = sg.load_job(job_file(folder, generators=SMALL | {"images": images}))
    job_file(folder)
    with pytest.raises(ConfigError, match=r"generators.images.pretrained: lies (with the cohort|in a workspace)"):
        plan(job, job.dictionary)


@pytest.mark.parametrize("share", [{"ehr": 0}, {"ehr": -1}, {}])
def test_a_share_is_above_zero(folder: Path, share: dict[str, float]):
    path = job_file(folder, privacy={"epsilon": 3, "share": share})
    with pytest.raises(ConfigError, match="share needs a number above 0"):
        sg.load_job(path)
    job_file(folder)


def test_a_cohort_is_simulated_from_its_dictionary_alone(folder: Path, cli, tmp_path: Path):
    code, out, _ = cli("simulate", folder / "cohort.yaml", tmp_path / "cohort", "--patients", 12)
    assert code == 0
    assert "no row describes a person" in out
    assert "SIMULATED" in (tmp_path / "cohort" / "SIMULATED.txt").read_text()
    cohort = read_cohort(tmp_path / "cohort", read_dictionary(tmp_path / "cohort" / "cohort.yaml"))
    assert (
        read_dictionary(tmp_path / "cohort" / "cohort.yaml").fingerprint
        == read_dictionary(folder / "cohort.yaml").fingerprint
    )
    assert len(cohort) == 12
    assert set(cohort.tables) == {"patients", "visits", "events", "notes", "images"}
    assert cli("simulate", folder / "cohort.yaml", tmp_path / "cohort")[0] == 2


def test_the_cohort_may_lie_elsewhere(folder: Path, cli, tmp_path: Path):
    """It is looked for where `--data` says, and nowhere else."""
    code, _, err = cli(
        "run", folder / "job.yaml", "--data", tmp_path / "nowhere", "--workspace", tmp_path / "workspace"
    )
    assert code == 2
    assert f"{tmp_path / 'nowhere'}: no such folder" in err


@pytest.mark.slow
class TestRun:
    def test_pictures_and_notes_belong_to_patients_and_their_files_to_them(self, run: sg.Run):
        cohort = run.synthetic
        assert cohort.images is not None
        assert cohort.notes is not None
        ids = set(cohort.ids)
        for table in (cohort.images, cohort.notes):
            assert set(table["patient_id"]) <= ids
            assert table["patient_id"].nunique() > 0
        for path in (run.folder / "synthetic" / "synthetic_images").iterdir():
            assert path.name.rsplit("-", 1)[0] in ids
            assert read_mark(path)["synthetic"] == "yes"
        end = cohort.patients.set_index("patient_id")["followup_days"]
        assert (cohort.notes["day"] <= cohort.notes["patient_id"].map(end)).all()

    def test_it_is_charged_once_for_everything(self, run: sg.Run):
        ledger = run.workspace.ledger()
        assert ledger.verify(run.read_json("ledger.json")["root"]).ok
        assert {c.name.split("/")[0] for c in run.plan.charges} == {"ehr", "images", "notes"}

    def test_every_generator_is_made_again_from_its_answers(self, run: sg.Run):
        for metric in ("replay/same_model", "coupling/uncoupled"):
            found = {f.column: f.verdict for f in run.findings if f"{f.check}/{f.metric}" == metric}
            assert found == {"ehr": "pass", "images": "pass", "notes": "pass"}

    def test_checks_of_every_modality_have_run(self, run: sg.Run):
        checks = {f.check for f in run.findings}
        assert any("image" in c for c in checks)
        assert any("note" in c for c in checks)

    def test_whole_canaries_are_looked_for_in_every_model_and_in_all_of_them(self, run: sg.Run):
        from synthgen.auditing.one_run import canary_patients
        from synthgen.pipeline import Work
        from synthgen.progress import Silent

        train, _ = Work(run, Silent()).halves()
        found = canary_patients(run, ["ehr", "images", "notes"], train, 12, np.random.default_rng(0))
        assert [f.column for f in found] == ["ehr", "images", "notes", "all modalities"]
        assert not [f for f in found if f.verdict == "fail"]

    def test_canaries_in_notes_are_not_exposed_under_privacy(self, run: sg.Run):
        from synthgen.auditing.note_exposure import note_exposure
        from synthgen.pipeline import Work
        from synthgen.progress import Silent

        train, _ = Work(run, Silent()).halves()
        found = note_exposure(run, "notes", train, 6, np.random.default_rng(0))
        assert found.ceiling == 5
        assert found.verdict == "information"

    def test_more_whole_patients_can_be_drawn(self, run: sg.Run, cli, tmp_path: Path):
        for name in ("one", "two"):
            assert cli("sample", tmp_path / name, run.id, "--patients", 6, "--workspace", run.workspace.root)[0] == 0
        from synthgen.storage import read_synthetic

        one, two = (read_synthetic(tmp_path / name, run.dictionary) for name in ("one", "two"))
        assert fingerprint(one) == fingerprint(two)
        assert len(one) == 6

    def test_a_job_without_pictures_leaves_them_alone(self, folder: Path, tmp_path: Path):
        job = sg.load_job(job_file(folder, generators={"ehr": SMALL["ehr"], "notes": SMALL["notes"]}))
        job_file(folder)
        assert "images" not in job.dictionary.tables
        assert job.dictionary.ignore == ("images",)
        assert json.loads(json.dumps(plan(job, job.dictionary).as_dict()))["queries"]
