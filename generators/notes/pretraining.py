"""Pretraining on public text: notes rendered from simulated patients, and definitions of signs. Epsilon 0."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import synthgen.notes.facts
import synthgen.notes.phrases
import synthgen.notes.rendering
import synthgen.population
import synthgen.simulation
from generators.notes import backbone, delexicalisation, encoding, public_text, slots, tokens
from generators.notes.backbone import Backbone, small
from generators.notes.delexicalisation import delexicalised
from generators.notes.encoding import Page
from generators.notes.settings import Settings
from generators.notes.slots import Catalogue
from generators.notes.tokens import BEGIN
from synthgen.cache import store
from synthgen.generator import Progress
from synthgen.notes.facts import charts
from synthgen.notes.rendering import rendered
from synthgen.randomness import child_seed, generator
from synthgen.simulation import simulate

WHAT = "pretraining on public text"
IGNORED = -100
"""A target that costs nothing."""
_KEYED = ("vocabulary", "hidden", "layers", "heads", "pretrain_patients", "pretrain_steps", "batch_size", "learning_rate",
          "definitions", "max_tokens")  # fmt: skip
"""Settings that the weights depend on."""


def public_notes(catalogue: Catalogue, patients: int, seed: int, bank: str = "public") -> list[tuple[Page, str]]:
    """Notes of simulated patients of many populations, patient by patient."""
    bare = catalogue.dictionary.without(["notes", "images"])
    cohort = simulate(bare, patients, generator(seed, "notes", "simulated"), max(1, patients // 50))
    records = {chart.patient_id: chart for chart in charts(cohort, catalogue.dictionary)}
    notes = rendered(cohort, bare, generator(seed, "notes", "rendered"), bank)
    column = next(iter(catalogue.kinds), None)
    known = catalogue.kinds.get(column or "", ())
    return [
        (Page(records[n.patient_id], n.day, {column: n.kind} if column and n.kind in known else {}), n.text)
        for n in notes
    ]


def pretrained(catalogue: Catalogue, settings: Settings, seed: int, cache: Path, progress: Progress) -> Backbone:
    """The small backbone, from the cache when it is there.

    Raises:
        WorkspaceError: when the cache cannot be written.
    """
    folder = cache / _key(catalogue, settings, seed)
    if found := _load(catalogue, settings, seed, folder):
        progress(WHAT, settings.pretrain_steps, settings.pretrain_steps)
        return found
    notes = public_notes(catalogue, settings.pretrain_patients, seed)
    extra = public_text.definitions() if settings.definitions else ()
    texts = [delexicalised(catalogue, text, page.facts, page.day) for page, text in notes]
    vocabulary = tokens.learnt(catalogue, [*texts, *extra], settings.vocabulary)
    made = small(vocabulary, settings, seed)
    sequences = [encoding.sequence(page, text, vocabulary, settings.max_tokens) for page, text in notes]
    spare = [vocabulary.note(f"{BEGIN}{text}")[: settings.max_tokens] for text in extra]
    _train(made.model, sequences, [(numbers, 1) for numbers in spare], settings, seed, progress)
    store(folder, lambda aside: _write(made, aside))
    return made


def _train(
    model: nn.Module,
    notes: list[tuple[list[int], int]],
    extra: list[tuple[list[int], int]],
    settings: Settings,
    seed: int,
    progress: Progress,
) -> None:
    """AdamW on the notes' tokens, learning rate down to zero by a half cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.pretrain_steps, pct_start=0.1
    )
    rng = np.random.default_rng(child_seed(seed, "notes", "order"))
    others = round(settings.definitions * settings.batch_size) if extra else 0
    for step in range(settings.pretrain_steps):
        batch = [notes[int(k)] for k in rng.integers(len(notes), size=settings.batch_size - others)]
        batch += [extra[int(k)] for k in rng.integers(max(1, len(extra)), size=others)]
        numbers, targets = padded(batch)
        read = model.model(input_ids=numbers, use_cache=False).last_hidden_state[:, :-1]  # type: ignore[operator]
        told = targets[:, 1:] != IGNORED
        loss = nn.functional.cross_entropy(model.lm_head(read[told]), targets[:, 1:][told])  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 19 or step + 1 == settings.pretrain_steps:
            progress(WHAT, step + 1, settings.pretrain_steps)


def padded(batch: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
    """(token numbers, targets: -100 for prompts and padding), both [notes, tokens]; no token looks ahead: no mask."""
    length = max(len(numbers) for numbers, _ in batch)
    tokens, targets = torch.zeros(len(batch), length, dtype=torch.long), torch.full((len(batch), length), IGNORED)
    for row, (numbers, prompt) in enumerate(batch):
        tokens[row, : len(numbers)] = torch.tensor(numbers)
        targets[row, prompt : len(numbers)] = torch.tensor(numbers[prompt:])
    return tokens, targets


def _key(catalogue: Catalogue, settings: Settings, seed: int) -> str:
    """What the weights depend on: dictionary, settings, phrases, definitions, seed and the code itself."""
    modules = (
        backbone,
        delexicalisation,
        encoding,
        slots,
        tokens,
        synthgen.notes.facts,
        synthgen.notes.rendering,
        synthgen.population,
        synthgen.simulation,
    )
    parts = [
        catalogue.dictionary.fingerprint,
        json.dumps(settings.model_dump(include=set(_KEYED)), sort_keys=True),
        str(seed),
    ]
    parts += [
        torch.__version__,
        public_text.version(),
        json.dumps(synthgen.notes.phrases.bank("public"), sort_keys=True),
    ]
    parts += [inspect.getsource(m) for m in modules] + [inspect.getsource(f) for f in (_train, padded, public_notes)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _load(catalogue: Catalogue, settings: Settings, seed: int, folder: Path) -> Backbone | None:
    """None where there is none; a cache that cannot be read is made again."""
    if not (folder / "model.safetensors").is_file():
        return None
    try:
        made = small(tokens.read((folder / "tokenizer.json").read_text(encoding="utf-8"), catalogue), settings, seed)
        restore(made.model, load_file(folder / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError, ValueError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return made


def weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every weight once: the output layer of a small backbone is its embedding."""
    return {k: v.detach().contiguous() for k, v in state.items() if k != "lm_head.weight"}


def restore(model: nn.Module, state: dict[str, Tensor]) -> None:
    """What `weights` gave. Raises RuntimeError when they are another model's."""
    missing, unexpected = model.load_state_dict(state, strict=False)
    if set(missing) - {"lm_head.weight"} or unexpected:
        raise RuntimeError("these are another model's weights")


def _write(made: Backbone, folder: Path) -> None:
    save_file(weights(made.model.state_dict()), folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(tokens.written(made.tokens), encoding="utf-8")
