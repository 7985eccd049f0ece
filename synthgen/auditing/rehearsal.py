"""A generator of a run, trained again on other patients, for audits: what it then says of everybody, and what it makes.

Rehearsals (`Session.rehearse`) have the plan's charges, sizes and noise; what they learn is compared and forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from synthgen.auditing.parallel import in_parallel

if TYPE_CHECKING:
    from pathlib import Path

    from privacy.attacks.transcript import Overheard
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rehearsal:
    """One generator of a run, fitted again on other patients. Can be sent to another process: it holds paths and cohorts."""

    folder: Path
    name: str
    pool: Cohort
    """Everybody who may be trained on."""

    def likelihoods(self, trained_on: NDArray[np.bool_], seed: int) -> Floats:
        """[pool] log-likelihood of everybody in the pool under a model of some of them."""
        return np.asarray(self._fitted(trained_on, seed).log_likelihood(self.pool), dtype=np.float64)

    def observed(self, trained_on: NDArray[np.bool_], seed: int, patients: int) -> tuple[Floats | None, Floats | None]:
        """([pool] the same; None for a generator that does not say, [pool, neighbours] how near everybody lies to a cohort of so
        many patients drawn from that model; None for a generator that only extends records)."""
        model = self._fitted(trained_on, seed)
        likely = np.asarray(model.log_likelihood(self.pool), dtype=np.float64) if says_how_likely(self.name) else None
        if not hasattr(model, "sample"):
            return likely, None
        return likely, self.nearness(model.sample(patients, np.random.default_rng(seed)))

    def nearness(self, made: Cohort) -> Floats:
        """[pool, neighbours] how near everybody's record lies to those of these synthetic patients; what other generators add to
        a record is left aside."""
        from privacy.attacks.shadow import nearness
        from synthgen.dictionary import LINKED
        from synthgen.summaries import standardised, summaries

        lacking: dict[str, Any] = dict.fromkeys(LINKED)
        tables = summaries([replace(self.pool, **lacking), replace(made, **lacking)], self.dictionary)
        return nearness(*standardised(tables, tables[:1]))

    def _fitted(self, trained_on: NDArray[np.bool_], seed: int) -> Any:
        from privacy.session import Session

        model, session_of = self.opened()
        everybody = Session(model.encode(self.pool), *session_of)
        with torch.random.fork_rng(devices=[]):
            model.fit(everybody.rehearse(without=np.flatnonzero(~trained_on).tolist()), seed, lambda *_: None)
        return model

    def overheard(self, coins: NDArray[np.bool_], seed: int) -> tuple[Floats, Overheard | None]:
        """([pool] as `likelihoods` of a model of everybody whose coin, one for each of the last of the pool, says so; what the
        answers it was made of say of the coins). Without privacy there are no answers."""
        from privacy.attacks.transcript import Transcript
        from privacy.session import Session

        model, (charges, declared) = self.opened()
        records = model.encode(self.pool)
        missing = (len(self.pool) - len(coins) + np.flatnonzero(~coins)).tolist()
        private = Transcript(records, charges, declared, coins) if charges else None
        with torch.random.fork_rng(devices=[]):
            learnt = private or Session(records, charges, declared).rehearse(without=missing)
            model.fit(learnt, seed, lambda *_: None)
        likely = np.asarray(model.log_likelihood(self.pool), dtype=np.float64)
        return likely, private.overheard if private else None

    def of_the_run(self) -> Floats:
        """[pool] the same under the run's own model."""
        model, _ = self.opened()
        model.load(self.folder / "models" / self.name)
        return np.asarray(model.log_likelihood(self.pool), dtype=np.float64)

    @property
    def dictionary(self) -> Dictionary:
        from synthgen.workspace import Run

        return Run(self.folder).dictionary

    def opened(self) -> tuple[Any, tuple[Any, int]]:
        """The pretrained generator, and what its session needs besides records."""
        from synthgen.plugins import generator_class
        from synthgen.randomness import child_seed
        from synthgen.workspace import Run

        run = Run(self.folder)
        model = generator_class(self.name)(run.dictionary, run.job.generators[self.name])
        model.pretrain(child_seed(run.job.seed, "train"), run.workspace.cache, lambda *_: None)
        return model, (run.plan.charges_of(model.modality), run.plan.declared_training)


def says_how_likely(name: str) -> bool:
    """Whether the generator of this name has the optional method that attacks on the model itself ask."""
    from synthgen.plugins import generator_class

    return hasattr(generator_class(name), "log_likelihood")


def fits(rehearsal: Rehearsal, included: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """[models, pool] `likelihoods` under a model of each row of `included` ([models, pool])."""
    seeds: Sequence[int] = rng.integers(2**31, size=len(included)).tolist()
    calls = [(rehearsal.likelihoods, row, seed) for row, seed in zip(included, seeds, strict=True)]
    return np.stack(in_parallel(calls))
