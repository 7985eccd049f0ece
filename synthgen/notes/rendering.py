"""Clinical notes rendered from records: derived text for cohorts whose real notes cannot ship, and public text for pretraining.

A note is sections of sentences; a sentence is a phrase of the bank filled with a fact of the record (`synthgen.notes.facts`).
Some facts are left out, absent signs are denied, and every number and unit is the record's. By the dictionary alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgen.notes import phrases
from synthgen.notes.facts import SEXES, Chart, Fact, charts, spoken

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

KINDS = ("first_visit", "follow_up", "closing")
"""Kinds of notes: the first one, those of later visits, and the one after the end of follow-up."""
SECTIONS = ("history", "findings", "labs", "medication", "assessment", "plan")
NO_NOTES, FIRST, FOLLOW_UP, CLOSING = 0.1, 0.9, 0.25, 0.5
"""Share of patients without any note; of first visits, later visits and recorded ends that have one."""
SAID = {"static": 0.4, "sign": 0.75, "grade": 0.75, "stage": 0.8, "lab": 0.7, "drug": 0.95, "event": 0.8}
"""Share of the facts of a kind that a note tells."""
REMARKED = 0.45
"""Share of the measurements told that come with a remark on their reference range or their trend."""
FOLLOW_UPS = 4
"""A patient has at most so many notes of later visits."""


@dataclass(frozen=True)
class Claim:
    """What a note says, as the renderer knows it: the oracle of whatever reads claims from text.

    Args:
        kind: as `synthgen.notes.facts.Kind`, or `flag`, `trend` (of a measurement), `course` and `day`.
        column: as in `Fact`.
        value: number or category as printed in the record; of a flag high, low or normal; of a course worse, stable, better.
        unit: of a number.
        negated: whether the note denies it.
    """

    kind: str
    column: str
    value: str
    unit: str | None = None
    negated: bool = False


@dataclass(frozen=True)
class Note:
    """One note and what it claims."""

    patient_id: str
    day: int
    kind: str
    text: str
    claims: tuple[Claim, ...] = ()


def render(cohort: Cohort, dictionary: Dictionary, rng: np.random.Generator, bank: str = "derived") -> pd.DataFrame:
    """Notes of a cohort's patients: patient_id, day, kind, text.

    Args:
        bank: the phrases; see `synthgen.notes.phrases`.

    Raises:
        ConfigError: for a bank that there is not.
    """
    import pandas as pd

    notes = rendered(cohort, dictionary, rng, bank)
    columns = {name: [getattr(n, name) for n in notes] for name in ("patient_id", "day", "kind", "text")}
    return pd.DataFrame(columns).astype({"day": "Int64"})


def rendered(cohort: Cohort, dictionary: Dictionary, rng: np.random.Generator, bank: str = "derived") -> list[Note]:
    """The same notes with their claims, in the cohort's order of patients and by day."""
    writer = Writer(phrases.bank(bank), dictionary)
    seeds = rng.integers(2**63, size=len(cohort))
    return [note for chart, seed in zip(charts(cohort, dictionary), seeds, strict=True)
            for note in writer.notes(chart, np.random.default_rng(seed))]  # fmt: skip


def occasions(chart: Chart, rng: np.random.Generator) -> list[tuple[int, str]]:
    """(day, kind) of the notes that a patient has."""
    if rng.random() < NO_NOTES:
        return []
    days = [int(row["day"]) for row in chart.visits] or [0]
    found = [(days[0], "first_visit")] if rng.random() < FIRST else []
    later = [day for day in days[1:] if rng.random() < FOLLOW_UP][:FOLLOW_UPS]
    found += [(day, "follow_up") for day in later]
    if chart.end and rng.random() < CLOSING:
        found.append((chart.end[0], "closing"))
    return found


