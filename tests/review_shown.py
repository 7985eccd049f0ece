"""A review house at work, with something on every page: for the pictures of the documentation and for what holds on all pages."""

from __future__ import annotations

import random
import re

import finished_run
import numpy as np
import pandas as pd
import review_run
from conftest import ROOT
from review_house import PASSWORD, Asker

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.flags import Flag
from synthgen.linked_simulation import simulate_linked
from synthgen.review import jobs
from synthgen.review.app import create_app
from synthgen.workspace import Workspace

PAGES = {
    "": {"signin": "/signin"},
    "ana": {
        "reviews": "/reviews", "look": "/reviews/3/look", "look-notes": "/reviews/4/look", "look-terms": "/reviews/5/look",
        "done": "/reviews/2/look", "review-own": "/reviews/3", "account": "/account", "error": "/people",
    },
    "cora": {"conflict": "/reviews/1/conflicts/{conflict}"},
    "sam": {
        "runs": "/runs", "job": "/jobs/1", "run": "/runs/{run}", "compare": "/compare?a={run}&b={other}",
        "review": "/reviews/1", "reviews-all": "/reviews", "propose": "/releases",
    },
    "olga": {
        "releases": "/releases", "release": "/releases/2", "approved": "/releases/1", "privacy": "/privacy",
        "cohort": "/privacy/pbc", "log": "/log",
    },
    "adam": {"people": "/people", "api": "/api-docs"},
    "newcomer": {"first-password": "/account"},
}  # fmt: skip
"""Person -> name of a page -> its path; values in braces come from `prepared`. Nobody is signed in for the first."""


def prepared(place: Workspace) -> dict[str, str]:
    """A review with a conflict, a release that was signed, one that waits, a job; patients with pictures, notes, terms."""
    run, other = (review_run.finished(place, _flags(), [review_run.INCONCLUSIVE]) for _ in range(2))
    linked, terms = _linked(place), _terms(place)
    for ended in (run, other):
        place.ledger().close(ended.id, "finished")
    app = create_app(place)
    sam, olga, adam = Asker(app, "sam"), Asker(app, "olga"), Asker(app, "adam")
    rng = random.Random(1)
    sam.call("POST", "/reviews", {"run": run.id, "most": 20})
    for name in ("ana", "bea"):
        asker = Asker(app, name)
        while (look := asker.call("POST", "/reviews/1/look").json())["look"]:
            odd = rng.random() < 0.25 + 0.5 * (look["position"] % 3 == 0)
            answer = {"answer": "reject", "reason": "values"} if odd else {"answer": "accept"}
            asker.call("POST", f"/looks/{look['look']}", answer)
    conflict = re.findall(r"Patient (\d+)", sam.get("/reviews/1").text)[0]
    sam.call("POST", "/reviews", {"run": other.id})
    number = sam.call("POST", "/releases", {"run": other.id, "purpose": "Survival methods course"}).json()["release"]
    accepted = {"finding": "subgroup/worst_auc", "reason": "few men have this disease"}
    olga.call("POST", f"/releases/{number}/accept", accepted)
    sam.call("POST", "/reviews/2/close")
    olga.call("POST", f"/releases/{number}/approve", {"reason": "the claim holds", "password": PASSWORD})
    sam.call("POST", "/reviews", {"run": other.id})
    for found in (linked, terms):
        sam.call("POST", "/reviews", {"run": found, "planted": 0, "random": 0})
    sam.call("POST", "/releases", {"run": run.id, "purpose": "Feasibility of a registry study"})
    sam.call("POST", "/jobs", {"job": "pbc", "seed": 4})
    with app.state.house.database.write() as write:
        jobs.claim(write, "worker-1")
        jobs.beat(write, 1, "worker-1", run=other.id, stage="read")
        seen = {"stage": "train", "what": "noisy sums", "done": 12, "total": 31, "epsilon": 2.99}
        jobs.beat(write, 1, "worker-1", **seen)
    adam.call("POST", "/people", {"name": "newcomer", "role": "officer", "password": PASSWORD})
    return {"run": run.id, "other": other.id, "conflict": conflict}


def linked() -> tuple[Cohort, Dictionary]:
    """Simulated patients with pictures and notes."""
    about = read_dictionary(ROOT / "configs" / "linked" / "cohort.yaml")
    cohort = simulate_linked(about, 40, np.random.default_rng(3))
    return finished_run.named(cohort, [f"SYN-{i:06d}" for i in range(40)], "synthetic"), about


def _flags() -> list[Flag]:
    """The dictionary's own rules, broken by one patient after the other."""
    rules = [r for r in finished_run.dictionary().rules if r.severity != "hard"]
    return [
        Flag(f"SYN-{i:06d}", r.name, r.severity, f"{r.text} It fails at {2 + i % 3} visits.", False, {}, 1 - i / 100)  # type: ignore[arg-type]
        for i in range(36)
        for r in [rules[i % len(rules)]]
    ]


def _linked(place: Workspace) -> str:
    """A note that contradicts its record, as `fidelity/notes` flags it: the words are marked."""
    cohort, about = linked()
    assert cohort.notes is not None
    assert cohort.images is not None
    pictured = cohort.notes[cohort.notes["patient_id"].isin(cohort.images["patient_id"])]
    with_ascites = pictured[pictured["text"].str.contains("ascites")]
    patient = str(with_ascites["patient_id"].iloc[0])
    own = cohort.notes.loc[cohort.notes["patient_id"] == patient, "text"].tolist()
    note = next(i for i, text in enumerate(own) if "ascites" in text)
    start = own[note].index("ascites")
    evidence = {"note": note, "spans": [{"note": note, "start": start, "end": start + len("ascites")}]}
    text = "A note and the record disagree about ascites."
    flag = Flag(patient, "note_contradicts_record", "severe", text, False, evidence)
    return review_run.finished(place, [flag], cohort=cohort, dictionary=about).id


def _terms(place: Workspace) -> str:
    """One patient described by terms of the Human Phenotype Ontology."""
    cohort, about = described([("HP:0001166", "observed"), ("HP:0001083", "observed"), ("HP:0002616", "excluded")])
    flag = Flag(
        "SYN-000001", "rare_pair", "moderate", "Arachnodactyly without a dilated aorta is rare at this age.", False
    )
    return review_run.finished(place, [flag], cohort=cohort, dictionary=about).id


def described(said: list[tuple[str, str]]) -> tuple[Cohort, Dictionary]:
    """One patient with these (term, status)."""
    about = read_dictionary(ROOT / "configs" / "phenopackets" / "cohort.yaml")
    patient = {"patient_id": "SYN-000001", "disease": "OMIM:154700", "sex": "female", "vital_status": "alive"}
    patient |= {"onset": "childhood", "onset_days": 900, "last_seen_days": 9000}
    terms = [{"patient_id": "SYN-000001", "term": t, "status": s, "onset_days": None} for t, s in said]
    variant = {"patient_id": "SYN-000001", "gene": "FBN1", "variant_class": "missense"}
    variant |= {"allele_state": "heterozygous", "position": 0.3}
    tables = {"patients": [patient], "phenotypes": terms, "variants": [variant]}
    return Cohort.checked({name: pd.DataFrame(rows) for name, rows in tables.items()}, about, "synthetic"), about
