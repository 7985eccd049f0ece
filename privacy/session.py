"""The one door to real patients. It holds their tensors, the plan's charges and the noise, and answers only noisy sums:

    answer = sum over a Poisson sample S of patients of clip(statistic(patient), C)  +  N(0, (sigma C)^2 I)

(Abadi et al. 2016, algorithm 1, where the statistic is a gradient). Whatever else a model must know of its patients has to be
such a statistic, or is public. Each answer is on disk (`journal`) before the caller sees it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from privacy.charges import Charge
from privacy.errors import ConfigError, PrivacyError, Unaccounted
from privacy.gradients import Backend, Loss, PatientGradients, Records, trainable, validate
from privacy.individual import Contributions
from privacy.journal import Journal, Query
from privacy.noise import Noise

NUMBERS = 2**26
"""How many numbers of per-patient vectors are held at a time: patients with long vectors are computed in smaller chunks."""
BLOCK = 2**17
"""How many of them are in double precision at a time: few enough to stay in a processor's cache."""
Statistic = Callable[[Records], Tensor]
"""Records with [patients, ...] tensors -> [patients, numbers]; row i from patient i alone (the coupling test)."""


class Session:
    """Noisy sums over patients, and nothing else.

    Args:
        records: [patients, ...] tensors, one row a patient.
        charges: what may be asked: calibrated charges of the plan. None at all makes a session that answers no sum.
        declared_patients: public size of this training set; the normaliser, never `len(records)`.
        noise: where noise and samples of patients come from.
        journal: the checkpoint; its answers are given again before new ones are drawn.
        chunk: how many patients are computed at a time at most, to bound memory; fewer where their vectors are long.
        contributions: where it notes, for the privacy officer, how much each patient added; it is only ever written to.

    A statistic that draws random numbers gets torch's generator seeded by the question alone, and must draw one number for
    all patients (shape [1, ...]): numbers drawn by position would change for everybody when one patient is added.
    """

    def __init__(
        self,
        records: Mapping[str, Tensor],
        charges: Sequence[Charge],
        declared_patients: int,
        noise: Noise | None = None,
        journal: Journal | None = None,
        chunk: int = 256,
        contributions: Contributions | None = None,
    ) -> None:
        if len({charge.name for charge in charges}) != len(charges):
            raise ConfigError("two charges of a session have one name, so one of them would be used as often as both")
        if len({len(v) for v in records.values()}) != 1:
            raise ConfigError("every tensor of a session needs one row for each patient")
        self._records = dict(records)
        self._charges = {charge.name: charge for charge in charges}
        self._noise = Noise() if noise is None else noise
        self._journal = Journal() if journal is None else journal
        self._asked: Counter[str] = Counter()
        self._checked: set[str] = set()
        self._chunk = chunk
        self._contributions = contributions
        self.declared_patients = declared_patients
        if self._noise.seeded:
            self._journal.mark("seeded")

    @property
    def private(self) -> bool:
        """Whether the plan has charges. Without any, a generator may only `reveal`."""
        return bool(self._charges)

    def charge(self, name: str) -> Charge:
        """The plan's charge of this name. Raises Unaccounted if there is none."""
        if name not in self._charges:
            raise Unaccounted(f"the plan has no charge {name}; it covers {', '.join(self._charges) or 'nothing'}")
        return self._charges[name]

    def expected(self, name: str) -> float:
        """The public normaliser of a charge's sums: sampling rate x declared patients."""
        return self.charge(name).sampling_rate * self.declared_patients

    def error(self, name: str, clip_norm: float) -> float:
        """Standard deviation of the noise on each number of a mean: sigma C / (q n). Public."""
        return self.charge(name).noise_multiplier * clip_norm / self.expected(name)

    def sum(self, statistic: Statistic, clip_norm: float, charge: str) -> Tensor:
        """[numbers] noisy sum of the clipped statistic over one Poisson sample of the patients, float64.

        A patient whose vector is not finite contributes zero, silently: a crash caused by one patient is an answer too.

        Raises:
            Unaccounted: when the charge is unknown or all its steps are used.
        """
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            length = statistic(self._blank()).flatten(1).shape[1]
        return self._answer(lambda rows: statistic(rows).detach().flatten(1), length, clip_norm, charge)

    def mean(self, statistic: Statistic, clip_norm: float, charge: str) -> Tensor:
        """The noisy sum divided by the public normaliser."""
        return self.sum(statistic, clip_norm, charge) / self.expected(charge)

    def gradient(
        self,
        model: nn.Module,
        loss: Loss,
        clip_norm: float,
        charge: str,
        scales: Tensor | None = None,
        backend: Backend = "opacus",
        chunk: int | None = None,
    ) -> None:
        """One DP-SGD step's gradient into `.grad` of every trainable parameter: noisy sum / (q n).

        Args:
            scales: [parameters] public sizes by which gradients are divided before the clip; `.grad` keeps these units.
            chunk: how many patients go through the model at a time at most, where its activations are large.

        Raises:
            PrivacyError: for a model whose per-patient gradients would mix patients or are unknown.
        """
        validate(model)
        parameters = [p for _, p in trainable(model)]
        statistic = PatientGradients(model, loss, backend, scales, min(chunk or self._chunk, self._chunk))
        length = sum(p.numel() for p in parameters)
        answer = self._answer(statistic, length, clip_norm, charge) / self.expected(charge)
        for parameter, part in zip(parameters, torch.split(answer, [p.numel() for p in parameters]), strict=True):
            parameter.grad = part.reshape(parameter.shape).to(parameter)

    def reveal(self) -> dict[str, Tensor]:
        """The patients themselves, for non-private baselines. Marks the run: it is never releasable."""
        self._journal.mark("revealed")
        return dict(self._records)

    def checkpoint(self, state: Mapping[str, Tensor]) -> None:
        """Saves, durably, what a long fit made of its answers so far: weights, averages, the optimiser. A killed fit goes on from
        the last state instead of the first answer, and answers behind it may be dropped (`journal`).

        The state must follow from the answers, public numbers and the fit's seed (without privacy: from what was revealed).
        While recorded answers are being given again it does nothing.
        """
        if sum(self._asked.values()) == len(self._journal):
            self._journal.keep({k: v.detach().cpu().numpy() for k, v in state.items()}, self._asked)

    def restored(self) -> dict[str, Tensor] | None:
        """The last saved state, or None: a fit that saves states asks for it before anything else, and goes on from there. The
        charges stand as they stood then.

        Raises:
            PrivacyError: after the first question.
        """
        if self._asked:
            raise PrivacyError("a saved state is restored before the first question of a fit, not after it")
        if (saved := self._journal.saved) is None:
            return None
        self._asked = Counter(saved.asked)
        return {k: torch.from_numpy(v.copy()) for k, v in saved.arrays.items()}

    def rehearse(self, without: Sequence[int] = (), added: Mapping[str, Tensor] | None = None) -> Session:
        """A session like this one, for audits, with some patients (by row) fewer and some, such as canaries, more: same charges
        and declared size, its own noise, answers in memory only. Nothing pays for what it answers: it marks the run."""
        self._journal.mark("rehearsed")
        kept = torch.ones(len(next(iter(self._records.values()))), dtype=torch.bool)
        kept[list(without)] = False
        records = {k: v[kept.to(v.device)] for k, v in self._records.items()}
        if added is not None:
            records = {k: torch.cat([v, added[k].to(v)]) for k, v in records.items()}
        charges = tuple(self._charges.values())
        return Session(records, charges, self.declared_patients, Noise(), Journal(), self._chunk)

    def _blank(self) -> dict[str, Tensor]:
        """One row of zeros in the shape of a patient: what a statistic's length is measured on."""
        return {k: torch.zeros((1, *v.shape[1:]), dtype=v.dtype, device=v.device) for k, v in self._records.items()}

    def _answer(self, statistic: Statistic, length: int, clip_norm: float, name: str) -> Tensor:
        charge = self.charge(name)
        if not (np.isfinite(clip_norm) and clip_norm > 0):
            raise ConfigError(f"charge {name}: clip_norm needs to be finite and > 0")
        if self._asked[name] >= charge.steps:
            raise Unaccounted(f"charge {name} covers {charge.steps} steps and all are used")
        query = Query(name, self._asked[name], clip_norm, charge.noise_multiplier, charge.sampling_rate, length)
        answer = self._journal.recall(sum(self._asked.values()), query)
        self._asked[name] += 1
        if answer is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(sum(self._asked.values()))
                answer = self._draw(statistic, length, clip_norm, charge)
            answer = self._journal.record(query, answer)
        return torch.from_numpy(answer)

    def _blocks(self, statistic: Statistic, rows: Records, charge: str, seed: int) -> list[Tensor]:
        """A chunk's vectors, in blocks of numbers. Every chunk draws the same: no patient's draws depend on the others."""
        torch.manual_seed(seed)
        if not isinstance(statistic, PatientGradients):
            return [statistic(rows)]
        if charge not in self._checked and len(next(iter(rows.values()))) > 1:
            statistic.check(rows)
            self._checked.add(charge)
            torch.manual_seed(seed)
        return statistic.blocks(rows)

    def _draw(self, statistic: Statistic, length: int, clip_norm: float, charge: Charge) -> np.ndarray:
        """A fresh sample of patients and fresh noise; an empty sample draws noise all the same."""
        patients = len(next(iter(self._records.values())))
        chosen = torch.from_numpy(self._noise.poisson_sample(patients, charge.sampling_rate))
        total = torch.zeros(length, dtype=torch.float64)
        seed = torch.initial_seed()
        used = np.zeros(patients)
        size = max(1, min(self._chunk, NUMBERS // max(1, length)))
        if isinstance(statistic, PatientGradients):
            size = min(size, statistic.chunk)
        for part in torch.split(chosen, size) if len(chosen) else ():
            rows = {k: v[part.to(v.device)] for k, v in self._records.items()}
            blocks = self._blocks(statistic, rows, charge.name, seed)
            if {len(block) for block in blocks} != {len(part)} or sum(block.shape[1] for block in blocks) != length:
                raise PrivacyError(
                    f"charge {charge.name}: its statistic needs one row of {length} numbers for each patient"
                )
            clipped, norms = clipped_sum(blocks, clip_norm)
            total += clipped
            used[part.numpy()] = (norms / clip_norm).square().numpy()
        if self._contributions is not None and charge.sampling_rate >= 1:
            self._contributions.add(charge.name, used)
        noise = self._noise.gaussians(length)
        return total.numpy() + charge.noise_multiplier * clip_norm * noise


def clipped_sum(blocks: Sequence[Tensor], clip_norm: float) -> tuple[Tensor, Tensor]:
    """The patients' vectors in [patients, numbers] blocks of any precision -> [all numbers] sum of the clipped vectors and
    [patients] their norms after the clip, both in double precision on the processor."""
    parts = [part for block in blocks for part in torch.split(block, max(1, BLOCK // max(1, len(block))), dim=1)]
    norms = [torch.linalg.vector_norm(part.double(), dim=1) for part in parts]
    lengths = torch.stack(norms, dim=1)  # [patients, parts]
    share = clip_factors(lengths, clip_norm)
    kept = share > 0
    rows = slice(None) if kept.all() else kept
    sums = [share[rows] @ part[rows].double() for part in parts]
    clipped = torch.where(kept, torch.linalg.vector_norm(lengths, dim=1) * share, 0.0)
    return torch.cat(sums).cpu(), clipped.cpu()


def clip(vectors: Tensor, clip_norm: float) -> Tensor:
    """[patients, numbers] -> the same, each row scaled to norm at most `clip_norm`, rows that are not finite to zero."""
    share = clip_factors(vectors, clip_norm).unsqueeze(1)
    return torch.where(share > 0, vectors * share, torch.zeros_like(vectors))


def clip_factors(vectors: Tensor, clip_norm: float) -> Tensor:
    """[patients] by what each row is multiplied, so that its norm is at most `clip_norm`; 0 where it is not finite."""
    norms = torch.linalg.vector_norm(vectors, dim=1)
    return torch.where(norms.isfinite(), (clip_norm / norms.clamp(min=1e-300)).clamp(max=1.0), 0.0)
