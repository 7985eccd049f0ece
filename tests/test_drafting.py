"""`synthgen init`: a draft that reads its own tables, shows no patient's own number, and that no job takes as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from small_cohort import bytes_of, make

from synthgen.config import load_job
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.drafting import draft, write_draft, write_job
from synthgen.errors import ConfigError, DataError
from synthgen.storage import read_cohort


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The small cohort, without its dictionary."""
    made = make(tmp_path / "Clinic A")
    (made / "cohort.yaml").unlink()
    return made


def pbc(tmp_path: Path) -> Path:
    folder = tmp_path / "pbc"
    folder.mkdir()
    shutil.copy(ROOT / "configs" / "pbc" / "pbc2.csv", folder)
    return folder


def test_one_long_file_becomes_patients_and_visits(tmp_path: Path):
    folder = pbc(tmp_path)
    dictionary = read_dictionary(write_draft(folder))
    patients, visits = dictionary.tables["patients"], dictionary.tables["visits"]
    assert patients.file == visits.file == "pbc2"
    assert set(patients.columns) == {"patient_id", "years", "status", "drug", "age", "sex", "status2"}
    assert visits.columns["day"].source == "year"
    assert visits.columns["day"].multiply == 365.25
    assert visits.columns["histologic"].type == "ordinal"
    assert visits.columns["serbilir"].scale == "log"
    assert visits.columns["albumin"].scale == "linear"
    assert visits.columns["serchol"].missing
    assert not visits.columns["albumin"].missing
    assert dictionary.outcome is not None
    assert (dictionary.outcome.time, dictionary.outcome.status, dictionary.outcome.censored) == (
        "years",
        "status",
        "alive",
    )
    assert dictionary.declared_patients == 310


def test_the_draft_reads_the_tables_it_was_made_from(tmp_path: Path):
    folder = pbc(tmp_path)
    cohort = read_cohort(folder, read_dictionary(write_draft(folder)))
    assert cohort.visits is not None
    assert (len(cohort), len(cohort.visits)) == (312, 1945)


def test_all_that_was_read_from_the_data_is_marked(tmp_path: Path):
    dictionary = read_dictionary(write_draft(pbc(tmp_path)))
    read = {
        f"{t}.{c}"
        for t, table in dictionary.tables.items()
        for c, column in table.columns.items()
        if column.bounds or column.categories
    }
    assert set(dictionary.unreviewed) == read
    assert len(read) == 19


def test_bounds_are_rounded_outward_so_that_no_patients_value_stands_in_them(tmp_path: Path):
    folder = pbc(tmp_path)
    raw = pd.read_csv(folder / "pbc2.csv")
    for name, column in read_dictionary(write_draft(folder)).measurements.items():
        if column.bounds:
            values = raw[column.source or name]
            assert column.bounds[0] <= values.min(), name
            assert column.bounds[1] >= values.max(), name
            assert all(bound == float(f"{bound:.1g}") for bound in column.bounds), name


def test_tables_are_found_by_name_and_the_draft_reads_them(folder: Path):
    before = bytes_of(folder)
    dictionary = read_dictionary(write_draft(folder))
    assert list(dictionary.tables) == ["patients", "visits", "events", "notes"]
    assert dictionary.name == "clinic-a"
    assert dictionary.tables["events"].columns["code"].role == "code"
    assert dictionary.tables["events"].columns["stop"].role == "stop"
    assert dictionary.tables["notes"].columns["text"].type == "text"
    assert len(read_cohort(folder, dictionary)) == 4
    assert {name: content for name, content in bytes_of(folder).items() if name != "cohort.yaml"} == before


def test_files_of_other_names_are_placed_by_their_shape_and_others_are_remarked(folder: Path):
    (folder / "patients.csv").rename(folder / "demographics.csv")
    (folder / "visits.csv").rename(folder / "labs.csv")
    (folder / "events.csv").rename(folder / "prescriptions.csv")
    proposal = draft(folder)
    assert {name: table.get("file") for name, table in proposal.content["tables"].items()} == {
        "patients": "demographics",
        "visits": "labs",
        "notes": None,
    }
    assert "No table was found for prescriptions.csv" in proposal.text


