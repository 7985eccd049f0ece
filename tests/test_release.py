"""The gate: refuses for each reason, alone and together, and what it lets out holds nothing from inside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from finished_run import BUDGET, PLANTED, REAL_IDS, context, dictionary, make_run

from privacy.errors import NotReleasable, WorkspaceError
from synthgen.claim import claim
from synthgen.dictionary import read_dictionary
from synthgen.findings import Finding
from synthgen.flags import Flag
from synthgen.gate import by_name, objections, to_drop
from synthgen.queue import TWINS
from synthgen.release import BUNDLE, SUMS, release, verify
from synthgen.report import Spending
from synthgen.storage import as_written, fingerprint, read_synthetic

UNSURE = Finding("membership", "tpr", 0.02, "inconclusive", "Too few patients to tell.", "audit")
SEVERE = Flag("SYN-000007", "hard_rule", "severe", "A visit after death.", False, {TWINS: ["SYN-000008"]}, 1.0)
CLOSE = Flag("SYN-000009", "close", "severe", "Closer to a patient than others are.", True, {}, 1.0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run's folder; tests work on copies."""
    folder = tmp_path_factory.mktemp("run") / "run"
    folder.mkdir()
    make_run(folder)
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def bundle(finished, tmp_path_factory) -> Path:
    """A release with two patients left out and one inconclusive finding accepted."""
    run = shutil.copytree(finished, tmp_path_factory.mktemp("released") / "run")
    made = replace(context(), findings=(*context().findings, UNSURE), flags=(SEVERE, *context().flags))
    return release(run, made, "Dr A. Keller", {UNSURE.name: "Dr B. Roth"})


def refused(run: Path, *arguments, **named) -> list[str]:
    """The reasons, after seeing that nothing was left behind."""
    before = sorted(run.rglob("*"))
    with pytest.raises(NotReleasable) as refusal:
        release(run, *arguments, **named)
    assert sorted(run.rglob("*")) == before
    return refusal.value.reasons


def with_(**changes):
    return replace(context(), **changes)


