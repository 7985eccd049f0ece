"""The data dictionary says what is public, and nothing that contradicts itself (what is refused: test_bad_data)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_cohort import DICTIONARY, make

from synthgen.dictionary import Column, Dictionary, Knowledge, parse, read_dictionary
from synthgen.errors import ConfigError
from synthgen.storage import as_written, read_cohort


@pytest.fixture
def dictionary(tmp_path: Path) -> Dictionary:
    return read_dictionary(make(tmp_path / "cohort") / "cohort.yaml")


def test_words_that_yaml_takes_for_truth_or_numbers_stay_words(dictionary: Dictionary):
    visits = dictionary.tables["visits"].columns
    assert visits["ascites"].categories == ("no", "yes")
    assert visits["stage"].categories == ("1", "2", "3")


def test_columns_by_what_they_are_for(dictionary: Dictionary):
    assert list(dictionary.static) == ["age", "sex"]
    assert list(dictionary.measurements) == ["bilirubin", "stage", "ascites"]
    assert dictionary.outcome_events == ("dead",)


def test_a_dictionary_survives_json(dictionary: Dictionary):
    again = Dictionary.model_validate(dictionary.model_dump(mode="json"))
    assert again == dictionary
    assert again.fingerprint == dictionary.fingerprint


def test_the_fingerprint_changes_with_any_word():
    content = yaml.safe_load(DICTIONARY)
    before = Dictionary.model_validate(content).fingerprint
    content["tables"]["patients"]["columns"]["age"]["bounds"] = [18, 96]
    assert Dictionary.model_validate(content).fingerprint != before


def test_vague_keeps_bounds_and_drops_knowledge(dictionary: Dictionary):
    assert dictionary.is_vague
    columns = dict(dictionary.tables["patients"].columns)
    columns["age"] = columns["age"].model_copy(update={"knowledge": Knowledge(source="a paper of 1999", typical=50)})
    patients = dictionary.tables["patients"].model_copy(update={"columns": columns})
    informed = dictionary.model_copy(update={"tables": dict(dictionary.tables) | {"patients": patients}})
    assert not informed.is_vague
    assert informed.vague() == dictionary
    assert informed.vague().tables["patients"].columns["age"].bounds == (18, 95)


def test_what_was_read_from_the_data_is_told(dictionary: Dictionary):
    assert dictionary.unreviewed == []
    content = yaml.safe_load(DICTIONARY)
    content["tables"]["events"]["columns"]["dose"]["unreviewed"] = "read from the data"
    assert Dictionary.model_validate(content).unreviewed == ["events.dose"]


def test_it_is_frozen(dictionary: Dictionary):
    with pytest.raises(ValueError, match="frozen"):
        dictionary.name = "other"  # type: ignore[misc]
    assert isinstance(Column(type="id"), Column)


def test_the_dictionary_of_written_files_has_nothing_to_convert(dictionary: Dictionary):
    written = as_written(dictionary, "synthetic")
    assert [table.file for table in written.tables.values()] == [f"synthetic_{name}" for name in dictionary.tables]
    columns = [c for table in written.tables.values() for c in table.columns.values()]
    assert all(c.source is None and c.recode is None and c.multiply is None for c in columns)
    assert Dictionary.model_validate(written.model_dump(mode="json")) == written


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("events", "dose", {"type": "categorical", "categories": ["1", "2"], "role": "dose"}),
            "role: dose needs a numeric",
        ),
        (
            ("events", "stop", {"type": "text", "role": "stop"}),
            "role: stop needs a numeric column: write type: integer",
        ),
        (
            ("visits", "stage", {"type": "ordinal", "categories": ["1", "2"], "role": "time"}),
            "role: time needs a numeric",
        ),
        (("events", "stop", {"type": "integer", "bounds": [70, 3000], "role": "stop"}), "write bounds: \\[0, high\\]"),
        (
            ("patients", "followup_days", {"type": "integer", "bounds": [70, 3000]}),
            "write followup_days: bounds: \\[0, 3000\\]",
        ),
    ],
)
def test_days_and_doses_are_numbers_and_days_start_at_nought(change: tuple, words: str):
    table, name, column = change
    content = yaml.safe_load(DICTIONARY)
    content["tables"][table]["columns"][name] = column
    with pytest.raises(ConfigError, match=words):
        parse(Dictionary, content, "cohort.yaml")


def test_an_unknown_key_is_told_what_it_may_have_meant():
    content = yaml.safe_load(DICTIONARY)
    content["tables"]["visits"]["columns"]["stage"]["categorys"] = ["1"]
    with pytest.raises(ConfigError, match=r"visits\.columns\.stage\.categorys: unknown key; did you mean categories\?"):
        parse(Dictionary, content, "cohort.yaml")


def test_paths_may_be_words(tmp_path: Path):
    folder = make(tmp_path / "cohort")
    about = read_dictionary(str(folder / "cohort.yaml"))
    assert len(read_cohort(str(folder), about)) == 4