def test_dates_are_explained_and_left_out(tmp_path: Path):
    pd.DataFrame(
        {"ID": [1, 1, 2], "Visit Date": ["2019-03-04", "2020-05-06", "2019-01-01"], "hb": [10.1, 11.2, 12.3]}
    ).to_csv(tmp_path / "visits.csv", index=False)
    pd.DataFrame({"ID": [1, 2], "born": ["1961-01-02", "1970-12-30"], "sex": ["f", "m"]}).to_csv(
        tmp_path / "patients.csv", index=False
    )
    path = write_draft(tmp_path)
    dictionary = read_dictionary(path)
    assert dictionary.tables["patients"].ignore == ("born",)
    assert "# born is left out: it holds dates, which identify patients." in path.read_text()
    assert dictionary.tables["visits"].columns["day"].unreviewed == "holds dates; days are needed"
    assert "# Visit Date holds dates, which identify patients: write days since" in path.read_text()
    assert not any(year in path.read_text() for year in ("2019", "2020", "1961", "1970"))
    with pytest.raises(DataError, match=r"visits\.day \(Visit Date in the file\): fewer than 11 rows hold a date"):
        read_cohort(tmp_path, dictionary)


def test_free_text_and_other_identifiers_are_left_out(tmp_path: Path):
    names = [f"Name Surname {i}" for i in range(30)]
    pd.DataFrame({"patient_id": range(30), "name": names, "site": "North", "age": np.arange(30) + 40}).to_csv(
        tmp_path / "patients.csv", index=False
    )
    proposal = draft(tmp_path)
    assert proposal.content["tables"]["patients"]["ignore"] == ["name", "site"]
    assert "Surname" not in proposal.text
    assert len(read_cohort(tmp_path, Dictionary.model_validate(proposal.content))) == 30


def test_parquet_is_drafted_as_well(tmp_path: Path):
    pd.DataFrame(
        {"patient_id": ["a", "b", "c"], "weeks": [10, 20, 30], "died": [True, False, True], "x": [0.5, None, 1.25]}
    ).to_parquet(tmp_path / "patients.parquet")
    dictionary = Dictionary.model_validate(draft(tmp_path).content)
    columns = dictionary.tables["patients"].columns
    assert columns["weeks"].multiply == 7
    assert columns["died"].categories == ("no", "yes")
    assert columns["x"].missing
    assert dictionary.outcome is not None
    assert dictionary.outcome.censored == "no"
    assert read_cohort(tmp_path, dictionary).patients["weeks"].tolist() == [70, 140, 210]


def test_without_a_day_the_draft_says_so(tmp_path: Path):
    pd.DataFrame({"patient_id": [1, 1, 2], "hb": [10.1, 11.2, 12.3]}).to_csv(tmp_path / "visits.csv", index=False)
    proposal = draft(tmp_path)
    assert "No column could be the day" in proposal.text
    assert Dictionary.model_validate(proposal.content).tables["visits"].columns["day"].unreviewed


def test_a_column_name_cannot_write_into_the_dictionary(tmp_path: Path):
    (tmp_path / "patients.csv").write_text('patient_id,"a\nlicence: stolen",b: c #\n1,2020-01-01,5\n2,2020-01-02,6\n')
    content = yaml.safe_load(write_draft(tmp_path).read_text())
    assert "licence" not in content
    assert content["tables"]["patients"]["ignore"] == ["a\nlicence: stolen"]
    assert content["tables"]["patients"]["columns"]["b_c"]["source"] == "b: c #"


