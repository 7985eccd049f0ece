"""The notes generator: slots, one row a patient, low-rank weights alone under DP, and notes that say what the record says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from generators.notes import adapter, fit
from generators.notes.delexicalisation import delexicalised, lexicalised
from generators.notes.encoding import Page, apart, loss, pages
from generators.notes.generator import NoteLM
from generators.notes.rewriting import rewritten
from generators.notes.slots import DAY, NUMBER, Catalogue
from generators.notes.tokens import Tokens
from generators.notes.writing import write
from privacy.accounting import calibrate
from privacy.budget import Budget
from privacy.gradients import per_patient_gradients
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.errors import ConfigError, WorkspaceError
from synthgen.notes.facts import Fact, charts
from synthgen.notes.rendering import render, rendered
from synthgen.simulation import simulate

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
TINY = {
    "hidden": 32, "layers": 2, "heads": 2, "vocabulary": 900, "pretrain_patients": 60, "pretrain_steps": 40, "steps": 3,
    "finetune_epochs": 2, "definitions": 0, "sampling_rate": 0.5, "max_notes": 3, "max_tokens": 300, "rank": 2,
    "targets": ("q_proj", "lm_head"),
}  # fmt: skip


def quiet(what: str, done: int, total: int) -> None:
    """No progress bar."""


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return read_dictionary(CONFIGS / "pbc-notes" / "cohort.yaml")


@pytest.fixture(scope="module")
def cohort(dictionary: Dictionary) -> Cohort:
    record = simulate(dictionary.without(["notes"]), 24, np.random.default_rng(1))
    notes = render(record, dictionary, np.random.default_rng(2), "pilot")
    return Cohort.checked({**record.tables, "notes": notes}, dictionary, "synthetic")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def generator(dictionary: Dictionary, cache: Path) -> NoteLM:
    made = NoteLM(dictionary, TINY)
    made.pretrain(0, cache, quiet)
    return made


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def session(generator: NoteLM, cohort: Cohort, journal: Journal | None = None) -> Session:
    charges = calibrate(generator.charges(24), Budget(3.0, 1e-3))
    return Session(generator.encode(cohort), charges, 24, Noise(7), journal)


# Slots --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bank", ["public", "derived", "pilot"])
def test_a_note_goes_into_slots_and_comes_back_word_for_word(dictionary: Dictionary, cohort: Cohort, bank: str) -> None:
    catalogue = Catalogue(dictionary)
    of_patient = {c.patient_id: c for c in charts(cohort, dictionary)}
    for note in rendered(cohort, dictionary, np.random.default_rng(0), bank):
        facts = of_patient[note.patient_id].at(note.day)
        slotted = delexicalised(catalogue, note.text, facts, note.day)
        assert NUMBER not in slotted
        assert not re.search(r"\d", re.sub(r"\{[^{}]+\}", "", slotted))
        back = lexicalised(catalogue, slotted, facts, note.day)
        assert back == note.text or (bank == "pilot" and back.lower() == note.text.lower())  # `First contact. lady 63`


def test_numbers_find_their_own_column_by_hand(dictionary: Dictionary) -> None:
    """Two labs with one value, a unit that holds digits, a number that the record does not know."""
    facts = [
        Fact("lab", "bilirubin", "3.0", "mg/dL", names=("total bilirubin in serum", "bilirubin"), flag="high"),
        Fact("lab", "prothrombin_time", "3.0", "s", names=("prothrombin time",)),
        Fact("lab", "platelets", "210", "10*3/uL", names=("platelets in blood", "platelets")),
    ]
    text = "Prothrombin time 3.0 s, bilirubin 3 mg/dL, platelets 210 10*3/uL. Seen on day 12, back in 6 weeks."
    slotted = delexicalised(Catalogue(dictionary), text, facts, 12)
    assert slotted == (
        "{label:prothrombin_time} {prothrombin_time} {#unit}, {name:bilirubin|high} {bilirubin|high} {#unit}, "
        f"{{name:platelets}} {{platelets}} {{#unit}}. Seen on day {DAY}, back in {NUMBER} weeks."
    )
    filled = lexicalised(Catalogue(dictionary), slotted, facts, 12)
    assert filled == "Prothrombin time 3.0 s, bilirubin 3.0 mg/dL, platelets 210 10*3/uL."


def test_a_slot_says_what_the_record_says_of_it(dictionary: Dictionary) -> None:
    """Its state, and words for the patient's own sex; words for the other sex and `she or he` stay as they are."""
    catalogue = Catalogue(dictionary)
    facts = [
        Fact("sex", "sex", "f"),
        Fact("sign", "ascites", "no", negated=True, names=("ascites",)),
        Fact("sign", "hepatomegaly", "yes", names=("hepatomegaly",)),
    ]
    text = "Lady, whose brother is a man. She or he has no ascites; she has hepatomegaly."
    slotted = delexicalised(catalogue, text, facts, 0)
    assert slotted == (
        "{#lady/gentleman}, whose brother is a man. She or he has no {label:ascites|absent}; {#she/he} has "
        "{label:hepatomegaly|present}."
    )
    assert lexicalised(catalogue, slotted, facts, 0) == text
    known = catalogue.known(facts)
    assert {"{label:ascites|absent}", "{label:hepatomegaly|present}", "{#she/he}"} <= known
    assert not {"{label:ascites|present}", "{label:ascites}", "{label:hepatomegaly|absent}"} & known
    assert known <= set(catalogue.written)
    assert lexicalised(catalogue, "Fine. There is {label:ascites|present}. Bye.", facts, 0) == "Fine. Bye."
    assert "{#she/he}" not in catalogue.known(facts[1:])


