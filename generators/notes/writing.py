"""Writing notes: token by token, a batch at a time, with the keys and values of what is already written kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generators.notes.backbone import quiet
from generators.notes.delexicalisation import lexicalised
from generators.notes.encoding import Page
from generators.notes.settings import Settings
from generators.notes.tokens import Tokens

BATCH = 32


def write(model: Any, tokens: Tokens, pages: Sequence[Page], settings: Settings, rng: np.random.Generator) -> list[str]:
    """One note a page: every number, unit and name in it is the record's.

    Args:
        rng: draws one stream a page, so that a page's note does not depend on what else is written.
    """
    seeds = rng.integers(2**63, size=len(pages))
    notes: list[str] = [""] * len(pages)
    prompts = [tokens.prompt(page.prompt(tokens.catalogue))[: settings.max_tokens // 2] for page in pages]
    order = sorted(range(len(pages)), key=lambda k: len(prompts[k]))  # prompts of like length need little padding
    for start in range(0, len(pages), BATCH):
        rows = order[start : start + BATCH]
        allowed = np.stack([tokens.allowed(tokens.catalogue.known(pages[k].facts)) for k in rows])
        uniforms = np.stack([np.random.default_rng(seeds[k]).random(settings.max_tokens) for k in rows])
        with torch.no_grad(), quiet():
            made = _continue(model, tokens, [prompts[k] for k in rows], torch.from_numpy(allowed), uniforms, settings)
        for k, numbers in zip(rows, made, strict=True):
            text = tokens.text(numbers) if tokens.end in numbers else _whole_sentences(tokens.text(numbers))
            notes[k] = lexicalised(tokens.catalogue, text, pages[k].facts, pages[k].day)
    return notes


def _continue(
    model: Any,
    tokens: Tokens,
    prompts: list[list[int]],
    allowed: Tensor,
    uniforms: NDArray[np.float64],
    settings: Settings,
) -> list[list[int]]:
    """Token numbers after each prompt, up to its end token or `max_tokens`."""
    numbers, seen = _left_padded(prompts, tokens.pad)
    place = (seen.cumsum(dim=1) - 1).clamp(min=0)
    out = model(input_ids=numbers, attention_mask=seen, position_ids=place, use_cache=True)
    place = place[:, -1:]
    unused = out.logits.shape[-1] - allowed.shape[1]  # rows of a pretrained output layer that are no token
    allowed = torch.nn.functional.pad(allowed, (0, unused), value=False)
    named, measured = (torch.nn.functional.pad(torch.from_numpy(o), (0, unused), value=-1) for o in tokens.owners())
    about = torch.full((len(prompts), 1), -1)  # the column that was named last
    drawn: list[Tensor] = []
    going = torch.ones(len(prompts), dtype=torch.bool)
    for step in range(settings.max_tokens - min(map(len, prompts))):
        fitting = allowed & ((measured == -1) | (measured == about))  # a number stands behind its own name
        chosen = _draw(out.logits[:, -1].masked_fill(~fitting, -torch.inf), uniforms[:, step], settings)
        chosen = torch.where(going, chosen, tokens.end)
        about = torch.where(named[chosen] >= 0, named[chosen], about[:, 0])[:, None]
        drawn.append(chosen)
        going = going & (chosen != tokens.end)
        if not going.any():
            break
        seen = torch.cat([seen, torch.ones(len(seen), 1, dtype=seen.dtype)], dim=1)
        place = place + 1
        out = model(
            input_ids=chosen[:, None],
            attention_mask=seen,
            position_ids=place,
            past_key_values=out.past_key_values,
            use_cache=True,
        )
    return [_until_end(row, tokens.end) for row in torch.stack(drawn, dim=1).tolist()]


def _left_padded(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """(token numbers, 1 where there is one), both [pages, tokens]: prompts end side by side."""
    length = max(map(len, prompts))
    numbers = torch.tensor([[pad] * (length - len(p)) + p for p in prompts])
    seen = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts])
    return numbers, seen


def _draw(logits: Tensor, uniform: NDArray[np.float64], settings: Settings) -> Tensor:
    """[pages] tokens by nucleus sampling (Holtzman et al. 2020): the inverse of the distribution function at `uniform`."""
    chances, order = torch.softmax(logits / settings.temperature, dim=-1).double().sort(dim=-1, descending=True)
    total = chances.cumsum(dim=-1)
    chances = chances.masked_fill(total - chances >= settings.top_p, 0.0)
    total = chances.cumsum(dim=-1)
    at = torch.searchsorted(total, torch.from_numpy(uniform)[:, None] * total[:, -1:], right=True)
    return order.gather(1, at.clamp(max=logits.shape[1] - 1))[:, 0]


def _until_end(row: list[int], end: int) -> list[int]:
    return row[: row.index(end) + 1] if end in row else row


def _whole_sentences(text: str) -> str:
    """A note that reached its longest length, without the sentence that was cut."""
    return text[: max(text.rfind(". "), text.rfind(".\n"), text.rfind(".") if text.endswith(".") else -1) + 1]
