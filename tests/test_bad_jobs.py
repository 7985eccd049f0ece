"""Wrong jobs, settings and commands: one clear message naming place and fix, exit code 2, no traceback, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from conftest import ROOT

GOOD = yaml.safe_load((ROOT / "configs/pbc.yaml").read_text()) | {"cohort": str(ROOT / "configs/pbc/cohort.yaml")}
PRIVACY = GOOD["privacy"]

WRONG_JOBS = {
    "a dictionary": ({"tables": {}}, "this is a data dictionary, not a job"),
    "unknown key": ({"epochs": 3}, "epochs: unknown key"),
    "unknown privacy key": (
        {"privacy": PRIVACY | {"epsilom": 1}},
        "privacy.epsilom: unknown key; did you mean epsilon?",
    ),
    "no privacy": ({"privacy": None}, "privacy"),
    "no epsilon": ({"privacy": {}}, "privacy.epsilon: Field required"),
    "epsilon zero": ({"privacy": {"epsilon": 0}}, "epsilon needs to be finite and > 0"),
    "epsilon negative": ({"privacy": {"epsilon": -1}}, "epsilon needs to be finite and > 0"),
    "epsilon infinite": ({"privacy": {"epsilon": float("inf")}}, "privacy.epsilon"),
    "epsilon nan": ({"privacy": {"epsilon": float("nan")}}, "privacy.epsilon"),
    "epsilon a word": ({"privacy": {"epsilon": "three"}}, "privacy.epsilon"),
    "delta one": ({"privacy": {"epsilon": 3, "delta": 1}}, "delta needs to lie between 0 and 1"),
    "delta above one": ({"privacy": {"epsilon": 3, "delta": 2}}, "delta needs to lie between 0 and 1"),
    "delta zero": ({"privacy": {"epsilon": 3, "delta": 0}}, "delta needs to lie between 0 and 1"),
    "delta of 1/n": ({"privacy": {"epsilon": 3, "delta": 1 / 312}}, "publishing one patient outright"),
    "hopeless epsilon": ({"privacy": {"epsilon": 0.001}}, "the output would be the public prior alone"),
    "holdout of everything": ({"holdout": 1.0}, "holdout"),
    "holdout of nothing": ({"holdout": 0.0}, "holdout"),
    "no generators": ({"generators": {}}, "generators"),
    "unknown generator": ({"generators": {"gan": {}}}, "generators.gan: no such generator"),
    "unknown generator setting": ({"generators": {"ehr": {"layers": 9}}}, "layers"),
    "no patients": ({"patients": 0}, "patients"),
    "unknown device": ({"device": "tpu"}, "device"),
    "unknown depth": ({"audit": "bottomless"}, "audit"),
    "negative seed": ({"seed": -1}, "seed"),
    "name with a slash": ({"name": "../pbc"}, "name"),
    "no such dictionary": ({"cohort": "nowhere.yaml"}, "nowhere.yaml: no such file"),
    "no such data": ({"data": "nowhere"}, "nowhere"),
}


def write(folder: Path, change: dict) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(GOOD | change))
    return path


@pytest.mark.parametrize("case", WRONG_JOBS)
def test_a_wrong_job_is_refused_in_one_message(case: str, cli, tmp_path: Path):
    change, words = WRONG_JOBS[case]
    workspace = tmp_path / "workspace"
    code, out, err = cli("run", write(tmp_path, change), "--workspace", workspace)
    assert code == 2
    assert words in err
    assert "Traceback" not in err + out
    assert not list(workspace.glob("runs/*/models")) and not list(workspace.glob("runs/*/answers"))  # noqa: PT018


TEXTS = {
    "not YAML": ("name: [pbc\n", "is not valid YAML"),
    "a list": ("- name\n", "needs keys and values"),
    "empty": ("", "needs keys and values"),
    "not text": (b"\xff\xfe\x00name", "cannot be read as text"),
    "python tags": ("!!python/object/apply:os.system ['true']\n", "is not valid YAML"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_file_that_is_no_job_is_refused_in_one_message(case: str, cli, tmp_path: Path):
    text, words = TEXTS[case]
    path = tmp_path / "job.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = cli("plan", path)
    assert code == 2
    assert words in err
    assert "Traceback" not in err + out


def test_a_job_may_begin_with_a_byte_order_mark(cli, tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + yaml.safe_dump(GOOD).encode())
    assert cli("plan", path)[0] == 0


def test_an_unreviewed_dictionary_is_refused(cli, tmp_path: Path):
    dictionary = yaml.safe_load((ROOT / "configs/pbc/cohort.yaml").read_text())
    dictionary["tables"]["visits"]["columns"]["albumin"]["unreviewed"] = "read from the data"
    (tmp_path / "cohort.yaml").write_text(yaml.safe_dump(dictionary))
    code, _, err = cli("plan", write(tmp_path, {"cohort": "cohort.yaml"}))
    assert code == 2
    assert "visits.albumin" in err and "delete its `unreviewed` mark" in err  # noqa: PT018


COMMANDS = {
    "no such run": (("status", "nonsense"), "no run nonsense"),
    "nothing to resume": (("resume",), "no run"),
    "no such job": (("run", "nowhere.yaml"), "nowhere.yaml: no such file"),
    "a folder for a job": (("plan", "."), "cannot be read"),
    "an unknown command": (("fly",), "No such command"),
    "an unknown option": (("plan", "job.yaml", "--fast"), "No such option"),
    "release of nothing": (("release",), "no run"),
    "samples of nothing": (("sample", "out"), "no run"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_wrong_command_is_refused_in_one_message(case: str, cli, tmp_path: Path, monkeypatch):
    arguments, words = COMMANDS[case]
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*arguments)
    assert code == 2
    assert words in err
    assert "Traceback" not in err + out
    assert not (tmp_path / "out").exists()


def test_errors_are_json_where_json_was_asked_for(cli, tmp_path: Path):
    import json

    code, out, _ = cli("plan", tmp_path / "nowhere.yaml", "--json")
    assert code == 2
    assert json.loads(out)["error"] == "ConfigError"