def test_a_slot_of_another_patient_is_never_filled_with_theirs(dictionary: Dictionary) -> None:
    assert lexicalised(Catalogue(dictionary), "Fine. {bilirubin} {#unit} today. Bye.", [], 3) == "Fine. Bye."


# Encoding -----------------------------------------------------------------------------------------------------------------
def test_a_patients_row_depends_on_that_patient_alone(generator: NoteLM, cohort: Cohort) -> None:
    everybody = generator.encode(cohort)
    ids = list(cohort.ids)
    some = generator.encode(cohort.of(ids[3:9]))
    for name, rows in everybody.items():
        assert torch.equal(rows[3:9], some[name])


def test_weights_count_notes_alike_and_prompts_not_at_all(generator: NoteLM, cohort: Cohort) -> None:
    rows = generator.encode(cohort)
    notes = cohort.notes.groupby("patient_id").size().reindex(cohort.ids, fill_value=0).to_numpy()  # type: ignore[union-attr]
    totals = rows["weight"].sum(dim=1)
    assert torch.allclose(totals, torch.from_numpy(notes > 0).float())
    assert ((notes > 0) & (notes < 20)).any()
    assert (notes == 0).any()
    begin = generator._ready().tokens.tokenizer.token_to_id("{#write}")
    for row in range(len(rows["tokens"])):
        for k in range(1, int(rows["note"][row].max()) + 1):
            of_note = rows["note"][row] == k
            prompt = of_note & (rows["weight"][row] == 0)
            assert rows["tokens"][row][prompt][-1] == begin  # the prompt ends where the loss begins


def test_packed_notes_do_not_see_each_other(generator: NoteLM, cohort: Cohort) -> None:
    """The loss of a patient with several notes is the mean of its notes' losses, each alone."""
    backbone = generator._ready()
    found = list(pages(cohort, generator.catalogue))
    patient = next(
        p.chart.patient_id for p, _ in found if sum(q.chart.patient_id == p.chart.patient_id for q, _ in found) == 3
    )
    own = [(p, t) for p, t in found if p.chart.patient_id == patient]
    together = loss(backbone.model, generator._encoded(own, [patient]))
    alone = torch.cat([loss(backbone.model, generator._encoded([one], [patient])) for one in own])
    assert torch.allclose(together, alone.mean(), rtol=1e-4)
    mask = apart(torch.tensor([[1, 1, 2, 0]]))[0, 0] == 0
    assert mask.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


