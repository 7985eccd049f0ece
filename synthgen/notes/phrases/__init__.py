"""Phrase banks: what clinical notes are rendered from. One YAML file a bank; `common.yaml` lists the words two may share."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from synthgen.errors import ConfigError

Name = Literal["public", "derived", "pilot"]
"""`public` is for pretraining, `derived` for notes that stand in for a real cohort's, `pilot` for tuning on simulated ones."""
FOLDER = Path(__file__).parent


@cache
def bank(name: str) -> dict[str, Any]:
    """The phrases of a bank, as its file nests them. Raises ConfigError for one that there is not."""
    if name not in get_args(Name):
        raise ConfigError(f"there is no phrase bank {name}; there are {', '.join(get_args(Name))}")
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def common_words() -> frozenset[str]:
    """The words that any two banks may share."""
    return frozenset(yaml.safe_load((FOLDER / "common.yaml").read_text(encoding="utf-8"))["words"])


def phrases(name: str) -> list[str]:
    """Every phrase of a bank, with its {placeholders}."""

    def flat(part: Any) -> list[str]:
        if isinstance(part, str):
            return [part]
        return [p for inner in (part.values() if isinstance(part, dict) else part) for p in flat(inner)]

    return [p for key, part in bank(name).items() if key != "orders" for p in flat(part)]
