"""Attacks on text, beside slow or hand-worked oracles: copies, exposure of canaries, identifiers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from privacy.attacks.copied_text import copied_text
from privacy.attacks.exposure import Canary, canaries, echo, exposure
from privacy.attacks.identifiers import identifiers
from privacy.attacks.verbatim import Automaton, spans, tokens, verbatim
from privacy.errors import ConfigError

WORDS = [f"w{i}" for i in range(200)]


def longest_by_hand(a: list[str], b: list[str]) -> int:
    """Longest common run of two notes, every pair of positions tried."""
    best = 0
    for i in range(len(a)):
        for j in range(len(b)):
            k = 0
            while i + k < len(a) and j + k < len(b) and a[i + k] == b[j + k]:
                k += 1
            best = max(best, k)
    return best


def longest_end(a: list[str], b: list[str]) -> int:
    """Tokens of the longest end of `a` that stands anywhere in `b`."""
    return next(k for k in range(len(a), -1, -1) if k == 0 or any(b[j : j + k] == a[-k:] for j in range(len(b))))


def test_the_longest_run_is_that_of_every_pair_of_positions():
    rng = np.random.default_rng(0)
    for _ in range(40):
        notes = [list(rng.choice(list("abcd"), size=int(rng.integers(1, 15)))) for _ in range(4)]
        asked = list(rng.choice(list("abcde"), size=12))
        known = Automaton([("ann", notes[0]), ("ann", notes[1]), ("bob", notes[2]), ("cid", notes[3])])
        runs = known.matches(asked)
        assert max(m.run for m in runs) == max(longest_by_hand(asked, note) for note in notes)
        by_patient = [notes[:2], notes[2:3], notes[3:]]
        for end, match in enumerate(runs, 1):
            ends = sorted(max(longest_end(asked[:end], note) for note in mine) for mine in by_patient)
            assert (match.run, match.shared) == (ends[-1], ends[-2])


def random_notes(rng: np.random.Generator, patients: int, start: int = 0) -> list[tuple[str, list[str]]]:
    return [(f"p{start + i}", list(rng.choice(WORDS, size=40))) for i in range(patients) for _ in range(2)]


def test_a_copier_is_told_from_an_honest_writer():
    rng = np.random.default_rng(1)
    train, holdout = random_notes(rng, 20), random_notes(rng, 20, 100)
    honest = verbatim([note for _, note in random_notes(rng, 20)], train, holdout, rng)
    assert honest.copied.value == honest.control.value == 0
    assert honest.longest == 0
    assert honest.membership.low < 0.5 < honest.membership.high
    copied = verbatim([[*WORDS[:5], *note[3:23], *WORDS[:5]] for _, note in train[::2]], train, holdout, rng)
    assert copied.copied.low > copied.control.high
    assert copied.longer.value == 1
    assert copied.usual == 12
    assert copied.longest == 20
    assert copied.where[0] == (0, 5, 25)
    assert copied.membership.value == 1
    assert copied.membership.low > 0.8  # as far as twenty patients of each kind can show


def test_what_two_patients_wrote_is_a_template():
    rng = np.random.default_rng(2)
    phrase = WORDS[:20]
    train = [(p, [*note, *phrase]) if p in ("p0", "p1") else (p, note) for p, note in random_notes(rng, 10)]
    holdout = random_notes(rng, 10, 100)
    assert verbatim([phrase], train, holdout, rng).copied.value == 0
    alone = [(p, note) for p, note in train if p != "p1"]
    assert verbatim([phrase], alone, holdout, rng).copied.value == 1
    assert verbatim([phrase], alone, [*holdout, ("h", phrase)], rng).copied.value == 0
    assert verbatim([phrase[:12]], alone, holdout, rng).copied.value == 0  # twelve are allowed
    assert verbatim([phrase[:13]], alone, holdout, rng).longest == 13


def test_stock_phrases_in_another_order_are_no_copies():
    """Notes of stock phrases in random order: their order makes runs that one patient alone has, in anybody's notes."""
    rng = np.random.default_rng(6)
    phrases = [WORDS[10 * i : 10 * i + 9] for i in range(14)]

    def stock(start: int) -> list[tuple[str, list[str]]]:
        return [(f"p{start + i}", [w for k in rng.choice(14, 6, replace=False) for w in phrases[k]]) for i in range(60)]

    train, holdout = stock(0), stock(100)
    honest = verbatim([note for _, note in stock(200)], train, holdout, rng)
    assert honest.control.value > 0.2
    assert honest.longer.low <= honest.longer_control.high
    copier = verbatim([note for _, note in train], train, holdout, rng)
    assert copier.longer.low > copier.longer_control.high


SENTENCE = tokens("Her grandson of 14 plays the trombone in the band of the fire brigade at weekends.")
"""A free sentence that one patient alone has."""