# Private learning ---------------------------------------------------------------------------------------------------------
def test_gradients_per_patient_equal_a_loop(generator: NoteLM, cohort: Cohort) -> None:
    everybody = generator.encode(cohort)
    order = everybody["weight"].sum(dim=1).argsort()[[0, 5, 6, 7, 8, 9]]  # the first has no notes
    rows = {k: v[order] for k, v in everybody.items()}
    model = adapter.attached(generator._ready().model, generator.settings)
    adapter.aim(model, generator.settings, generator._public())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_B." in name:
                weight.normal_(0, 0.05)
    fast = per_patient_gradients(model, loss, rows, "opacus")
    slow = per_patient_gradients(model, loss, rows, "loop")
    assert slow.abs().max() > 1e-3
    assert torch.allclose(fast, slow, atol=1e-5, rtol=1e-3)
    without = rows["weight"].sum(dim=1) == 0
    assert without.any()
    assert not fast[without].any()


def test_under_dp_the_low_rank_weights_move_and_nothing_else(generator: NoteLM, cohort: Cohort) -> None:
    """Opacus issue 820: DP-LoRA that silently trains nothing."""
    before = {k: v.clone() for k, v in generator._ready().model.state_dict().items()}
    generator.fit(session(generator, cohort), 0, quiet)
    after = adapter.frozen(generator._model)
    assert set(before) == set(after)
    assert all(torch.equal(before[k], after[k]) for k in before)
    low = adapter.trained(generator._model)
    moved = {k for k, v in low.items() if ".lora_B." in k and v.abs().max() > 0}
    assert moved == {k for k in low if ".lora_B." in k}
    assert {k.split(".lora_")[0].split(".")[-1] for k in low} == {"q_proj", "lm_head"}
    trainable = [n for n, p in generator._model.named_parameters() if p.requires_grad]
    assert all(".lora_B." in n for n in trainable)


def test_fit_replays_from_its_answers_alone(generator: NoteLM, cohort: Cohort, tmp_path: Path) -> None:
    """A killed job resumes from the journal; no patient is needed."""
    generator.fit(session(generator, cohort, Journal(tmp_path / "a")), 0, quiet)
    first = adapter.trained(generator._model)
    charges = calibrate(generator.charges(24), Budget(3.0, 1e-3))
    nobody = {k: torch.zeros_like(v) for k, v in generator.encode(cohort).items()}
    generator.fit(Session(nobody, charges, 24, Noise(8), Journal(tmp_path / "a")), 0, quiet)
    assert all(torch.equal(v, first[k]) for k, v in adapter.trained(generator._model).items())


def test_a_change_of_one_patient_changes_no_other_gradient(generator: NoteLM, cohort: Cohort) -> None:
    rows = {k: v[:5] for k, v in generator.encode(cohort).items()}
    model = adapter.attached(generator._ready().model, generator.settings)
    adapter.aim(model, generator.settings, generator._public())
    first = per_patient_gradients(model, loss, rows)
    changed = {k: v.clone() for k, v in rows.items()}
    changed["tokens"][2] = changed["tokens"][4]
    second = per_patient_gradients(model, loss, changed)
    assert torch.allclose(first[[0, 1, 3, 4]], second[[0, 1, 3, 4]], atol=1e-6)


@pytest.mark.slow
def test_without_privacy_it_learns_the_manner_of_writing(dictionary: Dictionary, cohort: Cohort, cache: Path) -> None:
    generator = NoteLM(dictionary, TINY | {"finetune_epochs": 5, "finetune_rate": 5e-3})
    generator.pretrain(0, cache, quiet)
    before = generator.log_likelihood(cohort)
    generator.fit(Session(generator.encode(cohort), (), 24), 0, quiet)
    after = generator.log_likelihood(cohort)
    assert after[before < 0].mean() > before[before < 0].mean() + 0.2


