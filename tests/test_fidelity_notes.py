"""Checks of notes: measures beside oracles, and cohorts whose faults are known."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clinic import CLINIC, clinic
from cohorts import simulated, two_labs
from conftest import ROOT
from planted import ERRORS, TOLD, planted

from fidelity.notes import sentence_embedding, text_similarity
from fidelity.notes.corpus import Notes, shuffled
from fidelity.notes.factuality import Factuality, flags_of, share, strangers
from fidelity.notes.mauve import cells, lexical, mauve
from fidelity.notes.self_bleu import grams, self_bleu
from fidelity.notes.text_similarity import TextSimilarity
from fidelity.notes.utility import NoteUtility, rounded
from synthgen.auditing.notes import audit_notes
from synthgen.cohort import Cohort, concatenate
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.findings import Evidence, Finding
from synthgen.notes.rendering import render
from synthgen.notes.support import as_table, check_notes
from synthgen.simulation import simulate


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    """Records with drugs, doses and events, and notes of them. Every patient is simulated."""
    known = read_dictionary(ROOT / "configs/simulated/cohort.yaml").model_dump(mode="json", exclude_none=True)
    columns = {
        "patient_id": {"type": "id"},
        "day": {"type": "integer", "role": "time", "bounds": [0, 3652]},
        "text": {"type": "text"},
    }
    known["tables"]["notes"] = {"columns": columns}
    return Dictionary.model_validate(known)


@pytest.fixture(scope="module")
def parts(dictionary: Dictionary) -> tuple[Cohort, Cohort, Cohort]:
    """Training, holdout and synthetic patients of one population, 70 each, with derived notes."""
    cohort = simulate(dictionary.without(["notes"]), 210, np.random.default_rng(11))
    notes = render(cohort, dictionary, np.random.default_rng(12))
    whole = Cohort.checked({**cohort.tables, "notes": notes.drop(columns="kind")}, dictionary, "real")
    ids = list(whole.ids)
    train, holdout, made = (whole.of(ids[i::3]) for i in range(3))
    return train, holdout, replace(made, origin="synthetic")


def evidence(dictionary: Dictionary, parts: tuple[Cohort, Cohort, Cohort], synthetic: Cohort | None = None) -> Evidence:
    train, holdout, made = parts
    return Evidence(dictionary, train, holdout, synthetic or made, train, np.random.default_rng(1))


def by_metric(findings: Any) -> dict[str, Finding]:
    return {f.metric: f for f in findings}


# Factuality ---------------------------------------------------------------------------------------------------------------
def test_true_notes_are_supported_and_strangers_notes_are_not(dictionary, parts):
    found = by_metric(Factuality().run(evidence(dictionary, parts)))
    assert found["supported"].value > 0.98
    assert found["supported"].verdict == found["severe"].verdict == found["claims_per_note"].verdict == "pass"
    assert found["supported"].floor < 0.75
    assert found["supported"].low <= found["supported"].value <= found["supported"].high
    total = sum(found[k].value for k in ("supported", "contradicted", "unsupported"))
    assert total == pytest.approx(1)
    assert not [f for f in Factuality().flags(evidence(dictionary, parts)) if f.severity == "severe"]


def test_notes_of_other_patients_fail(dictionary, parts):
    wrong, _ = planted("note: another patient's", parts[2], parts[0], dictionary, np.random.default_rng(2), 1.0)
    found = by_metric(Factuality().run(evidence(dictionary, parts, wrong)))
    assert found["supported"].verdict == found["severe"].verdict == "fail"


def test_notes_that_say_nothing_fail_though_nothing_is_wrong_in_them(dictionary, parts):
    made = parts[2]
    silent = replace(made, notes=made.notes.assign(text="Seen today."))
    some = silent.notes.assign(text=[t if i < 8 else "Seen today." for i, t in enumerate(made.notes["text"])])
    found = by_metric(Factuality().run(evidence(dictionary, parts, replace(made, notes=some))))
    assert found["supported"].value > 0.95
    assert found["claims_per_note"].verdict == "fail"
    assert Factuality().run(evidence(dictionary, parts, silent)) == []


@pytest.mark.parametrize("name", sorted(TOLD - {"note: another stage"}))
def test_planted_contradictions_are_flagged_in_the_patients_that_have_them(name, dictionary, parts):
    wrong, touched = planted(name, parts[2], parts[0], dictionary, np.random.default_rng(3))
    flags = flags_of(check_notes(wrong, dictionary), dictionary)
    flagged = {f.patient_id for f in flags}
    assert len(touched) >= 8
    # a drug that the patient had at another time, and is on no longer, contradicts nothing when it is merely named
    assert len(flagged & touched) >= (0.75 if "drug" in name else 0.9) * len(touched)
    assert len(flagged - touched) <= 1
    if ERRORS[name].failed_by == "note-factuality/severe" and "drug" not in name:  # some codes are no drugs
        severe = {f.patient_id for f in flags if f.severity == "severe"}
        assert len(severe & touched) >= 0.9 * len(touched)


def test_a_flag_says_what_is_wrong_and_where():
    text = "This gentleman has ascites. Bilirubin 9.9 mg/dL. Ursodiol 250 mg."
    cohort = clinic([(0, "Well."), (200, text)])
    flags = flags_of(check_notes(cohort, CLINIC), CLINIC)
    by_severity = {f.severity: f for f in flags}
    assert set(by_severity) == {"severe", "moderate"}
    severe = by_severity["severe"]
    assert not severe.reads_real_data
    assert severe.evidence["note"] == 1
    assert text[severe.evidence["start"] : severe.evidence["end"]] == "gentleman"
    cut = [text[s["start"] : s["end"]] for s in severe.evidence["spans"]]
    assert cut == ["gentleman", "Ursodiol 250 mg"]
    assert "sex m; the record says f" in severe.text
    assert "the dose of ursodiol is 250 mg; the record says 750 mg" in severe.text
    assert "Total bilirubin in serum 9.9 mg/dL; the record says 2.4 mg/dL" in by_severity["moderate"].text


def test_the_interval_of_claims_counts_patients_not_claims():
    """All claims of a patient stand or fall together: a hundred claims each of ten patients are worth ten."""
    rows = [(f"p{i}", 0, "lab", "x", "supported" if i < 8 else "contradicted") for i in range(10) for _ in range(100)]
    table = pd.DataFrame(rows, columns=["patient_id", "note", "kind", "column", "verdict"])
    clustered = share(table, "supported")
    apart = share(table.assign(patient_id=[f"p{i}" for i in range(1000)]), "supported")
    assert clustered.value == apart.value == pytest.approx(0.8)
    assert clustered.high - clustered.low > 5 * (apart.high - apart.low)
    assert apart.high - apart.low == pytest.approx(2 * 1.96 * math.sqrt(0.16 / 1000), rel=0.05)


def test_nobody_is_their_own_stranger(parts):
    cycle = strangers(parts[2], np.random.default_rng(0))
    assert set(cycle) == set(cycle.values()) == set(parts[2].ids)
    assert all(a != b for a, b in cycle.items())


def test_one_row_a_claim():
    table = as_table(check_notes(clinic([(0, "Bilirubin 0.9. No ascites.")]), CLINIC))
    assert table[["column", "verdict"]].to_numpy().tolist() == [["bilirubin", "supported"], ["ascites", "supported"]]


# Text ---------------------------------------------------------------------------------------------------------------------
def notes_of(texts: list[str]) -> Notes:
    return Notes.of(concatenate([clinic([(0, text)], f"SYN-{i}") for i, text in enumerate(texts)]), CLINIC)


def bleu_by_hand(note: list[str], others: list[list[str]]) -> float:
    """BLEU-4 as Papineni et al. 2002 write it, with Lin & Och's smoothing."""
    score = 1.0
    for n in range(1, 5):
        mine = Counter(tuple(note[i : i + n]) for i in range(len(note) - n + 1))
        matched = sum(
            min(count, max(sum(tuple(o[i : i + n]) == gram for i in range(len(o) - n + 1)) for o in others))
            for gram, count in mine.items()
        )
        add = int(n > 1)
        score *= ((matched + add) / (mine.total() + add)) ** 0.25
    closest = min((abs(len(o) - len(note)), len(o)) for o in others)[1]
    return score * min(1.0, math.exp(1 - closest / len(note)))