def stock_notes(rng: np.random.Generator, first: int) -> list[tuple[str, list[str]]]:
    """Notes of stock phrases in random order, each with a number of its own."""
    phrases = [[*WORDS[10 * i : 10 * i + 8], "day"] for i in range(14)]
    order = [rng.choice(14, 6, replace=False) for _ in range(60)]
    return [
        (f"p{first + i}", [w for k in each for w in (*phrases[k], str(rng.integers(1000)))])
        for i, each in enumerate(order)
    ]


def test_a_free_sentence_of_one_patient_is_copied_text_whatever_its_numbers():
    rng = np.random.default_rng(6)
    train, holdout = stock_notes(rng, 0), stock_notes(rng, 100)
    made = [note for _, note in stock_notes(rng, 200)]
    train[7] = (train[7][0], [*train[7][1], *SENTENCE])
    honest = copied_text(made, train, holdout)
    assert (honest.copied.value, honest.control.value, honest.longest) == (0, 0, 0)
    other = ["15" if word == "14" else word for word in SENTENCE]
    planted_in = {3: SENTENCE, 5: other}
    copier = copied_text(
        [[*note[:20], *planted_in.get(i, ()), *note[20:]] for i, note in enumerate(made)], train, holdout
    )
    assert copier.copied.value == 2 / len(made)
    end = 20 + len(
        SENTENCE
    )  # "day" and a number stand before the sentence in the training note, too, and are nobody's own
    assert [tuple(copy) for copy in copier.copies] == [(i, 18, end, len(SENTENCE)) for i in planted_in]


def test_templates_and_common_phrases_are_no_copied_text():
    rng = np.random.default_rng(7)
    train, holdout = stock_notes(rng, 0), stock_notes(rng, 100)
    learnt = [note for _, note in train]
    assert verbatim(learnt, train, holdout, rng).copied.value > 0.9  # the order of phrases is one patient's
    assert copied_text(learnt, train, holdout).copied.value == 0
    told = [*train[:1], *((p, [*note, *SENTENCE]) for p, note in train[1:2]), *train[2:]]
    assert copied_text([SENTENCE], told, holdout).copied.value == 1
    assert copied_text([SENTENCE[:12]], told, holdout).copied.value == 0  # twelve are allowed
    assert copied_text([SENTENCE[:13]], told, holdout).longest == 13
    second = [*told[:2], (told[2][0], [*told[2][1], *SENTENCE]), *told[3:]]
    assert copied_text([SENTENCE], second, holdout).copied.value == 0
    unseen = [*holdout, ("h", SENTENCE)]
    assert copied_text([SENTENCE], told, unseen).copied.value == 0
    assert copied_text([SENTENCE], told, unseen).control.value == 1 / len(unseen)  # one holdout patient has it, too
    halves_of = [*holdout, ("h", SENTENCE[:9]), ("k", SENTENCE[9:])]
    assert copied_text([SENTENCE], told, halves_of).copied.value == 0  # two common phrases make it up
    pieces = [*holdout, ("h", SENTENCE[:9]), ("k", SENTENCE[12:])]
    (copy,) = copied_text([SENTENCE], told, pieces).copies
    assert copy.own == 3 + len(SENTENCE[12:]) * (len(SENTENCE[12:]) < 6)


def test_tokens_and_their_places():
    text = "Albumin 3.35 g/dL, day 12."
    assert tokens(text) == ["albumin", "3.35", "g", "/", "dl", ",", "day", "12", "."]
    assert [text.lower()[a:b] for a, b in spans(text)] == tokens(text)


def test_copies_need_real_notes_of_both_sides():
    with pytest.raises(ConfigError, match="holdout"):
        verbatim([["a"]], [("p", ["a"])], [], np.random.default_rng(0))
    with pytest.raises(ConfigError, match="holdout"):
        copied_text([["a"]], [("p", ["a"])], [])


def planted(rng: np.random.Generator, number: int = 12) -> list[Canary]:
    return canaries([("the", "patient", f"w{i}") for i in range(number)], WORDS, rng, suffix=6, alternatives=127)


def test_a_model_that_knows_the_canaries_by_heart_is_fully_exposed():
    rng = np.random.default_rng(0)
    mine = planted(rng)
    known = {canary.text for canary in mine}
    found = exposure(mine, lambda texts: np.array([0.0 if t in known else 9.0 for t in texts]), rng)
    assert found.bits.value == found.ceiling == 7
    assert (found.ranks == 1).all()
    assert found.first.low > 0.7
    assert found.bits.low < 7
    assert found.p_value < 0.001


