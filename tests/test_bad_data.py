"""Wrong tables and dictionaries: one error that names place and fix, no patient value or id in it, inputs untouched."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from small_cohort import IDS, bytes_of, make

from synthgen.dictionary import read_dictionary
from synthgen.errors import ConfigError, DataError
from synthgen.storage import read_cohort

Edit = Callable[[Path], None]


def swap(name: str, old: str, new: str) -> Edit:
    """Replaces one passage of a file, which must be there."""

    def edit(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(old) >= 1
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


def put(name: str, content: str | bytes) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return edit


def gone(name: str) -> Edit:
    return lambda folder: (folder / name).unlink()


def each(*edits: Edit) -> Edit:
    def edit(folder: Path) -> None:
        for one in edits:
            one(folder)

    return edit


def parquet(table: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Edit:
    """The table as a Parquet file instead of its CSV, in typed columns, after a change."""

    def edit(folder: Path) -> None:
        change(pd.read_csv(folder / f"{table}.csv")).to_parquet(folder / f"{table}.parquet")
        (folder / f"{table}.csv").unlink()

    return edit


def marked_synthetic(folder: Path) -> None:
    from synthgen.formats import parquet as format_

    format_.write(folder / "notes.parquet", pd.read_csv(folder / "notes.csv"), "synthetic")
    (folder / "notes.csv").unlink()


def columns_twice(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table([["QA17"], [0], [1]], names=["patient_id", "day", "day"])
    pq.write_table(table, folder / "notes.parquet")
    (folder / "notes.csv").unlink()


def truncated_parquet(folder: Path) -> None:
    parquet("notes", lambda frame: frame)(folder)
    whole = (folder / "notes.parquet").read_bytes()
    (folder / "notes.parquet").write_bytes(whole[: len(whole) // 2])


def garbled_parquet(folder: Path) -> None:
    """Damage in the data pages, with the footer whole."""
    parquet("notes", lambda frame: frame)(folder)
    whole = bytearray((folder / "notes.parquet").read_bytes())
    whole[4:60] = b"\xff" * 56
    (folder / "notes.parquet").write_bytes(whole)


def shared_file(folder: Path) -> None:
    """patients and visits from one file, in which a constant is none."""
    swap("cohort.yaml", "  patients:\n", "  patients:\n    file: all\n")(folder)
    swap("cohort.yaml", "  visits:\n", "  visits:\n    file: all\n")(folder)
    both = pd.read_csv(folder / "visits.csv", dtype=str).merge(pd.read_csv(folder / "patients.csv", dtype=str))
    both.loc[1, "years_old"] = "44.44"
    both.to_csv(folder / "all.csv", index=False)
    for name in ("patients.csv", "visits.csv"):
        (folder / name).unlink()


def one_patient(folder: Path) -> None:
    for name in ("patients", "visits", "events", "notes"):
        frame = pd.read_csv(folder / f"{name}.csv", dtype=str)
        frame[frame["patient_id"] == "QA17"].to_csv(folder / f"{name}.csv", index=False)


WITH_IMAGES = swap(
    "cohort.yaml",
    "  notes:\n",
    "  images:\n    columns: {patient_id: {type: id}, file: {type: file}}\n  notes:\n",
)

# case: (edit, words that the message holds, planted odd values that it does not hold)
WRONG_DATA: dict[str, tuple[Edit, list[str], list[str]]] = {
    # files
    "no file of a table": (gone("visits.csv"), ["visits: neither visits.parquet nor visits.csv", "add it"], []),
    "a table that nobody declared": (
        put("phenotypes.csv", "patient_id,hpo\nQA17,HP:0001541\n"),
        ["phenotypes: the dictionary does not declare phenotypes.csv", "declare the table"],
        ["HP:0001541"],
    ),
    "both formats": (
        lambda f: pd.read_csv(f / "notes.csv").to_parquet(f / "notes.parquet"),
        ["notes: both notes.parquet and notes.csv", "keep the one"],
        [],
    ),
    "a folder in the place of a file": (
        each(gone("notes.csv"), lambda folder: (folder / "notes.csv").mkdir()),
        ["notes: neither notes.parquet nor notes.csv"],
        [],
    ),
    # CSV
    "empty file": (put("visits.csv", ""), ["visits.csv: line 1 holds no column names", "empty"], []),
    "blank file": (put("visits.csv", "\n\n\n"), ["visits.csv: line 1 holds no column names"], []),
    "only a byte order mark": (put("visits.csv", b"\xef\xbb\xbf"), ["visits.csv: line 1 holds no column names"], []),
    "UTF-16": (
        put("notes.csv", "patient_id,day,text\nQA17,0,x\n".encode("utf-16")),
        ["notes.csv: line 1: the text is UTF-16", "save it as CSV UTF-8"],
        [],
    ),
    "a NUL byte": (
        put("notes.csv", "patient_id,day,text\nQA17,0,od\0d\n"),
        ["notes.csv: line 2 holds a NUL byte"],
        ["od"],
    ),
    "Latin-1": (
        put("notes.csv", "patient_id,day,text\nQA17,0,x\nQB28,0,Müdigkeit\n".encode("latin-1")),
        ["notes.csv: line 3 is not UTF-8", "Latin-1", "save it as CSV UTF-8"],
        ["digkeit"],
    ),
    "semicolons": (
        put("visits.csv", "patient_id;years;bilirubin\nQA17;0;0,9\n"),
        ["visits.csv: line 1", "semicolons", "commas"],
        [],
    ),
    "tabs": (put("visits.csv", "patient_id\tyears\nQA17\t0\n"), ["visits.csv: line 1", "tabs"], []),
    "a short row": (
        swap("visits.csv", "QA17,1,1.1,1,NA", "QA17,1,6.66"),
        ["visits.csv: line 5 has 3 cells, the header has 5"],
        ["6.66"],
    ),
    "a long row": (
        swap("visits.csv", "14.2", "14,2"),
        ["visits.csv: line 7 has 6 cells, the header has 5", "quotation marks"],
        ["14"],
    ),
    "a quotation mark that does not close": (
        swap("notes.csv", 'flags""."', 'flags"". Planted'),
        ["notes.csv: line 4", "a quotation mark does not close"],
        ["Planted"],
    ),
    "text after a quotation mark": (
        swap("notes.csv", '"Tired, itching.', '"Tired" planted, itching.'),
        ["notes.csv: line 2", "quotation mark"],
        ["planted"],
    ),
    "a column name twice": (
        swap("visits.csv", "stage,ascites", "stage,stage"),
        ["visits.csv: line 1: columns number 4 and 5 have one name"],
        [],
    ),
    "a column without a name": (
        swap("visits.csv", "stage,ascites", "stage,"),
        ["visits.csv: line 1: column number 5 has no name"],
        [],
    ),
    "no header": (
        swap("visits.csv", "patient_id,years,bilirubin,stage,ascites\n", ""),
        ["visits: none of the declared columns", "header"],
        ["2.4"],
    ),
    # Parquet
    "no Parquet at all": (
        each(gone("notes.csv"), put("notes.parquet", "patient_id,day,text\n")),
        ["notes.parquet: the file is no Parquet file or is damaged", "export it again"],
        [],
    ),
    "half a Parquet file": (truncated_parquet, ["notes.parquet: the file is no Parquet file or is damaged"], []),
    "garbled Parquet pages": (garbled_parquet, ["notes.parquet: the file is no Parquet file or is damaged"], []),
    "a synthetic cohort": (marked_synthetic, ["notes.parquet: the file is marked as synthetic", "real patients"], []),
    "Parquet columns of one name": (columns_twice, ["notes.parquet: two columns have one name"], []),
    "Parquet lists": (
        parquet("notes", lambda frame: frame.assign(text=[["od", "d"], ["x"]])),
        ["notes.parquet: column text holds lists", "one value a cell"],
        ["od"],
    ),
    "Parquet timestamps": (
        parquet("notes", lambda frame: frame.assign(day=pd.to_datetime(["2019-03-04", "2020-05-06"]))),
        ["notes.day: fewer than 11 rows hold a date", "days since the patient's first visit"],
        ["2019", "2020"],
    ),
    "Parquet dates": (
        parquet("notes", lambda frame: frame.assign(day=[datetime.date(2019, 3, 4), datetime.date(2020, 5, 6)])),
        ["notes.day: fewer than 11 rows hold a date"],
        ["2019", "2020"],
    ),
    "Parquet durations": (
        parquet("notes", lambda frame: frame.assign(day=pd.to_timedelta([3, 7], unit="D"))),
        ["notes.day: fewer than 11 rows hold no number; the column is declared integer"],
        ["3 days"],
    ),
    "Parquet truth values as numbers": (
        parquet("notes", lambda frame: frame.assign(day=[True, False])),
        ["notes.day: fewer than 11 rows hold no number"],
        ["True"],
    ),
    "Parquet infinity": (
        parquet("events", lambda frame: frame.assign(dose=[float("inf"), 1.0, 2.0])),
        ["events.dose: fewer than 11 rows are NaN or infinite"],
        [],
    ),
    # columns
    "a column is missing": (
        swap("visits.csv", "stage", "phase"),
        ["visits.stage: the column is missing; add it", "visits.csv: column phase is not declared"],
        [],
    ),
    "a column under another name is missing": (
        swap("patients.csv", "years_old", "age_years"),
        ["patients.age (years_old in the file): the column is missing", "`source`"],
        [],
    ),
    "a column too many": (
        put(
            "patients.csv",
            "patient_id,years_old,sex,followup_days,status,born\nQA17,34.5,f,800,alive,1985\nQB28,61,m,400,dead,1960\n",
        ),
        ["patients.csv: column born is not declared", "`ignore`"],
        ["1985"],
    ),
    "no id column": (
        swap("visits.csv", "patient_id", "QX99"),
        ["visits.patient_id: the column is missing", "visits.csv: column number 1 is not declared"],
        ["QX99"],
    ),
    # cells
    "a word for a number": (
        swap("visits.csv", "14.2", "oddly"),
        ["visits.bilirubin: fewer than 11 rows hold no number; the column is declared continuous"],
        ["oddly"],
    ),
    "a number with its unit": (swap("visits.csv", "14.2", "14.2 mg"), ["visits.bilirubin", "hold no number"], ["14.2"]),
    "a comparison": (swap("visits.csv", "14.2", "<14.2"), ["visits.bilirubin", "hold no number"], ["14.2"]),
    "a decimal comma": (
        swap("visits.csv", "14.2", '"14,2"'),
        ["visits.bilirubin: fewer than 11 rows have a decimal comma; write a decimal point"],
        ["14,2"],
    ),
    "NaN in words": (
        swap("visits.csv", "14.2", "NaN"),
        ["visits.bilirubin", "NaN or infinite; leave the cell empty"],
        [],
    ),
    "infinity in words": (swap("visits.csv", "14.2", "-inf"), ["visits.bilirubin", "NaN or infinite"], ["-inf"]),
    "an overflowing number": (swap("visits.csv", "14.2", "1e999"), ["visits.bilirubin", "hold no number"], ["1e999"]),
    "a date in place of a day": (
        swap("visits.csv", "QA17,1,", "QA17,2021-04-17,"),
        ["visits.day (years in the file): fewer than 11 rows hold a date; write days since the patient's first visit"],
        ["2021"],
    ),
    "a German date": (swap("events.csv", "QA17,10", "QA17,17.04.2021"), ["events.day", "hold a date"], ["17.04"]),
    "a date and time": (
        swap("events.csv", "QA17,10", "QA17,2021-04-17T08:30:00"),
        ["events.day", "hold a date"],
        ["08:30"],
    ),
    "half a day": (swap("events.csv", "QA17,10", "QA17,10.5"), ["events.day", "no whole number; round them"], ["10.5"]),
    "above the bounds": (
        swap("visits.csv", "14.2", "142.7"),
        ["visits.bilirubin: fewer than 11 rows lie outside the bounds [0.05, 80]", "unit", "widen the bounds"],
        ["142"],
    ),
    "below the bounds": (swap("visits.csv", "14.2", "-14.2"), ["visits.bilirubin", "outside the bounds"], ["14.2"]),
    "an unknown category": (
        swap("patients.csv", "61.25,m", "61.25,divers"),
        ["patients.sex: fewer than 11 rows hold no declared category", "`recode`"],
        ["divers"],
    ),
    "a category in other letters": (
        swap("patients.csv", "61.25,m", "61.25,Male"),
        ["patients.sex", "no declared category"],
        ["Male"],
    ),
    "an unknown step of an ordinal": (
        swap("visits.csv", "14.2,3", "14.2,9"),
        ["visits.stage", "no declared category"],
        [],
    ),
    "a missing value": (swap("patients.csv", "61.25,m", ",m"), ["patients.age", "have no value", "missing: true"], []),
    "a value that R calls missing": (swap("patients.csv", "61.25,m", "NA,m"), ["patients.age", "have no value"], []),
    "a missing category": (swap("visits.csv", "14.2,3", "14.2,"), ["visits.stage", "have no value"], []),
    "an empty note": (swap("notes.csv", "=SUM(A1) is not a formula here", "   "), ["notes.text", "have no value"], []),
    # ids
    "a patient without an id": (
        swap("patients.csv", "QB28,", ","),
        ["patients.patient_id: fewer than 11 rows have no id"],
        [],
    ),
    "a visit without an id": (
        swap("visits.csv", "QB28,", ","),
        ["visits.patient_id: fewer than 11 rows have no id"],
        [],
    ),
    "an id of blanks": (swap("visits.csv", "QB28,", "  ,"), ["visits.patient_id", "have no id"], []),
    "an id twice": (
        swap("patients.csv", "QB28,", "QA17,"),
        ["patients.patient_id: fewer than 11 rows repeat an id"],
        [],
    ),
    "a visit of nobody": (
        swap("visits.csv", "QC39,", "QZ99,"),
        ["visits.patient_id: fewer than 11 rows belong to no row of patients"],
        ["QZ99"],
    ),
    "an id with a blank": (
        swap("events.csv", "QB28,", "QB28 ,"),
        ["events.patient_id", "belong to no row of patients"],
        [],
    ),
    "a note of nobody": (swap("notes.csv", "QB28,", "QZ99,"), ["notes.patient_id", "belong to no row"], ["QZ99"]),
    # rows
    "a header alone": (
        put("visits.csv", "patient_id,years,bilirubin,stage,ascites\n"),
        ["visits: the table has no rows"],
        [],
    ),
    "no patients": (
        put("patients.csv", "patient_id,years_old,sex,followup_days,status\n"),
        ["patients: the table has no rows"],
        [],
    ),
    "one patient": (one_patient, ["patients: there is one patient; a cohort needs at least 2"], []),
    # days
    "days that decrease": (
        swap("visits.csv", "QA17,1,", "QA17,2.5,"),
        ["visits.day: fewer than 11 rows come before the row above them", "sort the file by day"],
        ["2.5", "913"],
    ),
    "a day twice": (
        swap("visits.csv", "QA17,1,", "QA17,0,"),
        ["visits.day: fewer than 11 rows repeat a day", "merge"],
        [],
    ),
    "no visit at day 0": (
        swap("visits.csv", "QC39,0,", "QC39,0.25,"),
        ["visits.day: fewer than 11 patients have no visit at day 0"],
        ["0.25", "91"],
    ),
    "a negative day": (
        swap("visits.csv", "QC39,0,", "QC39,-0.25,"),
        ["visits.day", "outside the bounds [0, 4000]"],
        ["0.25", "-91"],
    ),
    "a visit after death": (
        swap("visits.csv", "QB28,0.5,", "QB28,1.5,"),
        ["visits.day: fewer than 11 rows lie after the patient's end of follow-up (patients.followup_days)"],
        ["548"],
    ),
    "an event after death": (
        swap("events.csv", "QB28,0,ursodiol,400", "QB28,444,ursodiol,"),
        ["events.day", "end of follow-up"],
        ["444"],
    ),
    "a note after death": (swap("notes.csv", "QB28,100", "QB28,444"), ["notes.day", "end of follow-up"], ["444"]),
    "a drug that is taken after death": (
        swap("events.csv", "ursodiol,400", "ursodiol,444"),
        ["events.stop", "end of follow-up"],
        ["444"],
    ),
    "a stop before the start": (
        swap("events.csv", "QA17,10,ursodiol,300", "QA17,310,ursodiol,300"),
        ["events.stop: fewer than 11 rows stop before they start"],
        ["310"],
    ),
    # between files
    "a patient's constant that changes": (
        shared_file,
        ["patients.age (years_old in the file): fewer than 11 patients have more than one value", "constant"],
        ["44.44"],
    ),
    "an image that is not there": (
        each(WITH_IMAGES, put("images.csv", "patient_id,file\nQA17,odd/liver.png\n")),
        ["images.file: fewer than 11 rows name no file inside the cohort's folder"],
        ["liver.png"],
    ),
    "an image outside of the folder": (
        each(WITH_IMAGES, put("../secret.png", "x"), put("images.csv", "patient_id,file\nQA17,../secret.png\n")),
        ["images.file: fewer than 11 rows name no file inside the cohort's folder", "relative"],
        ["secret.png"],
    ),
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_wrong_tables_are_refused_in_one_message(case: str, tmp_path: Path):
    edit, expected, planted = WRONG_DATA[case]
    folder = make(tmp_path / "cohort")
    edit(folder)
    before = bytes_of(folder)
    dictionary = read_dictionary(folder / "cohort.yaml")
    with pytest.raises(DataError) as refusal:
        read_cohort(folder, dictionary)
    message = str(refusal.value)
    assert [words for words in expected if words not in message] == [], message
    assert [word for word in (*planted, *IDS) if word in message] == [], message
    assert all(breach.count("\n") == 0 and breach.endswith(".") for breach in refusal.value.breaches), message
    assert bytes_of(folder) == before


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    dictionary = read_dictionary(make(tmp_path / "cohort") / "cohort.yaml")
    with pytest.raises(DataError, match=r"nowhere: no such folder; name the folder"):
        read_cohort(tmp_path / "nowhere", dictionary)


def test_every_breach_is_told_at_once(tmp_path: Path):
    folder = make(tmp_path / "cohort")
    for case in ("a visit of nobody", "an unknown category", "a stop before the start", "a note after death"):
        WRONG_DATA[case][0](folder)
    with pytest.raises(DataError) as refusal:
        read_cohort(folder, read_dictionary(folder / "cohort.yaml"))
    assert len(refusal.value.breaches) == 4


# case: (old passage of cohort.yaml, new passage, words that the message holds)
WRONG_DICTIONARIES = {
    "unknown key": ("title:", "titel:", ["titel", "unknown key"]),
    "unknown key of a column": (
        "years_old}",
        "years_old, min: 3}",
        ["tables.patients.columns.age.min", "unknown key"],
    ),
    "unknown type": ("{type: text}", "{type: prose}", ["tables.notes.columns.text.type"]),
    "unknown scale": ("scale: log", "scale: cubic", ["tables.visits.columns.bilirubin.scale"]),
    "no bounds": (
        "{type: continuous, bounds: [18, 95]",
        "{type: continuous",
        ["patients.columns.age", "public bounds"],
    ),
    "bounds the wrong way round": ("[18, 95]", "[95, 18]", ["patients.columns.age", "low < high"]),
    "three bounds": ("[18, 95]", "[18, 95, 99]", ["patients.columns.age.bounds"]),
    "a bound that is no number": ("[18, 95]", "[18, .nan]", ["patients.columns.age.bounds"]),
    "an infinite bound": ("[18, 95]", "[18, .inf]", ["patients.columns.age.bounds"]),
    "a logarithm of zero": ("[0.05, 80]", "[0, 80]", ["visits.columns.bilirubin", "lower bound above 0"]),
    "one category": ("[f, m]", "[f]", ["patients.columns.sex", "at least two categories"]),
    "no categories": (", categories: [f, m]", "", ["patients.columns.sex", "at least two categories"]),
    "a category twice": ("[f, m]", "[f, f]", ["patients.columns.sex", "differ from each other"]),
    "shares of other categories": (
        "[f, m]",
        "[f, m], knowledge: {source: s, frequencies: {f: 1}}",
        ["one share for each"],
    ),
    "shares that do not sum to 1": (
        "[f, m]",
        "[f, m], knowledge: {source: s, frequencies: {f: .5, m: .2}}",
        ["patients.columns.sex", "sum to 1"],
    ),
    "knowledge without a source": ("decimals: 1", "decimals: 1, knowledge: {typical: 50}", ["age.knowledge.source"]),
    "knowledge outside of the bounds": (
        "decimals: 1",
        "decimals: 1, knowledge: {source: s, typical: 5}",
        ["patients.columns.age", "outside the bounds"],
    ),
    "a negative spread": ("decimals: 1", "decimals: 1, knowledge: {source: s, spread: -1}", ["age.knowledge.spread"]),
    "an unknown table": ("  notes:\n", "  letters:\n", ["unknown table letters", "a cohort may have"]),
    "no patients": ("  patients:\n", "  phenotypes:\n", ["needs the table patients"]),
    "a table without ids": (
        "      patient_id: {type: id}\n",
        "",
        ["table patients needs the column patient_id (type: id)"],
    ),
    "ids that are numbers": (
        "{type: id}",
        "{type: integer, bounds: [0, 9]}",
        ["needs the column patient_id (type: id)"],
    ),
    "visits without a day": (
        "      day: {type: integer, bounds: [0, 4000], source",
        "      when: {type: integer, bounds: [0, 4000], source",
        ["table visits needs the column day (type: integer)"],
    ),
    "days that are words": (
        "day: {type: integer, bounds: [0, 4000]}\n      text",
        "day: {type: text}\n      text",
        ["table notes needs the column day (type: integer)"],
    ),
    "days before the first": (
        "[0, 4000]}\n      text",
        "[-30, 4000]}\n      text",
        ["table notes: the bounds of day start at 0"],
    ),
    "an outcome without its column": (
        "time: followup_days",
        "time: futime",
        ["outcome.time names no column of patients"],
    ),
    "an outcome in words": ("time: followup_days", "time: sex", ["outcome.time needs a numeric column"]),
    "an unknown censored": ("censored: alive", "censored: lost", ["outcome.censored is not a category"]),
    "a task about nothing": ("event: [dead]", "event: [cured]", ["task death_1y: cured is no event of the outcome"]),
    "a task without an outcome": (
        "outcome: {time: followup_days, status: status, censored: alive}\n",
        "",
        ["need an outcome"],
    ),
    "a horizon of nothing": ("horizon_days: 365", "horizon_days: 0", ["tasks.0.horizon_days"]),
    "a rule for no table": (
        "expression: day",
        "table: images, expression: day",
        ["rule within: the cohort has no table images"],
    ),
    "a rule of unknown severity": ("severity: hard", "severity: lethal", ["rules.0.severity"]),
    "a name with a slash": ("name: small", "name: ../small", ["name"]),
    "one declared patient": ("declared_patients: 4", "declared_patients: 1", ["declared_patients"]),
    "no declared patients": ("declared_patients: 4\n", "", ["declared_patients: Field required"]),
    "a key twice": ("      status: {", "      age: {", ["line 16", "one key stands twice"]),
    "no YAML": ("tables:\n", "tables: [\n", ["is not valid YAML", "line"]),
    "a tab": ("  patients:\n", "\tpatients:\n", ["line 10", "is not valid YAML"]),
}


@pytest.mark.parametrize("case", WRONG_DICTIONARIES)
def test_a_wrong_dictionary_is_refused_in_one_message(case: str, tmp_path: Path):
    old, new, expected = WRONG_DICTIONARIES[case]
    folder = make(tmp_path / "cohort")
    swap("cohort.yaml", old, new)(folder)
    before = bytes_of(folder)
    with pytest.raises(ConfigError) as refusal:
        read_dictionary(folder / "cohort.yaml")
    message = str(refusal.value)
    assert str(folder / "cohort.yaml") in message
    assert [words for words in expected if words not in message] == [], message
    assert bytes_of(folder) == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "needs keys and values"),
        (b"- name\n", "needs keys and values"),
        ("title: Größe\n".encode("latin-1"), "cannot be read as text"),
        (b"!!python/object/apply:os.system ['true']\n", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_dictionary_is_refused(content: bytes, words: str, tmp_path: Path):
    (tmp_path / "cohort.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_dictionary(tmp_path / "cohort.yaml")