def test_self_bleu_by_hand():
    notes = [list("abcdefgh"), list("abcdxfgh"), list("hgfedcbaabc"), list("abcd")]
    expected = np.mean([bleu_by_hand(note, notes[:i] + notes[i + 1 :]) for i, note in enumerate(notes)])
    assert self_bleu([grams(note) for note in notes]) == pytest.approx(expected)
    assert self_bleu([grams(list("abcdef"))] * 3) == pytest.approx(1)
    assert self_bleu([grams(list("abcdef")), grams(list("uvwxyz"))]) == 0
    assert math.isnan(self_bleu([grams(list("abc"))]))


def test_mauve_lies_between_equal_and_apart():
    same, other = np.array([0, 1, 2, 3] * 50), np.array([4, 5, 6, 7] * 50)
    assert mauve(same, same) == pytest.approx(1, abs=1e-6)
    assert mauve(same, other) < 0.02
    half = np.array([0, 1, 4, 5] * 50)
    assert mauve(same, other) < mauve(same, half) < mauve(same, same)
    assert mauve(same, half) == pytest.approx(mauve(half, same), abs=1e-9)


def test_cells_and_words_tell_two_manners_apart():
    first = ["no ascites was seen and albumin is low"] * 15 + ["albumin is low and no ascites was seen"] * 15
    second = ["the knee is swollen", "the knee hurts"] * 15
    parts_ = cells(lexical([first, second]), 0)
    assert not set(parts_[0]) & set(parts_[1])


