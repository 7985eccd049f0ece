"""Phenotypes of published individuals with Mendelian diseases: what patients add to public knowledge, at which epsilon.

    python benchmarks/phenotypes.py --json benchmarks/results/phenotypes.json

Every disease is split half and half by individuals, once a seed. Trained on one half of all diseases (pooled), measured on the
other. Rows {system, setting, metric, value, low, high, n, seeds}; intervals are 95%, over seeds and diseases (bootstrap).
Needs rare_diseases.zip (phenopacket-store) under $SYNTHGEN_SHARED/data/phenopackets, by default ../shared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from fidelity.phenotypes import Profiles, profiles_of
from fidelity.phenotypes.prevalence import prevalence_error, profile_distance
from fidelity.phenotypes.ranking import rank
from generators.phenotypes import PhenotypeBayes
from generators.phenotypes.beliefs import prior
from privacy.accounting import calibrate
from privacy.budget import Budget, default_delta
from privacy.charges import Charge
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.formats.phenopackets import references
from synthgen.ontology import read_ontology
from synthgen.storage import read_cohort

ROOT = Path(__file__).resolve().parent.parent
ZIP = Path(os.environ.get("SYNTHGEN_SHARED", ROOT.parent / "shared")) / "data" / "phenopackets" / "rare_diseases.zip"
EPSILONS = (1.0, 3.0)
SETTINGS = tuple(f"epsilon {e:g}" for e in EPSILONS)
DISEASES = 10
EACH = 200
"""Synthetic patients of each disease."""
SIZES = ((8, 15), (15, 30), (30, 60), (60, 120), (120, 400))
"""Training patients of a disease: groups of the curve."""
Rows = dict[tuple[str, str, str], list[tuple[float, int]]]


def ten(cohort: Cohort) -> list[str]:
    """Ten diseases evenly spread over their ranks by size, the two largest among them."""
    ranked = (
        cohort.patients["disease"].astype(str).value_counts().sort_index().sort_values(ascending=False, kind="stable")
    )
    places = np.unique(np.concatenate([[0, 1], np.linspace(2, len(ranked) - 1, DISEASES - 2)]).astype(int))
    return [str(ranked.index[i]) for i in places]


def halves(cohort: Cohort, seed: int) -> tuple[Cohort, Cohort]:
    """Each disease half and half by individuals."""
    rng = np.random.default_rng([seed, 1])
    shuffled = cohort.patients.sample(frac=1, random_state=int(rng.integers(2**31)))
    place = shuffled.groupby("disease", observed=True).cumcount()
    return cohort.of(shuffled.loc[place % 2 == 0, "patient_id"]), cohort.of(shuffled.loc[place % 2 == 1, "patient_id"])


def evenly(generator: PhenotypeBayes, dictionary: Dictionary, seed: int) -> Profiles:
    """Synthetic patients, as many of each disease."""
    rng = np.random.default_rng([seed, 2])
    parts = []
    for i, disease in enumerate(generator.public.diseases):
        part = generator.sample(EACH, rng, {"disease": disease})
        parts.append({n: t.assign(patient_id=f"{i}-" + t["patient_id"]) for n, t in part.tables.items()})
    tables = {n: pd.concat([p[n] for p in parts], ignore_index=True) for n in parts[0]}
    return profiles_of(Cohort(**tables, origin="synthetic"), dictionary, read_ontology())


# Baselines -------------------------------------------------------------------------------------------------------------------
def independent_counts(
    train: Profiles, epsilon: float, delta: float, declared: int, seed: int, terms: int = 250
) -> dict[str, np.ndarray]:
    """[terms] of each disease: noisy counts of the terms that most HPO diseases have, divided by a noisy size; no prior."""
    import torch

    common = _commonest(terms)
    diseases = sorted(train.rows)
    x = torch.from_numpy(train.observed[:, common].toarray())
    disease = torch.from_numpy(np.searchsorted(diseases, train.disease))
    charges = calibrate([Charge("counts", 1.0), Charge("sizes", 2.0)], Budget(epsilon, delta))
    session = Session({"x": x, "disease": disease}, charges, declared, Noise(seed))

    def beside(records: Any, values: Any) -> Any:
        out = torch.zeros((len(values), len(diseases), values.shape[1]))
        out[torch.arange(len(values)), records["disease"]] = values.float()
        return out.flatten(1)

    counts = session.sum(lambda r: beside(r, r["x"]), 5.0, "counts").numpy().reshape(len(diseases), terms)
    sizes = session.sum(lambda r: beside(r, torch.ones((len(r["x"]), 1))), 1.0, "sizes").numpy()
    found = {}
    for i, name in enumerate(diseases):
        prevalence = np.zeros(len(train.terms))
        prevalence[common] = np.clip(counts[i] / max(sizes[i], 1.0), 0, 1)
        found[name] = prevalence
    return found


@lru_cache(maxsize=1)
def _commonest(terms: int) -> np.ndarray:
    from generators.phenotypes.catalogue import build
    from synthgen.ontology import read_annotations

    return np.argsort(-build(read_ontology(), read_annotations()).background)[:terms]


def sdv_model(name: str, train: Profiles, disease: str, columns: int = 60) -> np.ndarray:
    """[terms] prevalence in a synthesizer of SDV (no privacy) on the disease's most frequent terms."""
    from sdv import single_table
    from sdv.metadata import Metadata

    rows = train.observed[train.rows[disease]]
    frequent = np.argsort(-np.asarray(rows.mean(axis=0)).ravel(), kind="stable")[:columns]
    table = pd.DataFrame(rows[:, frequent].toarray() > 0, columns=[f"t{j}" for j in frequent])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metadata = Metadata.detect_from_dataframes({"table": table})
        for column in table:
            metadata.update_column(column_name=column, sdtype="boolean")
        synthesizer = getattr(single_table, f"{name}Synthesizer")(metadata)
        synthesizer.fit({"table": table})
        drawn = synthesizer.sample(num_rows=EACH)
    drawn = drawn["table"] if isinstance(drawn, dict) else drawn
    prevalence = np.zeros(len(train.terms))
    prevalence[frequent] = drawn.astype(bool).mean(axis=0).to_numpy()
    return prevalence


