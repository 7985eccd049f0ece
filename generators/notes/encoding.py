"""Notes and records -> tensors: all notes of a patient are one row, packed one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generators.notes.delexicalisation import delexicalised
from generators.notes.slots import Catalogue
from generators.notes.tokens import Tokens
from synthgen.cohort import Cohort
from synthgen.notes.facts import Chart, Fact, charts
from synthgen.notes.rendering import course_of

Records = Mapping[str, Tensor]


@dataclass(frozen=True)
class Page:
    """One note to be read or written: what the record says on its day, and what kind of note it is."""

    chart: Chart
    day: int
    kinds: dict[str, str]

    @property
    def facts(self) -> list[Fact]:
        return self.chart.at(self.day)

    def prompt(self, catalogue: Catalogue) -> list[str]:
        return catalogue.prompt(self.facts, self.kinds, course_of(self.chart, self.day))


def pages(cohort: Cohort, catalogue: Catalogue) -> Iterator[tuple[Page, str]]:
    """(page, text) of every note, in the cohort's order. Notes without text are none."""
    dictionary, notes = catalogue.dictionary, cohort.notes
    if notes is None:
        return
    (text,) = [name for name, c in dictionary.tables["notes"].columns.items() if c.type == "text"][:1]
    rows: dict[str, list[dict[Any, Any]]] = {}
    for record in notes.to_dict("records"):
        rows.setdefault(str(record["patient_id"]), []).append(record)
    for chart in charts(cohort, dictionary):
        for row in rows.get(chart.patient_id, []):
            if isinstance(row[text], str) and str(row[text]).strip():
                kinds = {k: str(row[k]) for k in catalogue.kinds if isinstance(row[k], str)}
                day = row.get("day", 0)
                yield Page(chart, day if isinstance(day, int) else 0, kinds), str(row[text])


def sequence(page: Page, text: str, tokens: Tokens, longest: int) -> tuple[list[int], int]:
    """(token numbers of prompt and note, how many of them are the prompt), cut to `longest`."""
    prompt = tokens.prompt(page.prompt(tokens.catalogue))
    note = tokens.note(delexicalised(tokens.catalogue, text, page.facts, page.day))
    prompt = prompt[: longest // 2]
    return (prompt + note)[:longest], len(prompt)


def encode(
    notes: Iterable[tuple[Page, str]], ids: Iterable[str], tokens: Tokens, most: int, longest: int
) -> dict[str, Tensor]:
    """[patients, most * longest] tensors of the patients `ids`, row i from patient i alone:

    tokens: prompt and note, one note after the other; note: its number from 1, 0 where there is nothing; place: position in its
    note; weight: of each token's loss (a patient's notes count alike, so do a note's tokens; prompts count nothing; sum 1, or 0
    for a patient without notes).
    """
    found: dict[str, list[tuple[list[int], int]]] = {str(i): [] for i in ids}
    for page, text in notes:
        found[page.chart.patient_id].append(sequence(page, text, tokens, longest))
    rows = [_row(_spread(own, most), tokens.pad, most * longest) for own in found.values()]
    return {
        name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in ("tokens", "note", "place", "weight")
    }


def _spread(notes: Sequence[tuple[list[int], int]], most: int) -> list[tuple[list[int], int]]:
    """The first, the last and others between, `most` of them."""
    kept = (
        np.unique(np.linspace(0, len(notes) - 1, most).round().astype(int)) if len(notes) > most else range(len(notes))
    )
    return [notes[k] for k in kept]


def _row(notes: Sequence[tuple[list[int], int]], pad: int, length: int) -> dict[str, NDArray[Any]]:
    row: dict[str, NDArray[Any]] = {
        "tokens": np.full(length, pad, dtype=np.int64),
        "note": np.zeros(length, dtype=np.int64),
        "place": np.zeros(length, dtype=np.int64),
        "weight": np.zeros(length, dtype=np.float32),
    }
    at = 0
    for number, (numbers, prompt) in enumerate(notes, 1):
        part = slice(at, at + len(numbers))
        row["tokens"][part], row["note"][part], row["place"][part] = numbers, number, np.arange(len(numbers))
        row["weight"][at + prompt : part.stop] = 1 / (len(notes) * max(1, len(numbers) - prompt))
        at = part.stop
    return row


def loss(model: nn.Module, rows: Records) -> Tensor:
    """[patients] mean negative log likelihood of a patient's notes' tokens, in nats; 0 for a patient without any."""
    used = max(2, int((rows["note"] > 0).sum(dim=1).max()))
    tokens, note, place, weight = (rows[name][:, :used] for name in ("tokens", "note", "place", "weight"))
    logits = model(input_ids=tokens, position_ids=place, attention_mask=apart(note), use_cache=False).logits
    nll = nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    total: Tensor = (nll * weight[:, 1:]).sum(dim=1)  # [patients]
    return total


def apart(note: Tensor) -> Tensor:
    """[patients, 1, tokens, tokens] additive mask: a token looks back, within its own note."""
    length = note.shape[1]
    same = note[:, :, None] == note[:, None, :]
    back = torch.ones(length, length, dtype=torch.bool).tril()
    return torch.zeros(same.shape).masked_fill(~(same & back), torch.finfo(torch.float32).min)[:, None]