def test_a_model_that_never_saw_them_is_exposed_as_much_as_chance():
    """The expected exposure of a uniform rank is about log2(e) = 1.44 bits; its p-values are uniform."""
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = exposure(planted(rng, 8), lambda texts, r=rng: r.random(len(texts)), rng)
        p_values.append(found.p_value)
        assert found.chance == pytest.approx(math.log2(math.e), abs=0.05)
    assert (np.array(p_values) < 0.05).mean() <= 0.12
    assert 0.35 < np.mean(p_values) < 0.65


def test_a_model_that_cannot_tell_any_text_from_another_is_exposed_as_chance():
    rng = np.random.default_rng(3)
    found = exposure(planted(rng, 40), lambda texts: np.ones(len(texts)), rng)
    assert found.bits.low < found.chance < found.bits.high


def test_canaries_come_back_as_an_echo_of_what_was_generated():
    rng = np.random.default_rng(4)
    mine = planted(rng)
    notes = [list(note) for _, note in random_notes(rng, 30)]
    silent = exposure(mine, echo(notes), rng)
    heard = exposure(mine, echo([*notes, *(list(c.text) for c in mine[:9])]), rng)
    assert silent.p_value > 0.01
    assert heard.p_value < 0.001
    assert heard.bits.low > silent.bits.value


def test_an_echo_is_the_likelihood_of_its_pairs_by_hand():
    nll = echo([["a", "b"], ["a", "c"]], order=2, weight=1.0)
    # words a, b, c and one unknown: P(a | start) = (2 + 1) / (2 + 4), P(b | a) = (1 + 1) / (2 + 4), P(z | a) = 1 / 6
    assert nll([("a", "b"), ("a", "z")]) == pytest.approx([-math.log(3 / 6 * 2 / 6), -math.log(3 / 6 * 1 / 6)])


def test_canaries_are_in_distribution_first_and_random_after():
    rng = np.random.default_rng(5)
    (canary,) = canaries([("seen", "today")], WORDS, rng, suffix=4, alternatives=3)
    assert canary.text[:2] == ("seen", "today")
    assert len(canary.text) == 6
    assert len({canary.suffix, *canary.alternatives}) == 4
    with pytest.raises(ConfigError, match="two words"):
        canaries([("a",)], ["only"], rng)
    with pytest.raises(ConfigError, match="finite"):
        exposure([canary], lambda texts: np.full(len(texts), np.nan), rng)


@pytest.mark.parametrize(
    ("text", "kind", "cut"),
    [
        ("Seen by Dr. A. Smith today", "name", "Dr. A. Smith"),
        ("Mrs Jones-Brown was well", "name", "Mrs Jones-Brown"),
        ("Name: Jane Doe", "name", "Name: Jane Doe"),
        ("signed by John Brown", "name", "signed by John Brown"),
        ("on 12/03/2021", "date", "12/03/2021"),
        ("on 2021-03-12", "date", "2021-03-12"),
        ("on 3 March 2021", "date", "3 March 2021"),
        ("on the 3rd of March", "date", "3rd of March"),
        ("in March 2021", "date", "March 2021"),
        ("MRN: 12345678", "record_number", "MRN: 12345678"),
        ("Hospital number AB-9912", "record_number", "Hospital number AB-9912"),
        ("ssn 123-45-6789", "record_number", "ssn 123-45-6789"),
        ("tel. 020 7946 0958", "phone", "tel. 020 7946 0958"),
        ("call +44 20 7946 0958", "phone", "+44 20 7946 0958"),
        ("(555) 123-4567", "phone", "(555) 123-4567"),
        ("jane.doe@hospital.org", "email", "jane.doe@hospital.org"),
        ("at 12 Old Mill Road", "address", "12 Old Mill Road"),
        ("host 10.0.12.7", "address", "10.0.12.7"),
        ("a 93-year-old", "age_over_89", "93-year-old"),
    ],
)
def test_planted_identifiers_are_found(text: str, kind: str, cut: str):
    (found,) = identifiers(f"No ascites. {text}. Albumin 3.35 g/dL.")
    at = len("No ascites. ")
    assert found.kind == kind or cut.startswith("+44")
    assert text[found.start - at : found.end - at].endswith(cut.split()[-1])


@pytest.mark.parametrize(
    "text",
    [
        "Bilirubin 2.4 mg/dL, platelets 250 10*3/uL, INR 1.2/1.1.",
        "Reviewed on day 1234: a lady aged 54.",
        "Blood pressure 120/80. Stage 3-4. She may need 12 weeks of it.",
        "Six-minute walk 369 m. Ratio 3.4.5",
        "The patient was seen by the hepatology team. Doctor informed.",
        "Histologic stage of the latest biopsy (Ludwig): 4.",
    ],
)
def test_clinical_text_is_no_identifier(text: str):
    assert identifiers(text) == []


def test_a_known_id_is_found_as_a_whole_word():
    assert [(i.kind, i.start) for i in identifiers("as QA17 and QA171", ["QA17"])] == [("known", 3)]