def test_directions_are_the_leading_ones_of_what_a_layer_reads() -> None:
    inputs = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * torch.tensor(
        [9, 4, 1, 1, 1, 1]
    )
    found = adapter.directions(inputs.T @ inputs / len(inputs), 2)
    out = inputs.float() @ found.T
    assert torch.allclose(out.square().mean(dim=0), torch.ones(2), atol=1e-3)
    assert found[0].abs().argmax() == 0
    assert found[1].abs().argmax() == 1


# Writing ------------------------------------------------------------------------------------------------------------------
def test_every_number_in_a_written_note_is_the_records(
    generator: NoteLM, cohort: Cohort, dictionary: Dictionary
) -> None:
    """Even of a model that has learnt next to nothing."""
    made = generator.extend(Cohort(cohort.patients, cohort.visits, origin="synthetic"), np.random.default_rng(0))
    assert made.notes is not None
    assert len(made.notes) > 10
    Cohort.checked(made.tables, dictionary, "synthetic")
    of_patient = {c.patient_id: c for c in charts(cohort, dictionary)}
    for row in made.notes.itertuples():
        facts = of_patient[str(row.patient_id)].at(int(row.day))
        known = {f.value for f in facts} | {str(row.day)}
        text = str(row.text)
        for unit in {f.unit for f in facts if f.unit}:
            text = text.replace(unit, "")
        assert set(re.findall(r"\d+(?:\.\d+)?", text)) <= known
        assert "{" not in text


