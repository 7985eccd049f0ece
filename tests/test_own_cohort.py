"""A hospital's own cohort, from a folder of tables to a report, through the command line alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

PATIENTS = 60
FAST = {"pretrain_patients": 600, "pretrain_epochs": 3, "populations": 8, "gradient_steps": 8}


def write_tables(folder: Path) -> Path:
    """Sixty invented patients: two labs at visits, drugs with a start, a stop and a dose, and a follow-up that ends in death."""
    rng = np.random.default_rng(3)
    ids = np.array([f"H{i:03d}" for i in range(PATIENTS)])
    ends = rng.integers(400, 2000, PATIENTS)
    patients = pd.DataFrame(
        {"patient_id": ids, "sex": rng.choice(["f", "m"], PATIENTS), "age": rng.integers(20, 80, PATIENTS)}
    ).assign(last_seen=ends, status=rng.choice(["alive", "dead"], PATIENTS, p=[0.7, 0.3]))
    visits = pd.concat(
        [pd.DataFrame({"patient_id": i, "day": range(0, e + 1, 180)}) for i, e in zip(ids, ends, strict=True)]
    )
    visits["bilirubin"] = np.exp(rng.normal(0.5, 0.6, len(visits))).round(1).clip(0.1, None)
    visits["ascites"] = rng.choice(["no", "yes"], len(visits), p=[0.8, 0.2])
    events = patients[["patient_id"]].assign(start=rng.integers(0, 100, PATIENTS))
    events["stop_day"] = np.minimum(events["start"] + rng.integers(70, 300, PATIENTS), ends)
    events["dose"] = rng.choice([250, 500], PATIENTS)
    events["code"] = rng.choice(["ursodiol", "biopsy"], PATIENTS)
    events["kind"] = np.where(events["code"] == "biopsy", "procedure", "drug")
    folder.mkdir()
    for name, table in (("patients", patients), ("visits", visits), ("events", events)):
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def review(folder: Path) -> None:
    """What a person does with the draft, less the thinking."""
    content = yaml.safe_load((folder / "cohort.yaml").read_text())
    for table in content["tables"].values():
        for column in table["columns"].values():
            column.pop("unreviewed", None)
    (folder / "cohort.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    job = yaml.safe_load((folder / "job.yaml").read_text())
    (folder / "job.yaml").write_text(yaml.safe_dump(job | {"generators": {"ehr": FAST}}))


@pytest.mark.slow
def test_a_folder_of_tables_becomes_a_report(tmp_path: Path, cli):
    folder = write_tables(tmp_path / "clinic")
    code, out, err = cli("init", folder)
    assert code == 0, err
    assert "synthgen run" in out
    code, _, err = cli("plan", folder / "job.yaml")
    assert (code, "unreviewed" in err) == (2, True)
    review(folder)
    code, out, err = cli("validate", folder, "--json")
    assert code == 0, out + err
    assert json.loads(out)["unreviewed"] == []
    code, out, err = cli("run", folder / "job.yaml", "--workspace", tmp_path / "workspace", "--json")
    assert code == 0, err
    row = json.loads(out)
    assert Path(row["report"]).exists()
    assert row["epsilon"] <= 3
    made = Path(row["folder"]) / "synthetic"
    events = pd.read_parquet(made / "synthetic_events.parquet")
    assert set(events["code"]) <= {"ursodiol", "biopsy"}
    assert events["stop_day"].dropna().between(0, 3000).all()
