"""A one-run attack on everything that a model learns from patients: the noisy sums themselves.

The claim covers whoever sees every answer, so the attacker does. They know the real patients and what each canary would add,
and ask of each canary whether it was added. With v_j the clipped vectors of the canaries, b_j their coins and S an answer less
what the real patients add, S = sum of b_j v_j + noise: linear regression with a prior of 1/2 on each coin, over all answers of
a fit (the log-likelihood ratio of the Gaussian mechanism, Dong et al. 2022, for many canaries at once). Where patients are
sampled, what sampling adds to the noise is left out: then the attack is weaker than it might be, and no less valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privacy.charges import Charge
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.session import Session, Statistic, clip

Floats = NDArray[np.float64]
HELD = 2**24
"""Numbers of the canaries' vectors that are held at a time; of longer ones every second, third, ... number is read."""
ROWS = 2**24
"""Numbers of a statistic that are computed at a time."""
PRIOR = 4.0
"""One over the variance of a fair coin."""


@dataclass(frozen=True)
class Overheard:
    """What answers say of m coins; that of several fits adds up."""

    information: Floats
    """[m, m] inner products of the canaries' vectors, in units of the noise."""
    evidence: Floats
    """[m] inner products with what was heard beyond half of every canary."""

    def __add__(self, other: Overheard) -> Overheard:
        return Overheard(self.information + other.information, self.evidence + other.evidence)

    def scores(self) -> Floats:
        """[m] higher meaning `took part`: how far each coin is expected from one half."""
        certain = self.information + PRIOR * np.eye(len(self.evidence))
        return np.asarray(np.linalg.solve(certain, self.evidence), dtype=np.float64)


class Transcript(Session):
    """A rehearsal with canaries that listens to its own answers.

    Args:
        records: [patients, ...] the real patients and, after them, all canaries.
        coins: [canaries] who of them takes part.
    """

    def __init__(
        self, records: Mapping[str, Tensor], charges: Sequence[Charge], declared_patients: int, coins: NDArray[np.bool_]
    ) -> None:
        real = len(next(iter(records.values()))) - len(coins)
        part = torch.cat([torch.ones(real, dtype=torch.bool), torch.from_numpy(coins)])
        super().__init__({k: v[part] for k, v in records.items()}, charges, declared_patients, Noise(), Journal())
        self._real = {k: v[:real] for k, v in records.items()}
        self._canaries = {k: v[real:] for k, v in records.items()}
        m = len(coins)
        self.overheard = Overheard(np.zeros((m, m)), np.zeros(m))

    def _answer(self, statistic: Statistic, length: int, clip_norm: float, name: str) -> Tensor:
        answer = super()._answer(statistic, length, clip_norm, name)
        charge, m = self.charge(name), len(self.overheard.evidence)
        every = -(-m * length // HELD)

        def rows(records: Mapping[str, Tensor]) -> Tensor:
            return self._rows(statistic, records, length, clip_norm)[:, ::every]

        with torch.random.fork_rng(devices=[]):
            vectors = charge.sampling_rate * torch.cat(list(map(rows, self._parts(self._canaries, length))))
            known = charge.sampling_rate * sum(rows(part).sum(dim=0) for part in self._parts(self._real, length))
        rest = answer[::every] - known - vectors.sum(dim=0) / 2
        variance = (charge.noise_multiplier * clip_norm) ** 2
        self.overheard += Overheard((vectors @ vectors.T / variance).numpy(), (vectors @ rest / variance).numpy())
        return answer

    def _rows(self, statistic: Statistic, records: Mapping[str, Tensor], length: int, clip_norm: float) -> Tensor:
        """[patients, length] as the session sums them; whatever is drawn is drawn as it drew it."""
        torch.manual_seed(sum(self._asked.values()))
        return clip(statistic(records).detach().double(), clip_norm).cpu().reshape(-1, length)

    def _parts(self, records: Mapping[str, Tensor], length: int) -> list[dict[str, Tensor]]:
        size = max(1, min(self._chunk, ROWS // max(1, length)))
        patients = len(next(iter(records.values())))
        return [{k: v[i : i + size] for k, v in records.items()} for i in range(0, patients, size)]