SMARTNOISE = """
import json, sys, warnings
import pandas as pd
from snsynth import Synthesizer
warnings.simplefilter("ignore")
job = json.load(sys.stdin)
for name, rows in job["tables"].items():
    table = pd.DataFrame(rows, columns=[f"t{j}" for j in range(len(rows[0]))])
    made = Synthesizer.create(job["method"], epsilon=job["epsilon"], delta=job["delta"], verbose=False)
    made.fit(table, categorical_columns=list(table.columns), preprocessor_eps=0.0)
    print("row " + json.dumps([name, made.sample(job["each"]).astype(float).mean().tolist()]), flush=True)
"""


def smartnoise(
    python: str,
    method: str,
    train: Profiles,
    generator: PhenotypeBayes,
    diseases: list[str],
    epsilon: float,
    delta: float,
    terms: int = 12,
) -> dict[str, np.ndarray]:
    """[terms] prevalence of each disease in MST or AIM (smartnoise-synth, in an environment of its own) on its `terms` likeliest
    terms by public knowledge; the others are zero."""
    columns, tables = {}, {}
    place = {t: j for j, t in enumerate(train.terms)}
    likely = prior(generator.public, 1).observed.mean
    for disease in diseases:
        i = generator.public.diseases.index(disease)
        best = np.argsort(-likely[generator.public.rows_of(i)], kind="stable")[:terms]
        columns[disease] = [place[generator.public.vocabulary[j]] for j in generator.public.of(i)[best]]
        tables[disease] = train.observed[train.rows[disease]][:, columns[disease]].toarray().astype(int).tolist()
    job = json.dumps({"method": method, "tables": tables, "epsilon": epsilon, "delta": delta, "each": EACH})
    done = subprocess.run([python, "-c", SMARTNOISE], input=job, capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("row "):
            name, means = json.loads(line.removeprefix("row "))
            found[name] = np.zeros(len(train.terms))
            found[name][columns[name]] = means
    return found


# Measuring -------------------------------------------------------------------------------------------------------------------
def grouped(n: int) -> str:
    """The group of the curve that a disease with `n` training patients is in."""
    return next(f"{a} to {b - 1}" for a, b in SIZES if a <= n < b)


def prevalence_rows(
    rows: Rows,
    system: str,
    setting: str,
    real: Profiles,
    prevalence: Callable[[str], np.ndarray],
    ten_: list[str],
    sizes: dict[str, int],
) -> None:
    """Errors on the ten diseases, and (where every disease has a value) by size of the training half."""
    for disease in ten_:
        truth, other = real.prevalence(disease), prevalence(disease)
        rows[system, setting, "prevalence error, ten diseases"].append((prevalence_error(truth, other), sizes[disease]))
        rows[system, setting, "profile distance, ten diseases"].append((profile_distance(truth, other), sizes[disease]))
    if not system.startswith(("sdv", "smartnoise")):
        for disease, n in sizes.items():
            group = grouped(n)
            error = prevalence_error(real.prevalence(disease), prevalence(disease))
            rows[system, setting, f"prevalence error, diseases with {group} training patients"].append((error, n))
            rows[system, setting, "prevalence error, all diseases"].append((error, n))


def ranking_rows(rows: Rows, system: str, setting: str, train: Profiles, test: Profiles, sizes: dict[str, int]) -> None:
    """Diagnosis over all diseases, and for patients of diseases with about 20 individuals."""
    places = rank(train, test)
    small = np.array([sizes[d] <= 12 for d in test.disease])
    for first in (1, 10):
        hit = places <= first
        rows[system, setting, f"diagnosis top-{first}"].append((float(hit.mean()), len(hit)))
        rows[system, setting, f"diagnosis top-{first}, about 20 individuals"].append(
            (float(hit[small].mean()), int(small.sum()))
        )
    group = np.array([grouped(sizes[d]) for d in test.disease])
    for one in np.unique(group).tolist():
        mine = places[group == one] <= 1
        name = f"diagnosis top-1, diseases with {one} training patients"
        rows[system, setting, name].append((float(mine.mean()), len(mine)))


def coverage_rows(rows: Rows, generator: PhenotypeBayes, setting: str, test: Profiles, seed: int) -> None:
    """How often the 90% predictive interval holds the holdout's frequency: all asked terms, and those expected in 10% or more."""
    rng = np.random.default_rng([seed, 3])
    place = {t: j for j, t in enumerate(test.terms)}
    inside: dict[str, list[bool]] = defaultdict(list)
    for i, disease in enumerate(generator.public.diseases):
        truth = test.prevalence(disease)
        means = generator.beliefs.observed.mean[generator.public.rows_of(i)]
        bounds = generator.intervals(disease, len(test.rows[disease]), rng)
        for (term, (low, high)), mean in zip(bounds.items(), means, strict=True):
            held = bool(low - 1e-9 <= truth[place[term]] <= high + 1e-9)
            inside["all asked terms"].append(held)
            if mean >= 0.1:
                inside["terms expected in 10% or more"].append(held)
    for name, held_ in inside.items():
        rows["synthgen phenotypes", setting, f"coverage of 90% intervals, {name}"].append(
            (float(np.mean(held_)), len(held_))
        )


def baseline_rows(
    rows: Rows, cohort: Cohort, dictionary: Dictionary, cache: Path, name: str, python: str | None
) -> None:
    """One baseline on the ten diseases, the first seed: `CTGAN` of SDV, or `mst` or `aim` of smartnoise-synth."""
    train, test = (profiles_of(c, dictionary, read_ontology()) for c in halves(cohort, 0))
    sizes, chosen = {d: len(r) for d, r in train.rows.items()}, ten(cohort)
    if name == "CTGAN":
        drawn = {d: sdv_model(name, train, d) for d in chosen}
        prevalence_rows(rows, f"sdv {name}", "no privacy", test, drawn.__getitem__, chosen, sizes)
        return
    generator = PhenotypeBayes(dictionary, {})
    generator.pretrain(0, cache, lambda *_: None)
    for epsilon in EPSILONS:
        delta = default_delta(dictionary.declared_patients)
        found = smartnoise(python or sys.executable, name, train, generator, chosen, epsilon, delta)
        system = f"smartnoise {name.upper()}"
        prevalence_rows(rows, system, f"epsilon {epsilon:g}", test, found.__getitem__, chosen, sizes)


def bound_rows(rows: Rows, cohort: Cohort, dictionary: Dictionary, cache: Path, seed: int) -> None:
    """Diagnosis by whoever reads the noisy sums themselves, with all of the budget in one: the mean of each disease's whitened
    vectors of length 1 over the whole vocabulary, exact sizes, no synthetic patient between. What is lost before sampling.

    Once directly, and once by a reader who has the true frequencies (the training half's own) in a list with those of all public
    diseases, and need only recognise in the sums which are whose: what noise alone leaves."""
    generator = PhenotypeBayes(dictionary, {})
    generator.pretrain(0, cache, lambda *_: None)
    train, test = halves(cohort, seed)
    usual = generator.public.centre
    weight = (usual * (1 - usual) + 1e-3) ** -0.25
    (x, marks, mine), (y, new, truth) = (_whitened(generator, c, usual, weight) for c in (train, test))
    size = np.bincount(mine, minlength=len(generator.public.diseases)).astype(float)
    sums, counts = (np.zeros((len(size), x.shape[1])) for _ in range(2))
    np.add.at(sums, mine, x)
    np.add.at(counts, mine, marks)
    own = (counts + counts.sum(axis=0) / size.sum()) / (size[:, None] + 1)
    public = generator.public.alike.toarray()
    away = (public - public.mean(axis=0)) * weight
    length = np.linalg.norm(sums / size[:, None], axis=1).mean()
    listed = np.concatenate([sums / size[:, None], length * away / np.linalg.norm(away, axis=1, keepdims=True)])
    frequency = np.concatenate([own, public])
    delta = default_delta(dictionary.declared_patients)
    rng = np.random.default_rng([seed, 4])
    for epsilon in (None, *EPSILONS):
        noise = calibrate([Charge("all", 1.0)], Budget(epsilon, delta))[0].noise_multiplier if epsilon else 0.0
        means = (sums + rng.normal(0, 1, sums.shape) * noise) / size[:, None]
        setting = "no privacy" if epsilon is None else f"epsilon {epsilon:g}"
        shrunk = 0.25 / (0.25 + (noise / size) ** 2 + 1 / size)  # what noise alone would add is shrunk away
        scores = {"noisy sums read directly": (y @ means.T) * shrunk}
        if epsilon:
            whose = special.softmax(
                (means @ listed.T - (listed**2).sum(axis=1) / 2) / (noise / size[:, None]) ** 2, axis=1
            )
            scores["noisy sums, the truth in a list"] = _recognised(new, frequency, whose)
        for system, score in scores.items():
            first = score.argmax(axis=1) == truth
            rows[system, setting, "diagnosis top-1"].append((float(first.mean()), len(first)))
            small = first[size[truth] <= 12]
            rows[system, setting, "diagnosis top-1, about 20 individuals"].append((float(small.mean()), len(small)))


_TEMPER = 0.3
"""Terms of one patient say the same thing several times over: naive Bayes is tempered where its likelihoods are added."""


def _recognised(marks: np.ndarray, frequency: np.ndarray, whose: np.ndarray) -> np.ndarray:
    """[patients, diseases] log likelihood of new patients: each disease is a mixture `whose` [diseases, list] of `frequency`."""
    used = np.flatnonzero(whose.max(axis=0) > 1e-4)
    f = np.clip(frequency[used], 1e-4, 1 - 1e-4)
    likely = marks @ (np.log(f) - np.log1p(-f)).T + np.log1p(-f).sum(axis=1)
    tempered = np.exp(_TEMPER * (likely - likely.max(axis=1, keepdims=True)))
    return np.asarray(np.log(np.maximum(tempered @ whose[:, used].T, 1e-300)))


def _whitened(
    generator: PhenotypeBayes, cohort: Cohort, usual: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """([patients, vocabulary] of length 1, [patients, vocabulary] marks, [patients] disease)."""
    records = generator.encode(cohort)
    marks = records["observed"].double().numpy()
    vectors = (marks - usual) * weight
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), marks, records["disease"].numpy()


def one_seed(
    rows: Rows, cohort: Cohort, dictionary: Dictionary, cache: Path, seed: int, sdv: bool, save: Callable[[], object]
) -> None:
    """Everything once; `save` is called whenever a setting is done."""
    train, test = halves(cohort, seed)
    real_train, real_test = (profiles_of(c, dictionary, read_ontology()) for c in (train, test))
    sizes = {d: len(r) for d, r in real_train.rows.items()}
    declared, delta = round(dictionary.declared_patients / 2), default_delta(dictionary.declared_patients)
    chosen = ten(cohort)
    prevalence_rows(rows, "real training half", "no privacy", real_test, real_train.prevalence, chosen, sizes)
    ranking_rows(rows, "real training half", "no privacy", real_train, real_test, sizes)
    generator = PhenotypeBayes(dictionary, {})
    generator.pretrain(seed, cache, lambda *_: None)
    records = generator.encode(train)
    for epsilon in (0.0, *EPSILONS[::-1], *((None,) if seed == 0 else ())):
        setting = "no privacy" if epsilon is None else f"epsilon {epsilon:g}"
        if epsilon != 0:
            charges = calibrate(generator.charges(declared), Budget(epsilon, delta)) if epsilon else []
            generator.fit(Session(records, charges, declared, Noise(seed)), seed, lambda *_: None)
        drawn = evenly(generator, dictionary, seed)
        prevalence_rows(rows, "synthgen phenotypes", setting, real_test, drawn.prevalence, chosen, sizes)
        ranking_rows(rows, "synthgen phenotypes", setting, drawn, real_test, sizes)
        rows["synthgen phenotypes", setting, "contradictions"].append((float(drawn.contradictions), len(drawn.disease)))
        if epsilon:
            coverage_rows(rows, generator, setting, real_test, seed)
            counts = independent_counts(real_train, epsilon, delta, declared, seed)
            prevalence_rows(rows, "independent DP counts", setting, real_test, counts.__getitem__, chosen, sizes)
        print(f"seed {seed}: {setting}", file=sys.stderr, flush=True)
        save()
    if sdv:
        copulas = {d: sdv_model("GaussianCopula", real_train, d) for d in chosen}
        prevalence_rows(rows, "sdv GaussianCopula", "no privacy", real_test, copulas.__getitem__, chosen, sizes)


def strength(dictionary: Dictionary, cohort: Cohort, cache: Path) -> Iterator[dict[str, Any]]:
    """The prior before and after rows were dropped that cite the cohort's publications."""
    generator = PhenotypeBayes(dictionary, {})
    generator.pretrain(0, cache, lambda *_: None)
    before, counted, after, counted_after = generator.public.strength.sum(axis=0).tolist()
    none = int((generator.public.strength[:, 2] == 0).sum())
    names = {"HPO rows of these diseases": before, "of them with a count": counted, "rows left": after,
             "counted rows left": counted_after, "diseases without a row left": none,
             "publications barred": len(dictionary.publications), "individuals": len(cohort),
             "diseases with 200 individuals or more": int((cohort.patients["disease"].value_counts() >= 200).sum())}  # fmt: skip
    for metric, value in names.items():
        yield {"system": "public prior", "setting": "epsilon 0", "metric": metric, "value": value, "low": None, "high": None,
               "n": len(generator.public.diseases), "seeds": []}  # fmt: skip


PAIRED = "prevalence error, ten diseases"


def paired(rows: Rows) -> Rows:
    """What each private setting gains over the prior alone and over each baseline, disease by disease: below zero is better."""
    found: Rows = defaultdict(list)
    own = {key: measured for key, measured in rows.items() if key[0] == "synthgen phenotypes" and key[1] in SETTINGS}
    for (system, setting, metric), measured in own.items():
        for (other, its, same), reference in rows.items():
            comparable = its == setting or its not in SETTINGS
            curve = ", diseases with " in metric and metric.startswith("prevalence") and its == "epsilon 0"
            if (
                metric == same
                and (metric == PAIRED or curve)
                and comparable
                and (other, its) != (system, setting)
                and len(reference) == len(measured)
            ):
                name = f"{metric}: minus {other}, {its}"
                found[system, setting, name] = [(a - b, n) for (a, n), (b, _) in zip(measured, reference, strict=True)]
    return found


def summary(rows: Rows, seeds: list[int]) -> list[dict[str, Any]]:
    """Means with bootstrap intervals over what was measured (seeds, and diseases where there are several)."""
    rng = np.random.default_rng(0)
    found = []
    for (system, setting, metric), measured in rows.items():
        values = np.array([v for v, _ in measured])
        means = rng.choice(values, (1000, len(values))).mean(axis=1)
        its = seeds[:1] if (system, setting) == ("synthgen phenotypes", "no privacy") else seeds
        found.append({"system": system, "setting": setting, "metric": metric, "value": float(values.mean()),
                      "low": float(np.quantile(means, 0.025)), "high": float(np.quantile(means, 0.975)),
                      "n": len(values), "patients": float(np.mean([n for _, n in measured])),
                      "seeds": its}
                     | ({"each": values.tolist()} if len(values) == len(seeds) > 1 else {}))  # fmt: skip
    return found


def carried(before: list[dict[str, Any]], results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of an earlier result, of systems that were not run again."""
    run = {r["system"] for r in results}
    return [r for r in before if r["system"] not in run]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="one seed, without SDV")
    parser.add_argument(
        "--baseline", choices=["CTGAN", "mst", "aim", "bound"], help="this alone; all but bound on the first seed"
    )
    parser.add_argument("--python", help="the Python of an environment with smartnoise-synth, for mst and aim")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--own", action="store_true", help="without SDV")
    parser.add_argument(
        "--carry", type=Path, help="take the rows of systems that are not run now from this earlier result"
    )
    arguments = parser.parse_args()
    if not ZIP.is_file():
        raise SystemExit(f"{ZIP}: absent; fetch a release of phenopacket-store and set SYNTHGEN_SHARED")
    dictionary = read_dictionary(ROOT / "configs" / "phenopackets" / "cohort.yaml")
    if not references(ZIP) <= set(dictionary.publications):
        raise SystemExit("the dictionary does not list every publication of the zip: the prior would not be public")
    cohort = read_cohort(ZIP, dictionary)
    rows: Rows = defaultdict(list)
    before = json.loads(arguments.carry.read_text())["rows"] if arguments.carry else []
    seeds = list(range(1 if arguments.quick else arguments.seeds))
    with tempfile.TemporaryDirectory() as folder:
        facts = list(strength(dictionary, cohort, Path(folder)))
        if arguments.baseline == "bound":
            for seed in seeds:
                bound_rows(rows, cohort, dictionary, Path(folder), seed)
        elif arguments.baseline:
            baseline_rows(rows, cohort, dictionary, Path(folder), arguments.baseline, arguments.python)
            seeds = seeds[:1]
        done = len(seeds) - 1 if arguments.baseline else 0

        def save() -> list[dict[str, Any]]:
            results = facts + summary(rows | paired(rows), seeds[: done + 1])
            results += carried(before, results)
            if arguments.json:
                command = "python " + " ".join(sys.argv)
                arguments.json.write_text(json.dumps({"command": command, "rows": results}, indent=1) + "\n")
            return results

        for seed in [] if arguments.baseline else seeds:
            done = seed
            one_seed(rows, cohort, dictionary, Path(folder), seed, not arguments.quick and not arguments.own, save)
        results = save()
    for r in results:
        interval = f"{r['low']:.3f}..{r['high']:.3f}" if r["low"] is not None else ""
        print(f"{r['system']:<24}{r['setting']:<12}{r['metric']:<70}{r['value']:>9.3f}  {interval:<15} n {r['n']}")


if __name__ == "__main__":
    main()