def test_shuffled_notes_keep_words_and_lines():
    notes = notes_of(["One two three.\nFour five six seven.", "No ascites at all today."])
    floor = shuffled(notes, np.random.default_rng(0))
    assert [sorted(t.split()) for t in floor.texts] == [sorted(t.split()) for t in notes.texts]
    assert floor.texts[0].count("\n") == 1
    assert floor.texts != notes.texts


def test_measures_by_hand():
    lexicon = text_similarity.Lexicon(CLINIC)
    a = text_similarity._described(
        notes_of(["Signs: ascites.\nBloods: albumin 3.", "Signs: none.\nBloods: bilirubin 2."]), lexicon
    )
    b = text_similarity._described(
        notes_of(["Bloods: albumin 3.\nSigns: ascites.", "Signs: ascites.\nBloods: albumin 3."]), lexicon
    )
    for measure in (
        text_similarity.length,
        text_similarity.readability,
        text_similarity.sections,
        text_similarity.vocabulary,
    ):
        assert measure(a, a) == 1
    assert text_similarity.sections(a, b) == pytest.approx(0.5)  # one of two notes has the order of all the others
    assert text_similarity.vocabulary(a, b) == pytest.approx(6 / 8)  # none and bilirubin are unknown
    assert text_similarity.terms(a, a) == 0
    assert text_similarity.terms(a, b) == pytest.approx((0.5 + 0.5 + 0.5) / 3)  # ascites, albumin, bilirubin
    plain = text_similarity.grade("The cat sat. The dog ran.", ["the", "cat", "sat", "the", "dog", "ran"])
    assert plain == pytest.approx(0.39 * 3 + 11.8 * 1 - 15.59)


@pytest.mark.slow
def test_a_second_real_sample_passes_and_faults_fail(dictionary, parts):
    found = by_metric(TextSimilarity().run(evidence(dictionary, parts)))
    assert {"length", "readability", "sections", "vocabulary", "terms", "self_bleu", "mauve"} <= set(found)
    assert [f.metric for f in found.values() if f.verdict == "fail"] == []
    for name, metrics in {
        "words shuffled": ("mauve", "sections"),
        "one for all": ("mauve", "self_bleu", "terms"),
    }.items():
        wrong, _ = planted(f"note: {name}", parts[2], parts[0], dictionary, np.random.default_rng(4), 1.0)
        worse = by_metric(TextSimilarity().run(evidence(dictionary, parts, wrong)))
        assert {worse[m].verdict for m in metrics} == {"fail"}, name


@pytest.mark.slow
@pytest.mark.skipif(sentence_embedding.folder() is None, reason="the extra `pretrained` is not installed")
def test_sentences_of_one_meaning_lie_near_each_other():
    path = sentence_embedding.folder()
    assert path is not None
    near, same, far, again = sentence_embedding.embed(
        ["The liver is enlarged.", "Hepatomegaly was found.", "He plays the violin.", "The liver is enlarged."], path
    )
    assert near @ same > near @ far + 0.2
    assert near == pytest.approx(again)
    assert np.linalg.norm(near) == pytest.approx(1)


# Utility ------------------------------------------------------------------------------------------------------------------
def told(dead: bool, number: int) -> Cohort:
    """A patient whose early note tells, in words, how it will end."""
    word = "declining fast" if dead else "thriving well"
    cohort = clinic([(50, f"{word}, number {number % 7}"), (500, "later")], f"SYN-{number}")
    status = {"days": 800 if dead else 1000, "status": "dead" if dead else "alive"}
    return replace(
        cohort,
        patients=cohort.patients.assign(
            days=status["days"], status=pd.Categorical([status["status"]], dtype=cohort.patients["status"].dtype)
        ),
    )


