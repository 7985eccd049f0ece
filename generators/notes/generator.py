"""The notes generator: a causal language model that reads a patient's record and writes the note of a day."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from generators.notes import adapter, fit, pretraining, tokens
from generators.notes.backbone import Backbone, pretrained, small
from generators.notes.encoding import Page, Records, encode, loss, pages
from generators.notes.rewriting import rewritten
from generators.notes.settings import Settings
from generators.notes.slots import Catalogue
from generators.notes.writing import write
from privacy.charges import Charge
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, parse
from synthgen.errors import ConfigError, WorkspaceError
from synthgen.generator import Progress
from synthgen.notes.facts import charts
from synthgen.occurrence import Occurrence
from synthgen.threads import one_thread

PUBLIC_PATIENTS = 40
"""Simulated patients from whose notes clip norm and directions of the low-rank weights come, and how far fitting may drift."""


class NoteLM:
    """See `synthgen.generator.LinkedGenerator`.

    Args:
        dictionary: the cohort's, with the table `notes` and one column of type text.
        settings: keys of `generators.notes.settings.Settings`.
        device: accepted for the protocol; the small backbone is made for a processor.

    Raises:
        ConfigError: for a dictionary without notes, or settings it does not know.
    """

    modality: ClassVar[str] = "notes"
    private: ClassVar[bool] = True

    def __init__(self, dictionary: Dictionary, settings: Mapping[str, Any] | None = None, device: str = "cpu") -> None:
        self.dictionary = dictionary
        self.settings = parse(Settings, dict(settings or {}), "generators.notes")
        self.device = device
        self.occurrence = Occurrence(dictionary, "notes")
        columns = dictionary.tables["notes"].columns
        texts = [name for name, column in columns.items() if column.type == "text"]
        if len(texts) != 1:
            raise ConfigError(f"notes: the table needs one column of type: text, and has {len(texts)}")
        self.text = texts[0]
        self.catalogue = Catalogue(dictionary)
        self._backbone: Backbone | None = None
        self._seed = 0
        self._model: Any = None

    def charges(self, declared_patients: int) -> Sequence[Charge]:
        rows = self.occurrence.charge(self.settings.occurrence_share**-0.5)
        return [rows, fit.charge(self.settings, declared_patients)]

    def encode(self, cohort: Cohort) -> dict[str, torch.Tensor]:
        """Tokens of records and notes in the pretrained vocabulary, and who has notes when. Needs `pretrain` or `load` first."""
        made = self._encoded(list(pages(cohort, self.catalogue)), [str(i) for i in cohort.ids])
        return made | {"occurrence": self.occurrence.encode(cohort)}

    def pretrain(self, seed: int, cache: Path, progress: Progress) -> None:
        self._seed, self._model = seed, None
        with one_thread():
            if self.settings.backbone == "small":
                self._backbone = pretraining.pretrained(self.catalogue, self.settings, seed, cache, progress)
            else:
                self._backbone = pretrained(self.catalogue, self.settings.backbone)

    def fit(self, session: Session, seed: int, progress: Progress) -> None:
        if self._backbone is None:
            raise ConfigError("the notes generator is fitted after it was pretrained: call pretrain first")
        model = adapter.attached(copy.deepcopy(self._backbone.model), self.settings)  # so that it may be fitted again
        self.occurrence.fit(session)
        with torch.random.fork_rng(devices=[]), one_thread():
            public = self._public()
            adapter.aim(model, self.settings, public)
            if session.private:
                fit.private(model, public, session, self.settings, progress)
            else:
                if self.settings.backbone == "small":
                    model.requires_grad_(True)
                fit.nonprivate(model, session.reveal(), self.settings, seed, progress)
        self._model = model

    def extend(self, record: Cohort, rng: np.random.Generator) -> Cohort:
        with one_thread():
            rows = self.occurrence.sample(record, rng)
            of_patient = {chart.patient_id: chart for chart in charts(record, self.dictionary)}
            days = rows["day"] if "day" in rows else [0] * len(rows)
            kinds = rows[list(self.catalogue.kinds)].astype(str).to_dict("records")
            wanted = [
                Page(of_patient[str(patient)], int(day), {str(k): str(v) for k, v in kind.items()})
                for patient, day, kind in zip(rows["patient_id"], days, kinds, strict=True)
            ]
            backbone = self._ready()
            model = self._model or backbone.model
            written = rewritten(
                lambda some: write(model, backbone.tokens, some, self.settings, rng),
                wanted,
                self.dictionary,
                self.settings.rewrites,
            )
        notes = rows.assign(**{self.text: written})[list(self.dictionary.tables["notes"].columns)]
        return replace(record, notes=notes[notes[self.text].str.strip() != ""].reset_index(drop=True))

    def log_likelihood(self, cohort: Cohort) -> torch.Tensor:
        """[patients] log likelihood of each patient's notes, mean over notes and tokens, in nats; 0 where there are none."""
        backbone = self._ready()
        rows = self._encoded(list(pages(cohort, self.catalogue)), [str(i) for i in cohort.ids])
        with torch.no_grad(), one_thread():
            parts = [loss(self._model or backbone.model, part) for part in fit.chunks(rows, 16)]
        return -torch.cat(parts).double()

    def save(self, folder: Path) -> None:
        backbone = self._ready()
        state = self.occurrence.state()
        if self._model is not None:
            state |= {f"adapter.{k}": v for k, v in adapter.trained(self._model).items()}
        if self.settings.backbone == "small":
            state |= {
                f"backbone.{k}": v
                for k, v in pretraining.weights(adapter.frozen(self._model or backbone.model)).items()
            }
        about = {
            "generator": "NoteLM",
            "dictionary": self.dictionary.fingerprint,
            "settings": self.settings.model_dump(mode="json"),
        }
        try:
            save_file({k: v.detach().clone().contiguous() for k, v in state.items()}, folder / "model.safetensors")
            if self.settings.backbone == "small":
                (folder / "tokenizer.json").write_text(tokens.written(backbone.tokens), encoding="utf-8")
            (folder / "model.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise WorkspaceError(f"{folder}: the model cannot be written ({type(error).__name__})") from None

    def load(self, folder: Path) -> None:
        path = folder / "model.json"
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            fits = (about["dictionary"], about["settings"]) == (
                self.dictionary.fingerprint,
                self.settings.model_dump(mode="json"),
            )
        except (OSError, ValueError, KeyError, TypeError):
            raise WorkspaceError(f"{path}: the model is missing or corrupt. Run the job again") from None
        if not fits:
            raise WorkspaceError(
                f"{path}: the model belongs to another dictionary or other settings. Run the job again"
            )
        try:
            self._restore(folder)
        except (OSError, SafetensorError, RuntimeError, KeyError, ValueError):
            raise WorkspaceError(f"{folder}: the model is missing or corrupt. Run the job again") from None

    def _restore(self, folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        self.occurrence.restore(state)
        if self.settings.backbone == "small":
            text = (folder / "tokenizer.json").read_text(encoding="utf-8")
            backbone = small(tokens.read(text, self.catalogue), self.settings, 0)
            pretraining.restore(backbone.model, _part("backbone.", state))
        else:
            backbone = self._backbone or pretrained(self.catalogue, self.settings.backbone)
        self._backbone, self._model = backbone, None
        if lora := _part("adapter.", state):
            self._model = adapter.attached(copy.deepcopy(backbone.model), self.settings)
            adapter.restore(self._model, lora)

    def _encoded(self, notes: list[tuple[Page, str]], ids: list[str]) -> dict[str, torch.Tensor]:
        return encode(notes, ids, self._ready().tokens, self.settings.max_notes, self.settings.max_tokens)

    def _public(self) -> Records:
        """Encoded notes of simulated patients, those that have any."""
        notes = pretraining.public_notes(self.catalogue, PUBLIC_PATIENTS, self._seed)
        ids = list(dict.fromkeys(page.chart.patient_id for page, _ in notes))
        return self._encoded(notes, ids)

    def _ready(self) -> Backbone:
        if self._backbone is None:
            raise WorkspaceError("the notes generator has no model yet: pretrain, fit or load it first")
        return self._backbone


def _part(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


if TYPE_CHECKING:
    from synthgen.generator import LinkedGenerator

    def _is_a_generator(dictionary: Dictionary) -> LinkedGenerator:
        return NoteLM(dictionary, {})
