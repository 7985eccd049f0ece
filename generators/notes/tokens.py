"""Text with slots <-> token numbers. The small backbone's vocabulary is made of public text; a pretrained one brings its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generators.notes.slots import NUMBER, Catalogue

PAD, BEGIN, WRITE, END = "{#pad}", "{#begin}", "{#write}", "{#end}"
"""Nothing; a prompt's start; a prompt's end, from where the note is written; a note's end."""


@dataclass(frozen=True)
class Tokens:
    """A tokenizer with the cohort's slots.

    Args:
        tokenizer: of the package `tokenizers`.
        catalogue: the slots.
        slots: whether every slot is one token; else it is spelt.
        pad, end: token numbers.
    """

    tokenizer: Any
    catalogue: Catalogue
    slots: bool
    pad: int
    end: int
    _bans: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def prompt(self, parts: Sequence[str]) -> list[int]:
        """Token numbers of a prompt."""
        if self.slots:
            return self._encode("".join([BEGIN, *parts, WRITE]))
        words = "; ".join(part.strip("{}").replace("=", " ").replace("#", "").strip() for part in parts)
        return self._encode(f"Record: {words}\nNote:\n")

    def note(self, text: str) -> list[int]:
        """Token numbers of a note and its end."""
        return [*self._encode(re.sub(r" (\{)", r"\1", text) if self.slots else text), self.end]

    def text(self, numbers: Iterable[int]) -> str:
        """What `note` was made of."""
        kept = [n for n in numbers if n not in (self.end, self.pad)]
        found: str = self.tokenizer.decode(kept, skip_special_tokens=False)
        if self.slots:
            found = re.sub(r"(?<=[^\s(\[])(\{)", r" \1", found)
        return found

    def allowed(self, known: set[str]) -> NDArray[np.bool_]:
        """[vocabulary] what may be written of a record that fills these slots: no digit, no slot it does not fill."""
        allowed = ~self._never()
        if self.slots:
            for slot in self.catalogue.written:
                allowed[self.tokenizer.token_to_id(slot)] = slot in known
        return allowed

    def owners(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """[vocabulary] twice: the column that a token names, and the one whose number it is, as counts from 0; -1 for none."""
        named, measured = np.full((2, len(self)), -1)
        if self.slots:
            numbers = {column: k for k, column in enumerate(self.catalogue.names)}
            for found, slots in ((named, self.catalogue.named), (measured, self.catalogue.measured)):
                for slot, column in slots.items():
                    if (token := self.tokenizer.token_to_id(slot)) is not None:
                        found[token] = numbers[column]
        return named, measured

    def _never(self) -> NDArray[np.bool_]:
        """[vocabulary] tokens with a digit, and what only prompts hold."""
        if "never" not in self._bans:
            decoded = [self.tokenizer.decode([n], skip_special_tokens=False) for n in range(len(self))]
            words = [any(c.isdigit() for c in word) and not word.startswith("{") for word in decoded]
            special = {NUMBER, PAD, BEGIN, WRITE, *self.catalogue.prompted} if self.slots else set()
            banned = np.array([w or d in special for w, d in zip(words, decoded, strict=True)])
            banned[self.pad] = self.pad != self.end
            self._bans["never"] = banned
        return self._bans["never"]

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)


def special(catalogue: Catalogue) -> list[str]:
    """The tokens that are no text, in a fixed order."""
    return [PAD, BEGIN, WRITE, END, *catalogue.written, *catalogue.prompted]


def learnt(catalogue: Catalogue, text: Iterable[str], size: int) -> Tokens:
    """Byte-pair encoding learnt from public text (Sennrich et al. 2016), with one token for each slot."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    slots = special(catalogue)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(slot, normalized=False, special=True) for slot in slots],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((re.sub(r"\s*\{[^{}]+\}", " ", t) for t in text), trainer)
    return _own(tokenizer, catalogue)


def read(text: str, catalogue: Catalogue) -> Tokens:
    """What `written` wrote."""
    from tokenizers import Tokenizer

    return _own(Tokenizer.from_str(text), catalogue)


def written(tokens: Tokens) -> str:
    """The tokenizer as JSON."""
    return json.dumps(json.loads(tokens.tokenizer.to_str()), sort_keys=True)


def borrowed(tokenizer: Any, catalogue: Catalogue, end: int) -> Tokens:
    """The tokenizer of a pretrained model, which spells slots out; `end` also pads."""
    return Tokens(tokenizer, catalogue, slots=False, pad=end, end=end)


def _own(tokenizer: Any, catalogue: Catalogue) -> Tokens:
    return Tokens(tokenizer, catalogue, True, tokenizer.token_to_id(PAD), tokenizer.token_to_id(END))
