"""Synthetic patients in chunks, so that memory beyond the tables themselves does not grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generators.ehr import conditions
from generators.ehr.encoding import Records
from generators.ehr.fitted import Fitted
from generators.ehr.process import Chance
from generators.ehr.rules import breakers
from generators.ehr.tables import tables
from synthgen.cohort import Cohort, concatenate
from synthgen.errors import ConfigError

CHUNK = 4096
REDRAWS = 40
PROPOSALS = 200_000
"""Latent vectors tried without one that meets the conditions before it gives up."""


def sample(fitted: Fitted, patients: int, rng: np.random.Generator, where: Mapping[str, str] | None = None) -> Cohort:
    """Synthetic patients SYN-000001...; raises ConfigError as `conditions.check` does, or when nobody meets `where`."""
    if patients < 1:
        raise ConfigError("sample needs at least one patient")
    where = dict(where or {})
    conditions.check(where, fitted.model.layout)
    chance = Chance.seeded(int(rng.integers(2**62)))
    ids = np.array([f"SYN-{i:06d}" for i in range(1, patients + 1)], dtype=object)
    return concatenate(_chunk(fitted, part, where, chance) for part in np.array_split(ids, -(-patients // CHUNK)))


def _chunk(fitted: Fitted, ids: NDArray[Any], where: Mapping[str, str], chance: Chance) -> Cohort:
    """Patients with these ids; those who break a hard rule are drawn again."""
    kept: list[Cohort] = []
    layout, wanted = fitted.model.layout, ids
    for _ in range(REDRAWS):
        made = fitted.patients(*_chosen(fitted, len(wanted), where, chance), chance)
        drawn = tables(made, fitted.calibration, layout, wanted)
        broken = breakers(drawn, layout.dictionary)
        cohort = Cohort(**drawn, origin="synthetic")
        if not broken and not kept:
            return cohort
        kept.append(cohort.of(set(wanted) - broken))
        wanted = np.array(sorted(broken), dtype=object)
        if not broken:
            return _in_order(concatenate(kept))
    raise ConfigError("the dictionary's hard rules refuse nearly every synthetic patient; are they right?")


def _in_order(cohort: Cohort) -> Cohort:
    """Sorted by id; the rows of one patient keep their order."""
    ordered = {n: t.sort_values("patient_id", kind="stable", ignore_index=True) for n, t in cohort.tables.items()}
    return Cohort(**ordered, origin=cohort.origin)


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
