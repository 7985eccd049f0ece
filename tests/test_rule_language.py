"""The language of clinical rules: what it says on four hand-worked rows, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from synthgen.dictionary import Column, Rule
from synthgen.errors import ConfigError
from synthgen.rules import holds

COLUMNS = {
    "albumin": Column(type="continuous", bounds=(0.5, 10), missing=True),
    "ascites": Column(type="categorical", categories=("no", "yes"), missing=True),
    "stage": Column(type="ordinal", categories=("1", "2", "3")),
}
ROWS = pd.DataFrame(
    {
        "patient_id": ["A", "A", "B", "B"],
        "albumin": [3.0, 5.0, np.nan, 4.0],
        "ascites": pd.Categorical(["yes", "yes", "yes", None], ["no", "yes"]),
        "stage": pd.Categorical(["1", "3", "2", "2"], ["1", "2", "3"], ordered=True),
    }
)
UNKNOWN = np.nan


def told(expression: str) -> Any:
    return holds(Rule(name="r", expression=expression, text="t"), ROWS, COLUMNS)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('albumin < 4 or ascites == "no"', [1, 0, UNKNOWN, UNKNOWN]),
        ('albumin < 4.5 or ascites == "no"', [1, 0, UNKNOWN, 1]),  # one known side decides
        ('albumin < 4 and ascites == "no"', [0, 0, 0, 0]),  # false decides, whatever is missing: 4.0 < 4 is false
        ("not albumin < 4", [0, 1, UNKNOWN, 1]),
        ("albumin - previous(albumin) < 1", [UNKNOWN, 0, UNKNOWN, UNKNOWN]),  # B's first row does not see A's last
        ("1 < albumin <= 4", [1, 0, UNKNOWN, 1]),
        ('stage >= "2"', [0, 1, 1, 1]),
        ("max(albumin, 4) == 4", [1, 0, UNKNOWN, 1]),
        ("abs(albumin - 4) < 1", [0, 0, UNKNOWN, 1]),
        ("albumin / 0 > 1", [1, 1, UNKNOWN, 1]),
        ("ever(albumin > 4)", [0, 1, UNKNOWN, UNKNOWN]),  # what was missing before may have been so
        ('not ever(ascites == "no")', [1, 1, 1, UNKNOWN]),
        ('implies(stage == "2", ever(albumin > 3.5))', [1, 1, UNKNOWN, 1]),
    ],
)
def test_hand_worked(expression: str, expected: list[float]) -> None:
    np.testing.assert_array_equal(told(expression), expected)


@pytest.mark.parametrize(
    "expression",
    [
        '__import__("os").system("true") == 0',
        "albumin.__class__ == 1",
        "albumin[0] == 1",
        "9 ** 9 ** 9 > albumin",
        "(lambda: 1)() == 1",
        "[x for x in albumin] == 1",
        'eval("1") == 1',
        "open == 1",
        "previous(albumin, 2) == 1",
        "abs(x=albumin) == 1",
        'f"{albumin}" == "1"',
        "(y := albumin) == 1",
        "albumin is 1",
        "albumin in ascites",
        "albumin if albumin else 1",
        "albumin",
        "weight > 1",
        'ascites == "perhaps"',
        "albumin >",
        "albumin < 1; albumin",
        "(" * 300 + "albumin" + ")" * 300 + " < 1",
        " or ".join(["albumin < 1"] * 500),
    ],
)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_refused_naming_the_rule(expression: str) -> None:
    with pytest.raises(ConfigError, match=r"rules?[. ]r\b"):
        told(expression)