REFUSALS = {
    "no guarantee": (with_(claim=claim((), None, dictionary()), spending=None), "epsilon: null"),
    "revealed": (with_(claim=claim((), BUDGET, dictionary(), marks=["revealed"])), "read the patients directly"),
    "seeded noise": (with_(claim=claim((), BUDGET, dictionary(), marks=["seeded"])), "drawn from a seed"),
    "removed on real data": (
        with_(claim=claim((), BUDGET, dictionary(), removed_on_real_data=2)),
        "2 synthetic patients",
    ),
    "above the cap": (with_(spending=Spending(3.0, 2.99, 10.01, 10.0, 1e-4)), "above the cap of 10"),
    "failed": (with_(findings=(Finding("x", "m", 0.1, "fail", "X is bad."),)), "x/m failed: X is bad."),
    "inconclusive": (with_(findings=(UNSURE,)), "membership/tpr is inconclusive"),
    "severe on real data": (with_(flags=(CLOSE,)), "SYN-000009 has an open severe flag"),
    "everybody dropped": (
        with_(flags=(replace(SEVERE, evidence={TWINS: list(context().synthetic.ids)}),)),
        "nothing would be left",
    ),
    "real cohort": (with_(synthetic=replace(context().synthetic, origin="real")), "not marked as synthetic"),
    "real ids": (with_(synthetic=context().train), "not marked as synthetic"),
    "unreviewed": (
        with_(
            dictionary=dictionary().model_copy(
                update={
                    "tables": dictionary().tables
                    | {
                        "patients": dictionary()
                        .tables["patients"]
                        .model_copy(
                            update={
                                "columns": {
                                    name: column.model_copy(update={"unreviewed": "read from the data"})
                                    for name, column in dictionary().tables["patients"].columns.items()
                                }
                            }
                        )
                    }
                }
            )
        ),
        "unreviewed",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refuses_for_each_reason_alone(run, name):
    made, words = REFUSALS[name]
    reasons = refused(run, made, "Dr A. Keller")
    assert len(reasons) == 1
    assert words in reasons[0]


def test_refuses_without_a_signature(run):
    assert refused(run, context(), "  ") == ["nobody signs it: name the person who releases"]


def test_refuses_an_unfinished_run(run):
    [reason] = refused(run, context(), "Dr A. Keller", unfinished=["audit", "flag"])
    assert "audit, flag" in reason
    assert "synthgen resume" in reason


@pytest.mark.parametrize("mark", ["REVEALED", "SEEDED"])
def test_refuses_a_mark_on_the_disk_whatever_the_claim_says(run, mark):
    (run / "answers" / "ehr" / mark).write_text("never")
    reasons = refused(run, context(), "Dr A. Keller")
    assert any(mark.lower() in reason and "guarantee" in reason for reason in reasons)


@pytest.mark.parametrize("name", ["findings.jsonl", "flags.jsonl", "plan.json", "report.html", "models/ehr/000000.safetensors",
                                  "synthetic/synthetic_visits.parquet"])  # fmt: skip
def test_refuses_what_changed_since_the_report(run, name):
    with (run / name).open("ab") as file:
        file.write(b" ")
    assert refused(run, context(), "Dr A. Keller") == [f"{name} has changed since the report"]


def test_refuses_what_is_missing_or_new_since_the_report(run):
    (run / "plan.json").unlink()
    (run / "synthetic" / "synthetic_notes.parquet").write_bytes(b"")
    assert refused(run, context(), "Dr A. Keller") == [
        "plan.json is missing since the report",
        "synthetic/synthetic_notes.parquet was not there since the report",
    ]


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"artefacts": 1'])
def test_refuses_without_a_report(run, content):
    if content is None:
        (run / "report.json").unlink()
    else:
        (run / "report.json").write_text(content)
    assert any("report.json is missing or corrupt" in reason for reason in refused(run, context(), "Dr A. Keller"))


def test_tells_all_reasons_at_once(run):
    made = with_(
        findings=(UNSURE, Finding("x", "m", 0.1, "fail", "X is bad.")),
        flags=(CLOSE,),
        spending=Spending(3.0, 2.99, 10.01, 10.0, 1e-4),
    )
    assert len(refused(run, made, "", unfinished=["audit"])) == 6


class TestAcceptance:
    def test_by_name_opens_the_gate(self):
        made = with_(findings=(UNSURE,))
        assert objections(made, {UNSURE.name: "Dr B. Roth"}) == []

    def test_by_nobody_does_not(self):
        assert len(objections(with_(findings=(UNSURE,)), {UNSURE.name: " "})) == 1

    def test_of_a_failed_finding_is_no_use(self):
        failed = Finding("x", "m", 0.1, "fail", "X is bad.")
        assert len(objections(with_(findings=(failed,)), {"x/m": "Dr B. Roth"})) == 2

    def test_of_an_unknown_finding_is_told(self):
        [reason] = objections(context(), {"no/such": "Dr B. Roth"})
        assert "no/such cannot be accepted" in reason

    def test_of_a_check_stands_for_its_inconclusive_findings_alone(self):
        found = [
            Finding("m", x, 0.1, v, "X.") for x, v in (("a", "inconclusive"), ("b", "inconclusive"), ("c", "fail"))
        ]
        made = with_(findings=(*found, Finding("mm", "a", 0.1, "inconclusive", "X.")))
        assert by_name(made.findings, {"m/*": "Dr B. Roth"}) == {"m/a": "Dr B. Roth", "m/b": "Dr B. Roth"}
        left = objections(made, {"m/*": "Dr B. Roth"})
        assert len(left) == 2
        assert "m/c failed" in left[0]
        assert "mm/a is inconclusive" in left[1]

    @pytest.mark.parametrize("pattern", ["*", "/*", "m*", "x/*", "m/c*"])
    def test_of_everything_or_of_a_failed_check_is_no_use(self, pattern):
        made = with_(findings=(Finding("m", "a", 0.1, "inconclusive", "X."), Finding("x", "b", 0.1, "fail", "X.")))
        reasons = objections(made, {pattern: "Dr B. Roth"})
        assert len(reasons) == 3
        assert f"{pattern} cannot be accepted" in reasons[-1]

    def test_of_a_check_is_recorded_one_by_one(self, run):
        made = replace(context(), findings=(*context().findings, UNSURE))
        release(run, made, "Dr A. Keller", {f"{UNSURE.check}/*": "Dr B. Roth"})
        assert json.loads((run / "release.json").read_text())["accepted"] == {UNSURE.name: "Dr B. Roth"}

    def test_is_recorded_inside(self, bundle):
        record = json.loads((bundle.parent / "release.json").read_text())
        assert record["accepted"] == {UNSURE.name: "Dr B. Roth"}
        assert record["signed_by"] == "Dr A. Keller"
        assert record["dropped"] == ["SYN-000007", "SYN-000008"]


class TestBundle:
    def test_holds_what_it_says(self, bundle):
        tables = ["patients", "visits"]
        expected = {f"synthetic_{t}.{kind}" for t in tables for kind in ("parquet", "csv")}
        expected |= {"README.txt", "CLAIM.md", "claim.json", "cohort.yaml", "report.html", "report.json", SUMS}
        expected |= {"MODEL_CARD.md", "croissant.json"}
        assert {p.name for p in bundle.iterdir()} == expected
        assert bundle.name == BUNDLE

    def test_is_whole(self, bundle):
        assert verify(bundle) == []
        subprocess.run(["sha256sum", "--quiet", "--strict", "-c", SUMS], cwd=bundle, check=True)

    def test_every_file_is_marked(self, bundle):
        for path in bundle.iterdir():
            if path.suffix == ".parquet":
                metadata = pq.read_metadata(path).metadata
                assert any(b"synthetic" in key + value for key, value in metadata.items())
            elif path.suffix != ".csv":
                assert "synthetic" in path.read_text().lower()
            if path.suffix in (".parquet", ".csv"):
                assert path.name.startswith("synthetic_")

    def test_reads_back_without_the_dropped_patients(self, bundle):
        about = read_dictionary(bundle / "cohort.yaml")
        assert about == as_written(dictionary(), "synthetic")
        kept = [p for p in context().synthetic.ids if p not in ("SYN-000007", "SYN-000008")]
        assert fingerprint(read_synthetic(bundle, about)) == fingerprint(context().synthetic.of(kept))

    def test_the_dropped_are_counted_in_the_claim(self, bundle):
        stated = json.loads((bundle / "claim.json").read_text())
        assert stated["dropped"] == 2
        assert stated["guarantee"]["epsilon"] == context().claim.guarantee.epsilon
        assert "2 synthetic patients were left out" in (bundle / "CLAIM.md").read_text()
        assert "154 synthetic patients" in (bundle / "README.txt").read_text()

    def test_holds_no_real_value_and_nothing_from_inside(self, bundle):
        secrets = [*REAL_IDS, "MRN-", "0.934172", "0.881733", "0.511379", "Dr B. Roth", UNSURE.text, UNSURE.name, "file: pbc2",
                   "Trained on synthetic", "SYN-000007", "A visit after death"]  # fmt: skip
        secrets += [repr(value) for values in PLANTED.values() for value in values]
        for path in bundle.iterdir():
            table = pq.read_table(path).to_pandas().to_csv() if path.suffix == ".parquet" else path.read_text()
            assert [s for s in secrets if s in table] == [], path.name

    def test_planted_values_would_be_found(self, tmp_path):
        """The search above fails when the training cohort is written in the synthetic one's place."""
        from synthgen.storage import write_cohort

        write_cohort(replace(context().train, origin="synthetic"), tmp_path)
        texts = [(tmp_path / "synthetic_visits.csv").read_text()]
        texts.append(pq.read_table(tmp_path / "synthetic_visits.parquet").to_pandas().to_csv())
        for text in texts:
            assert sum(repr(value) in text for values in PLANTED.values() for value in values) == 30

    def test_has_no_size_of_the_halves(self, bundle):
        """156 is what both halves hold; the synthetic cohort held as many, of which 154 are left."""
        for name in ("claim.json", "CLAIM.md", "README.txt", "report.json"):
            assert "156" not in (bundle / name).read_text()


@pytest.mark.parametrize("damage", ["changed", "missing", "new", "no sums"])
def test_a_tampered_bundle_is_found(bundle, tmp_path, damage):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    if damage == "changed":
        (copy / "synthetic_visits.csv").write_text((copy / "synthetic_visits.csv").read_text() + "\n")
        expected = ["synthetic_visits.csv has changed"]
    elif damage == "missing":
        (copy / "claim.json").unlink()
        expected = ["claim.json is missing"]
    elif damage == "new":
        (copy / "inner").mkdir()
        (copy / "inner" / "extra.csv").write_text("x")
        expected = ["inner/extra.csv was not there"]
    else:
        (copy / SUMS).unlink()
        expected = [f"{SUMS} is missing"]
    assert verify(copy) == expected


def test_a_release_is_never_overwritten(run):
    (run / BUNDLE).mkdir()
    (run / BUNDLE / "old").write_text("old")
    with pytest.raises(WorkspaceError, match="none is ever overwritten"):
        release(run, context(), "Dr A. Keller")
    assert [p.name for p in (run / BUNDLE).iterdir()] == ["old"]
    assert not (run / "release.json").exists()


def test_a_failure_leaves_nothing_half_written(run, monkeypatch):
    """The disk fills up after the tables."""

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("synthgen.release.write_report", full)
    with pytest.raises(WorkspaceError, match="No space left"):
        release(run, context(), "Dr A. Keller")
    assert not (run / BUNDLE).exists()
    assert [p.name for p in run.iterdir() if p.name.startswith(".release")] == []


def test_only_severe_flags_without_real_data_drop_patients():
    flags = (SEVERE, CLOSE, replace(SEVERE, patient_id="SYN-000020", severity="moderate", evidence={}))
    assert to_drop(with_(flags=flags)) == {"SYN-000007", "SYN-000008"}


def test_pictures_and_notes_leave_with_their_patients_and_their_mark(tmp_path: Path):
    import numpy as np
    from finished_run import named

    from synthgen.linked_simulation import simulate_linked
    from synthgen.pictures import read_mark

    about = read_dictionary(Path(__file__).parent.parent / "configs" / "linked" / "cohort.yaml")
    made = simulate_linked(about, 20, np.random.default_rng(0))
    synthetic = named(made, [f"SYN-{i:06d}" for i in range(20)], "synthetic")
    assert synthetic.images is not None
    imaged = next(i for i in synthetic.ids if (synthetic.images["patient_id"] == i).any())
    dropped = Flag(imaged, "hard_rule", "severe", "A visit after death.", False, {}, 1.0)
    folder = tmp_path / "run"
    folder.mkdir()
    changes = {"dictionary": about, "synthetic": synthetic, "flags": (dropped,), "train": None, "holdout": None}
    bundle = release(folder, make_run(folder, **changes), "Dr A. Keller")
    left = read_synthetic(bundle, about)
    assert imaged not in set(left.ids)
    assert fingerprint(left) == fingerprint(synthetic.of(left.ids))
    pictures = sorted((bundle / "synthetic_images").iterdir())
    assert len(pictures) == len(left.images)
    assert {read_mark(p)["synthetic"] for p in pictures} == {"yes"}
    assert not [p for p in pictures if p.name.startswith(imaged)]
    pictures[0].write_bytes(pictures[1].read_bytes())
    assert verify(bundle) == [f"synthetic_images/{pictures[0].name} has changed"]