@dataclass
class Draft:
    """A note in the making."""

    rng: np.random.Generator
    sections: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in SECTIONS})
    claims: list[Claim] = field(default_factory=list)

    def choice(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def say(self, section: str, options: Sequence[str], fact: Fact | None = None, **words: str) -> None:
        """One sentence, and the claim it makes."""
        if fact is not None:
            words = {"name": self.choice(fact.names), "value": spoken(fact.value), "unit": fact.unit or ""} | words
            self.claims.append(Claim(fact.kind, fact.column, fact.value, fact.unit, fact.negated))
        self.sections[section].append(sentence(self.choice(options).format(**words)))


class Writer:
    """Writes notes in the manner of one bank."""

    def __init__(self, bank: dict[str, Any], dictionary: Dictionary) -> None:
        self.bank = bank
        self.visited = "visits" in dictionary.tables
        self.drugs = "events" in dictionary.tables

    def notes(self, chart: Chart, rng: np.random.Generator) -> list[Note]:
        """Every note of one patient."""
        return [self.note(chart, day, kind, rng) for day, kind in occasions(chart, rng)]

    def note(self, chart: Chart, day: int, kind: str, rng: np.random.Generator) -> Note:
        """One note: 1. who and why, 2. what was found, 3. what was measured, 4. drugs, 5. what it means, 6. what follows."""
        draft, facts = Draft(rng), chart.at(day, kind == "closing")
        told = [f for f in facts if draft.chance(SAID.get(f.kind, 1.0))]
        course = course_of(chart, day)
        self._introduce(draft, told, day, kind)
        self._describe(draft, told)
        self._measure(draft, [f for f in told if f.kind == "lab"])
        self._medicate(draft, told)
        self._conclude(draft, told, kind, course, sum(f.flag in ("high", "low") for f in facts))
        return Note(chart.patient_id, day, kind, self._text(draft), tuple(draft.claims))

    def _introduce(self, draft: Draft, told: list[Fact], day: int, kind: str) -> None:
        one = {f.kind: f for f in told}
        words = {"day": str(day), "disease": one["diagnosis"].value if "diagnosis" in one else "the disease"}
        words["age"] = one["age"].value if "age" in one else ""
        sex = SEXES.get(one["sex"].value) if "sex" in one else None
        words["sex"] = draft.choice(self.bank["sex"][sex]) if sex else "patient"
        known = [f for kind in ("age", "sex", "diagnosis") if (f := one.get(kind))]
        options = [o for o in self.bank["intro"][kind] if words["age"] or "{age}" not in o]
        if options:
            phrase = draft.choice(options)
            draft.sections["history"].append(sentence(phrase.format(**words)))
            draft.claims += [Claim(f.kind, f.column, f.value, f.unit) for f in known]
            draft.claims += [Claim("day", "day", str(day), "d")] if "{day}" in phrase else []
        for fact in told:
            if fact.kind in ("static", "event"):
                draft.say("history", self.bank[fact.kind], fact)

    def _describe(self, draft: Draft, told: list[Fact]) -> None:
        for fact in told:
            if fact.kind == "sign":
                draft.say("findings", self.bank["sign"]["denied" if fact.negated else "present"], fact)
            elif fact.kind == "grade":
                draft.say("findings", self.bank["grade"]["none" if fact.negated else "some"], fact)

    def _measure(self, draft: Draft, labs: list[Fact]) -> None:
        bank = self.bank["lab"]
        items = []
        for fact in labs:
            text = draft.choice(bank["item"]).format(
                name=draft.choice(fact.names), value=fact.value, unit=fact.unit or ""
            )
            draft.claims.append(Claim("lab", fact.column, fact.value, fact.unit))
            remarks = [(kind, value) for kind in ("flag", "trend") if (value := getattr(fact, kind))]
            if remarks and draft.chance(REMARKED):
                kind, value = draft.choice(remarks)
                text = text.rstrip() + draft.choice(bank["remark"]).format(remark=draft.choice(bank[kind][value]))
                draft.claims.append(Claim(kind, fact.column, value))
            items.append(text.rstrip())
        join = draft.choice(bank["joins"])
        if items:
            capital = join.strip(" ") in (".", "\n")
            items = [item[0].upper() + item[1:] if capital or k == 0 else item for k, item in enumerate(items)]
            draft.sections["labs"].append(join.join(items) + ".")

    def _medicate(self, draft: Draft, told: list[Fact]) -> None:
        drugs = [f for f in told if f.kind == "drug"]
        for fact in drugs:
            manner = "stopped" if not fact.active else "dosed" if fact.value else "active"
            draft.say("medication", self.bank["drug"][manner], fact)
            if not fact.active:
                draft.claims[-1] = Claim("drug", fact.column, "", None, negated=True)
        if self.drugs and not drugs:
            draft.say("medication", self.bank["drug"]["none"])

    def _conclude(self, draft: Draft, told: list[Fact], kind: str, course: str | None, abnormal: int) -> None:
        for fact in told:
            if fact.kind == "diagnosis":
                draft.say("assessment", self.bank["assessment"], fact, disease=fact.value)
            elif fact.kind == "stage":
                draft.say("assessment", self.bank["stage"], fact)
            elif fact.kind == "outcome":
                draft.say("assessment", self.bank["outcome"], fact)
        if course and draft.chance(0.7):
            draft.say("assessment", self.bank["course"][course])
            draft.claims.append(Claim("course", "", course))
        urgent = course == "worse" or abnormal >= 4
        plan = self.bank["plan"]["closing" if kind == "closing" else "close" if urgent else "routine"]
        for _ in range(1 + draft.chance(0.3)):
            draft.say("plan", plan)

    def _text(self, draft: Draft) -> str:
        """Sections in one of the bank's orders, those that say something."""
        said = {name: list(dict.fromkeys(sentences)) for name, sentences in draft.sections.items()}
        order = [name for name in draft.choice(self.bank["orders"]) if said[name]]
        return "\n".join(f"{draft.choice(self.bank['headings'][name])} {' '.join(said[name])}" for name in order)


def course_of(chart: Chart, day: int) -> str | None:
    """worse, stable or better: how many measurements lie outside their reference range, beside the visit before."""
    now = chart.visit(day)
    if not now:
        return None
    outside = [
        sum(f.flag in ("high", "low") for f in chart.at(int(chart.visits[k]["day"])) if f.kind == "lab")
        for k in (now - 1, now)
    ]
    return "worse" if outside[1] > outside[0] else "better" if outside[1] < outside[0] else "stable"


def sentence(text: str) -> str:
    """A capital at the start; the gap that a missing unit leaves closed."""
    text = " ".join(text.replace(" .", ".").split())
    return text[:1].upper() + text[1:]