def test_utility_learns_from_early_notes_and_from_nothing_else():
    real = concatenate([told(i % 3 == 0, i) for i in range(40)])
    parts_ = (real.of(real.ids[:20]), real.of(real.ids[20:]), replace(real.of(real.ids[:20]), origin="synthetic"))
    (found,) = NoteUtility().run(evidence(CLINIC, parts_))
    assert (found.value, found.ceiling, found.verdict) == (1.0, 1.0, "pass")
    assert found.section == "utility"
    late = replace(parts_[2], notes=parts_[2].notes.assign(text="the same for all"))
    (useless,) = NoteUtility().run(evidence(CLINIC, parts_, late))
    assert useless.verdict == "fail"


def test_numbers_are_rounded_to_a_digit():
    assert rounded("Albumin 3.35, platelets 1234") == rounded("albumin 3.01,  platelets 1410".replace("  ", " "))


# Privacy ------------------------------------------------------------------------------------------------------------------
def test_an_honest_writer_passes_the_audit_and_a_copier_fails(dictionary, parts):
    findings, flags = audit_notes(evidence(dictionary, parts))
    assert [f.verdict for f in findings] == ["pass"] * 4
    assert flags == []
    wrong, touched = planted("note: copied from training", parts[2], parts[0], dictionary, np.random.default_rng(5))
    findings, flags = audit_notes(evidence(dictionary, parts, wrong))
    assert by_metric(findings)["verbatim"].verdict == "fail"
    assert {f.patient_id for f in flags} <= touched
    assert len({f.patient_id for f in flags}) > 0.8 * len(touched)
    assert all(f.reads_real_data and f.severity == "severe" for f in flags)


def test_a_patients_free_sentence_in_synthetic_notes_is_flagged(dictionary, parts):
    """One real patient's note holds a sentence of its own; synthetic patients' notes hold it, with another number."""
    train, holdout, made = parts
    sentence = "Her grandson of {} plays the trombone in the band of the fire brigade at weekends."

    def told(cohort, notes, age):
        texts = [f"{t} {sentence.format(age)}" if i < notes else t for i, t in enumerate(cohort.notes["text"])]
        return replace(cohort, notes=cohort.notes.assign(text=texts))

    learnt = told(train, 1, 14)
    for notes, verdict in ((0, "pass"), (3, "pass"), (20, "fail")):  # three of 139 are no more than chance may make
        wrong = told(made, notes, 15)
        findings, flags = audit_notes(evidence(dictionary, (learnt, holdout, made), wrong))
        assert by_metric(findings)["copied_text"].verdict == verdict
        assert {f.patient_id for f in flags} == set(wrong.notes["patient_id"][:notes])
    assert all((f.reason, f.severity, f.reads_real_data) == ("copied_text", "severe", True) for f in flags)
    where = flags[0].evidence
    text = wrong.notes[wrong.notes["patient_id"] == flags[0].patient_id]["text"].iloc[where["note"]]
    assert text[where["start"] : where["end"] + 1].endswith(sentence.format(15))


def test_identifiers_are_flagged_with_their_place(dictionary, parts):
    wrong, touched = planted(
        "note: a name and a telephone number", parts[2], parts[0], dictionary, np.random.default_rng(6)
    )
    findings, flags = audit_notes(evidence(dictionary, parts, wrong))
    assert by_metric(findings)["identifiers"].verdict == "fail"
    assert {f.patient_id for f in flags} == touched
    flag = flags[0]
    assert not flag.reads_real_data
    text = wrong.notes[wrong.notes["patient_id"] == flag.patient_id]["text"].iloc[flag.evidence["note"]]
    cut = [text[s["start"] : s["end"]] for s in flag.evidence["spans"]]
    assert cut[0].endswith("Dr. Jane Miller")
    assert "020 7946" in cut[1]


def test_a_real_patients_id_in_a_note_reads_real_data(dictionary, parts):
    made = parts[2]
    real = str(parts[0].ids[0])
    leaked = replace(
        made, notes=made.notes.assign(text=[f"{t} {real}" if i == 0 else t for i, t in enumerate(made.notes["text"])])
    )
    (flag,) = audit_notes(evidence(dictionary, parts, leaked))[1]
    assert flag.reads_real_data
    assert real not in flag.text


# Nothing to say -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("check", [Factuality(), TextSimilarity(), NoteUtility()], ids=lambda c: c.name)
def test_a_cohort_without_notes_is_not_judged(check, dictionary, parts):
    bare = two_labs()
    cohort = simulated(bare, 20)
    assert list(check.run(Evidence(bare, cohort, cohort, cohort, cohort, np.random.default_rng(0)))) == []
    without = tuple(replace(c, notes=None) for c in parts)
    assert list(check.run(evidence(dictionary, without))) == []
    if isinstance(check, Factuality):
        assert list(check.flags(evidence(dictionary, without))) == []