def test_a_number_stands_behind_its_own_name(
    generator: NoteLM, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the model has learnt next to nothing, the slot of a measurement follows the last name if it is its own."""
    monkeypatch.setattr("generators.notes.writing.lexicalised", lambda _, text, *__: text)
    monkeypatch.setattr("generators.notes.writing._whole_sentences", lambda text: text)
    backbone, catalogue = generator._ready(), generator.catalogue

    def slots_alone(self: Tokens, known: set[str]) -> object:
        return np.array([self.tokenizer.id_to_token(n) in known for n in range(len(self))])

    monkeypatch.setattr(Tokens, "allowed", slots_alone)
    found = [page for page, _ in pages(cohort, catalogue)][:5]
    measured = 0
    for text in write(backbone.model, backbone.tokens, found, generator.settings, np.random.default_rng(0)):
        about = None
        for slot in re.findall(r"\{[^{}]+\}", text):
            about = catalogue.named.get(slot, about)
            measured += slot in catalogue.measured
            assert catalogue.measured.get(slot, about) == about
    assert measured > 20


def test_a_note_does_not_depend_on_what_else_is_written(generator: NoteLM, cohort: Cohort) -> None:
    backbone = generator._ready()
    found = [page for page, _ in pages(cohort, generator.catalogue)][:6]
    settings = generator.settings.model_copy(update={"max_tokens": 80})
    together = write(backbone.model, backbone.tokens, found, settings, np.random.default_rng(0))
    alone = write(backbone.model, backbone.tokens, found[:1], settings, np.random.default_rng(0))
    assert together[0] == alone[0]


def test_a_note_that_contradicts_its_record_is_written_again(dictionary: Dictionary, cohort: Cohort) -> None:
    true = list(pages(cohort, Catalogue(dictionary)))[:3]
    wrong = "She denies ascites. There is ascites. Aged 17."
    drafts = iter([[true[0][1], wrong, wrong], ["Aged 17.", wrong], ["Aged 17.", true[2][1]]])
    asked: list[int] = []

    def draft(some: Sequence[Page]) -> list[str]:
        asked.append(len(some))
        return next(drafts)

    wanted = [page for page, _ in true]
    assert rewritten(draft, wanted, dictionary, 2) == [true[0][1], "Aged 17.", true[2][1]]
    assert asked == [3, 2, 2]
    assert rewritten(lambda some: [wrong] * len(some), wanted, dictionary, 0) == [wrong] * 3


def test_the_cache_of_keys_and_values_changes_no_token(generator: NoteLM, cohort: Cohort) -> None:
    """Greedy continuation against the model run on the whole text at every step."""
    backbone = generator._ready()
    page = next(iter(pages(cohort, generator.catalogue)))[0]
    settings = generator.settings.model_copy(update={"top_p": 1e-9, "max_tokens": 70})
    written = write(backbone.model, backbone.tokens, [page, page], settings, np.random.default_rng(0))[0]
    numbers = backbone.tokens.prompt(page.prompt(generator.catalogue))
    prompt = len(numbers)
    allowed = torch.from_numpy(backbone.tokens.allowed(generator.catalogue.known(page.facts)))
    named, measured = backbone.tokens.owners()
    while len(numbers) < 70 and numbers[-1] != backbone.tokens.end:
        with torch.no_grad():
            logits = backbone.model(input_ids=torch.tensor([numbers]), use_cache=False).logits[0, -1]
        about = next((named[n] for n in reversed(numbers[prompt:]) if named[n] >= 0), -1)
        own = torch.from_numpy((measured == -1) | (measured == about))
        numbers.append(int(logits.masked_fill(~(allowed & own), -torch.inf).argmax()))
    text = backbone.tokens.text(numbers[prompt:])
    cut = text if backbone.tokens.end in numbers else text[: text.rfind(".") + 1]
    assert written == lexicalised(generator.catalogue, cut, page.facts, page.day)


@pytest.mark.slow
def test_a_local_folder_in_hugging_faces_format(
    dictionary: Dictionary, cohort: Cohort, generator: NoteLM, tmp_path: Path
) -> None:
    """Any causal language model, with its own tokenizer that knows no slot, and an output layer longer than its vocabulary."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    own = generator._ready().tokens.tokenizer
    folder = tmp_path / "model"
    PreTrainedTokenizerFast(tokenizer_object=own, eos_token="{#end}").save_pretrained(folder)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=own.get_vocab_size() + 7, num_key_value_heads=2, **size)).save_pretrained(
        folder
    )
    settings = {"backbone": str(folder), "finetune_epochs": 1, "rank": 2, "max_tokens": 200, "max_notes": 1}
    made = NoteLM(dictionary, settings)
    made.pretrain(0, tmp_path / "cache", quiet)
    before = {k: v.clone() for k, v in made._ready().model.state_dict().items()}
    made.fit(Session(made.encode(cohort), (), 24), 0, quiet)
    low = adapter.trained(made._model)
    assert {k.split(".lora_")[0].split(".")[-1] for k in low} == {"q_proj", "v_proj"}
    assert all(torch.equal(v, before[k]) for k, v in adapter.frozen(made._model).items())
    assert all(v.abs().max() > 0 for k, v in low.items() if ".lora_B." in k)
    (tmp_path / "saved").mkdir()
    made.save(tmp_path / "saved")
    assert {p.name for p in (tmp_path / "saved").iterdir()} == {
        "model.safetensors",
        "model.json",
    }  # its weights stay where they are
    other = NoteLM(dictionary, settings)
    other.load(tmp_path / "saved")
    record = Cohort(cohort.patients, cohort.visits, origin="synthetic").of(list(cohort.ids)[:2])
    first, second = (g.extend(record, np.random.default_rng(3)).notes for g in (made, other))
    assert first is not None
    assert first.equals(second)


