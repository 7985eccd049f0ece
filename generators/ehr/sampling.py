"""Synthetic patients in chunks, so that memory beyond the tables themselves does not grow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from generators.ehr import conditions
from generators.ehr.encoding import Records
from generators.ehr.fitted import Fitted
from generators.ehr.process import Chance
from generators.ehr.tables import tables
from synthgen.cohort import Cohort, concatenate
from synthgen.errors import ConfigError

CHUNK = 4096
PROPOSALS = 200_000
"""Latent vectors tried without one that meets the conditions before it gives up."""


def sample(fitted: Fitted, patients: int, rng: np.random.Generator, where: Mapping[str, str] | None = None) -> Cohort:
    """Synthetic patients SYN-000001...; raises ConfigError as `conditions.check` does, or when nobody meets `where`."""
    if patients < 1:
        raise ConfigError("sample needs at least one patient")
    where = dict(where or {})
    conditions.check(where, fitted.model.layout)
    chance = Chance.seeded(int(rng.integers(2**62)))
    parts = []
    for start in range(0, patients, CHUNK):
        count = min(CHUNK, patients - start)
        ids = np.array([f"SYN-{i:06d}" for i in range(start + 1, start + count + 1)], dtype=object)
        z, static = _chosen(fitted, count, where, chance)
        made = fitted.patients(z, static, chance)
        parts.append(Cohort(**tables(made, fitted.calibration, fitted.model.layout, ids), origin="synthetic"))
    return concatenate(parts)


def _chosen(fitted: Fitted, patients: int, where: Mapping[str, str], chance: Chance) -> tuple[Tensor, Records]:
    """Latent vectors and static columns of patients who meet the conditions, by rejection."""
    if not where:
        return fitted.latents(patients, chance)
    kept: list[tuple[Tensor, Records]] = []
    found, tried = 0, 0
    while found < patients:
        z, static = fitted.latents(CHUNK, chance)
        fine = conditions.met(static, where, fitted.calibration, fitted.model.layout)
        kept.append((z[fine], {k: v[fine] for k, v in static.items()}))
        found, tried = found + int(fine.sum()), tried + CHUNK
        if tried >= PROPOSALS and found * 5000 < tried:
            raise ConfigError(
                f"where: fewer than one in 5000 synthetic patients meet {', '.join(where)}; widen the conditions"
            )
    z = torch.cat([z for z, _ in kept])[:patients]
    return z, {k: torch.cat([static[k] for _, static in kept])[:patients] for k in kept[0][1]}