def test_a_dictionary_is_never_replaced(folder: Path):
    path = write_draft(folder)
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists already; move it away"):
        write_draft(folder)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no .csv or .parquet file; put the cohort's tables there"),
        ({"visits.csv": "day,hb\n0,1\n"}, "visits.csv: no column could be the patient's id; call it patient_id"),
        ({"visits.csv": "patient_id,day\n"}, "visits.csv: the table has no rows"),
    ],
)
def test_what_cannot_be_drafted_is_refused(files: dict[str, str], words: str, tmp_path: Path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=words):
        write_draft(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        write_draft(tmp_path / "nowhere")


def test_init_and_validate_on_the_command_line(folder: Path, cli):
    code, out, _ = cli("init", folder)
    assert code == 0
    assert "4 tables" in out
    assert [line.split()[1] for line in out.splitlines()[-3:]] == ["validate", "plan", "run"]
    job = load_job(folder / "job.yaml")
    assert (job.name, job.cohort, job.privacy.epsilon, list(job.generators)) == (
        "clinic-a",
        folder / "cohort.yaml",
        3,
        ["ehr", "notes"],
    )
    code, out, _ = cli("validate", folder, "--json")
    answer = json.loads(out)
    assert (code, answer["conforms"], answer["breaches"]) == (0, True, [])
    assert "visits.bilirubin" in answer["unreviewed"]
    code, _, err = cli("init", folder)
    assert code == 2
    assert "exists already" in err


def test_validate_lists_every_breach_and_says_no(tmp_path: Path, cli):
    folder = make(tmp_path / "cohort")
    text = (folder / "visits.csv").read_text()
    (folder / "visits.csv").write_text(text.replace("14.2", "1420").replace("QD40", "QZ99"))
    code, out, _ = cli("validate", folder)
    assert code == 1
    assert out.startswith("2 breaches:\n- visits.bilirubin: ")
    assert "QZ99" not in out
    code, out, _ = cli("validate", folder / "cohort.yaml", "--data", ROOT / "configs" / "pbc")
    assert code == 1
    assert "patients: neither patients.parquet nor patients.csv" in out
    code, _, err = cli("validate", tmp_path / "nowhere.yaml")
    assert code == 2
    assert "nowhere.yaml: no such file" in err


def test_stops_and_ends_of_follow_up_are_days_and_doses_are_numbers(tmp_path: Path):
    n = 40
    ids = [f"P{i:02d}" for i in range(n)]
    skewed = np.geomspace(71, 2900, n).round().astype(int)
    pd.DataFrame({"patient_id": ids, "last_seen": skewed, "status": ["alive", "dead"] * (n // 2)}).to_csv(
        tmp_path / "patients.csv", index=False
    )
    pd.DataFrame(
        {
            "patient_id": ids,
            "start": range(n),
            "stop_day": skewed,
            "dose": [100, 250] * (n // 2),
            "code": ["a", "b"] * (n // 2),
        }
    ).to_csv(tmp_path / "events.csv", index=False)
    dictionary = Dictionary.model_validate(draft(tmp_path).content)
    patients, events = dictionary.tables["patients"].columns, dictionary.tables["events"].columns
    for column in (patients["last_seen"], events["stop_day"]):
        assert (column.type, column.bounds, column.scale) == ("integer", (0, 3000), "linear")
    assert dictionary.outcome is not None
    assert dictionary.outcome.time == "last_seen"
    assert (events["stop_day"].role, events["dose"].role, events["dose"].numeric) == ("stop", "dose", True)
    assert len(read_cohort(tmp_path, dictionary)) == n


def test_a_dose_in_words_is_remarked_and_has_no_role(tmp_path: Path):
    pd.DataFrame(
        {"patient_id": [1, 1, 2, 2] * 2, "day": range(8), "dose": ["5 mg", "7 mg"] * 4, "code": ["a", "b"] * 4}
    ).to_csv(tmp_path / "events.csv", index=False)
    proposal = draft(tmp_path)
    assert "dose holds words: write numbers into the file" in proposal.text
    assert Dictionary.model_validate(proposal.content).tables["events"].columns["dose"].role is None


def test_a_stop_in_the_file_of_weeks_is_in_weeks(tmp_path: Path):
    pd.DataFrame({"patient_id": [1, 1, 2], "week": [0, 4, 1], "stop": [2, 8, 9], "code": ["a", "b", "a"]}).to_csv(
        tmp_path / "events.csv", index=False
    )
    assert draft(tmp_path).content["tables"]["events"]["columns"]["stop"]["multiply"] == 7


def test_a_job_that_is_there_is_kept(folder: Path, cli):
    (folder / "job.yaml").write_text("mine")
    assert cli("init", folder)[0] == 0
    assert (folder / "job.yaml").read_text() == "mine"


def test_pictures_and_notes_are_drafted_and_stand_in_the_job(tmp_path: Path):
    from PIL import Image

    (tmp_path / "scans").mkdir()
    for name in ("a", "b"):
        Image.new("L", (40, 40)).save(tmp_path / "scans" / f"{name}.png")
    (tmp_path / "patients.csv").write_text("patient_id,sex\nP1,f\nP2,m\nP3,f\nP4,m\n")
    (tmp_path / "images.csv").write_text("patient_id,file\nP1,scans/a.png\nP2,scans/b.png\n")
    (tmp_path / "notes.csv").write_text('patient_id,text\nP1,"seen today, doing well"\nP2,"seen today, not so well"\n')
    dictionary = read_dictionary(write_draft(tmp_path))
    picture = dictionary.tables["images"].columns["file"]
    assert (picture.type, picture.size, picture.channels) == ("image", 64, 1)
    job = load_job(write_job(tmp_path, dictionary))
    assert list(job.generators) == ["ehr", "images", "notes"]