# Model files and errors ---------------------------------------------------------------------------------------------------
def test_what_is_saved_is_what_is_loaded(
    generator: NoteLM, cohort: Cohort, dictionary: Dictionary, tmp_path: Path
) -> None:
    generator.fit(session(generator, cohort), 0, quiet)
    generator.save(tmp_path)
    other = NoteLM(dictionary, TINY)
    other.load(tmp_path)
    assert torch.allclose(other.log_likelihood(cohort), generator.log_likelihood(cohort), atol=1e-6)
    record = Cohort(cohort.patients, cohort.visits, origin="synthetic").of(list(cohort.ids)[:3])
    first, second = (g.extend(record, np.random.default_rng(3)).notes for g in (generator, other))
    assert first is not None
    assert first.equals(second)
    assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "model.json", "tokenizer.json"}
    with pytest.raises(WorkspaceError, match="other settings"):
        NoteLM(dictionary, TINY | {"rank": 3}).load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(WorkspaceError, match="corrupt"):
        NoteLM(dictionary, TINY).load(tmp_path)


@pytest.mark.usefixtures("generator")
def test_a_second_pretraining_comes_from_the_cache(dictionary: Dictionary, cache: Path) -> None:
    made = [p.name for p in cache.iterdir()]
    again = NoteLM(dictionary, TINY)
    told: list[tuple[int, int]] = []
    again.pretrain(0, cache, lambda what, done, total: told.append((done, total)))
    assert told == [(40, 40)]
    assert [p.name for p in cache.iterdir()] == made


def test_the_vocabulary_is_made_of_public_text_only(generator: NoteLM) -> None:
    """No patient has been met when it is made; a real note is spelt with it, whatever it holds."""
    tokens = generator._ready().tokens
    strange = "Zürich, naïve: ½ λ — x\nsecond line (sic)."
    assert tokens.text(tokens.note(strange)) == strange
    words = {w.strip("Ġ").lower() for w in tokens.tokenizer.get_vocab()}
    assert "laboratory" in words
    assert not {"lady", "gentleman", "leaflets", "bloods"} & words  # of the bank that notes are derived with


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ranks": 4}, "generators.notes: ranks: unknown key"),
        ({"backbone": "/nowhere"}, "neither"),
        ({"heads": 5}, "multiple"),
        ({"targets": ("nothing",)}, "no layer called nothing"),
    ],
)
def test_settings_that_cannot_work_are_named(
    dictionary: Dictionary, cohort: Cohort, cache: Path, settings: dict[str, object], message: str
) -> None:
    def attempt() -> None:
        made = NoteLM(dictionary, TINY | settings)
        made.pretrain(0, cache, quiet)
        made.fit(session(made, cohort), 0, quiet)

    with pytest.raises(ConfigError, match=message):
        attempt()


def test_a_dictionary_without_notes_is_refused(dictionary: Dictionary) -> None:
    with pytest.raises(ConfigError, match="notes"):
        NoteLM(dictionary.without(["notes"]))


def test_its_charges_are_its_own_and_come_from_public_numbers(generator: NoteLM) -> None:
    rows, gradient = generator.charges(1000)
    assert (rows.name, gradient.name) == ("notes/occurrence", fit.GRADIENT)
    assert gradient.sampling_rate == pytest.approx(fit.LARGEST_SAMPLE / 1000)
    spent = gradient.steps * gradient.sampling_rate**2 / gradient.noise_multiplier**2
    assert spent == pytest.approx(1 - generator.settings.occurrence_share)


def test_rows_as_long_as_noise_are_shrunk_to_nothing() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.1, 0.1], [1.0, 1.0]])
    found = fit.shrunk(rows, 0.5)
    assert torch.allclose(found[0], rows[0] * (1 - 1 / 25))
    assert not found[1].any()
    assert torch.allclose(found[2], rows[2] / 2)


def test_public_notes_stay_likely(generator: NoteLM, cohort: Cohort) -> None:
    """However large the steps are, public notes do not cost more than the drift allows."""
    wild = NoteLM(generator.dictionary, TINY | {"step_rate": 100.0, "drift": 0.05})
    wild._backbone = generator._backbone
    public = wild._public()
    before = fit._nats(generator._ready().model, public)
    wild.fit(session(wild, cohort), 0, quiet)
    assert fit._nats(wild._model, public) <= before + 0.05 + 1e-4
