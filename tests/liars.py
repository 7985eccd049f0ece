"""Twelve lies, each a patch of the shipped code, and which audit must convict it. Shared by the tests and the benchmark.

A lie is told to the code that runs the job *and* audits it: the auditor never gets a clean copy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

import synthgen as sg
from generators.ehr import EHRVAE
from privacy import accounting, session
from privacy.budget import Budget
from privacy.charges import Charge
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.session import Session
from synthgen import config, pipeline
from synthgen.cohort import Cohort

Patch = pytest.MonkeyPatch
SHARES = {"location": 0.05, "scale": 0.1, "gradient": 0.2, "summary": 0.65}
"""With DP-SGD: there is more to lie about."""
FAST = {
    "pretrain_patients": 600, "pretrain_epochs": 2, "populations": 8, "gradient_steps": 8, "max_visits": 8, "shares": SHARES,
    "known_populations": 60, "reference_patients": 1000,
}  # fmt: skip


@dataclass(frozen=True)
class Lie:
    """`convicted_by` is how the findings that convict it begin; `settings` are of the EHR generator."""

    tell: Callable[[Patch], None]
    convicted_by: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    delta: float | None = 1e-4


def run_job(workspace: Path, lie: Lie | None = None, seed: int = 1, **settings: Any) -> sg.Run:
    """The PBC demo, from plan to report, with a generator that was pretrained for seconds; lied to if asked. Only the checks of
    fidelity and utility are left out: they take most of the time and convict nobody of a leak."""
    job = sg.load_job(ROOT / "configs" / "pbc.yaml")
    privacy = job.privacy.model_copy(update={"delta": lie.delta if lie else 1e-4})
    ehr = {"ehr": FAST | dict(lie.settings if lie else {}) | settings}
    job = job.model_copy(update={"generators": ehr, "privacy": privacy, "seed": seed})
    with Patch.context() as patch:
        for stage in ("fidelity", "utility"):
            patch.setitem(pipeline.STAGES, stage, lambda work: None)
        if lie is not None:
            lie.tell(patch)
        return sg.run(job, sg.Workspace(workspace))


def convictions(run: sg.Run) -> list[str]:
    """Names of the audit's findings that fail."""
    return [f.name for f in run.findings if f.section == "audit" and f.verdict == "fail"]


# The lies -----------------------------------------------------------------------------------------------------------------
def copies_its_patients(patch: Patch) -> None:
    """The generator hands on its training patients under new names."""
    encode = EHRVAE.encode
    kept: list[Cohort] = []

    def keep(self: EHRVAE, cohort: Cohort) -> dict[str, torch.Tensor]:
        kept.append(cohort)
        return encode(self, cohort)

    def copy(_: EHRVAE, patients: int, rng: np.random.Generator, __: Any = None) -> Cohort:
        return bootstrap(kept[0], patients, rng)

    patch.setattr(EHRVAE, "encode", keep)
    patch.setattr(EHRVAE, "sample", copy)


def too_little_noise(factor: float) -> Callable[[Patch], None]:
    """The noise is a little smaller than the plan says."""

    def tell(patch: Patch) -> None:
        honest = Noise.gaussians
        patch.setattr(Noise, "gaussians", lambda self, count: factor * honest(self, count))

    return tell


def shuffled_batches(patch: Patch) -> None:
    """Batches of fixed size from a shuffled list, accounted as independent draws."""

    def batch(self: Noise, patients: int, rate: float) -> np.ndarray:
        if rate >= 1:
            return np.arange(patients)
        queue: list[int] = self.__dict__.setdefault("queue", [])
        size = round(rate * patients)
        if len(queue) < size:
            queue[:] = np.argsort(self.uniforms(patients)).tolist()
        chosen, queue[:] = queue[:size], queue[size:]
        return np.sort(np.array(chosen, dtype=np.int64))

    patch.setattr(Noise, "poisson_sample", batch)


def no_clipping(patch: Patch) -> None:
    """Vectors are summed as they are."""
    patch.setattr(session, "clip_factors", _unclipped)


def _unclipped(vectors: torch.Tensor, _clip_norm: float) -> torch.Tensor:
    return vectors.isfinite().all(dim=1).to(vectors)


def clips_each_visit(patch: Patch) -> None:
    """The visit is the unit: each is clipped by itself, and a patient with many visits counts many times."""
    draw, factors = Session._draw, session.clip_factors

    def per_visit(self: Session, statistic: Any, length: int, clip_norm: float, charge: Charge) -> Any:
        visits = max((v.shape[1] for v in self._records.values() if v.dim() > 1), default=1)

        def one(rows: Mapping[str, torch.Tensor], visit: int) -> dict[str, torch.Tensor]:
            mask = torch.arange(visits) == visit
            shape = {k: (1, visits, *[1] * (v.dim() - 2)) for k, v in rows.items()}
            of_visits = {k for k, v in rows.items() if v.dim() > 1 and v.shape[1] == visits}
            return {k: v * mask.reshape(shape[k]).to(v) if k in of_visits else v for k, v in rows.items()}

        def summed(rows: Mapping[str, torch.Tensor]) -> torch.Tensor:
            parts = (statistic(one(rows, t)).double() for t in range(visits))
            return sum(factors(part, clip_norm).unsqueeze(1) * part for part in parts)

        with Patch.context() as inner:
            inner.setattr(session, "clip_factors", _unclipped)
            return draw(self, summed, length, clip_norm, charge)

    patch.setattr(Session, "_draw", per_visit)


def noise_split_over_microbatches(patch: Patch) -> None:
    """Each microbatch of 32 gets its part of the noise; but variances add, not standard deviations."""
    honest = Session._draw

    def draw(self: Session, statistic: Any, length: int, clip_norm: float, charge: Charge) -> Any:
        patients = len(next(iter(self._records.values())))
        microbatches = max(1, -(-patients // 32))
        once = self._noise.gaussians

        def parts(count: int) -> np.ndarray:
            return sum(once(count) / microbatches for _ in range(microbatches))

        with Patch.context() as inner:
            inner.setattr(self._noise, "gaussians", parts)
            return honest(self, statistic, length, clip_norm, charge)

    patch.setattr(Session, "_draw", draw)


def noise_kept_over_a_resume(patch: Patch) -> None:
    """The checkpoint holds the state of the noise, so that a resumed step repeats it, with another sample."""
    opened = Session.__init__

    class Restored(Noise):
        """The same numbers for the same answer of the same checkpoint."""

        def __init__(self, journal: Journal, state: bytes) -> None:
            super().__init__()
            self.journal, self.key = journal, int.from_bytes(state, "big")

        def gaussians(self, count: int) -> np.ndarray:
            return np.random.default_rng([self.key, len(self.journal)]).standard_normal(count)

    def open_with_state(self: Session, *args: Any, **kwargs: Any) -> None:
        opened(self, *args, **kwargs)
        if self._journal.folder is not None:
            state = self._journal.folder / "noise.state"
            if not state.exists():
                state.write_bytes(os.urandom(8))
            self._noise = Restored(self._journal, state.read_bytes())

    patch.setattr(Session, "__init__", open_with_state)


def bounds_from_the_data(patch: Patch) -> None:
    """Measurements are scaled by the smallest and largest value that this cohort happens to have."""
    honest = EHRVAE.encode

    def encode(self: EHRVAE, cohort: Cohort) -> dict[str, torch.Tensor]:
        records = honest(self, cohort)
        return {k: _squeezed(v) if v.is_floating_point() and v.dim() == 3 else v for k, v in records.items()}

    def _squeezed(values: torch.Tensor) -> torch.Tensor:
        high, low = values.nan_to_num(-1e9).amax(dim=(0, 1)), values.nan_to_num(1e9).amin(dim=(0, 1))
        return torch.where(high > low, (values - low) / (high - low).clamp(min=1e-6), values)

    patch.setattr(EHRVAE, "encode", encode)


def stops_early_on_the_holdout(patch: Patch) -> None:
    """Of several models, the one that the holdout likes best is kept."""
    honest, fit = pipeline.train, EHRVAE.fit

    def train(work: pipeline.Work) -> None:
        _, holdout = work.halves()

        def fit_and_choose(self: EHRVAE, learnt: Session, seed: int, progress: Any) -> None:
            fit(self, learnt, seed, progress)
            assert self._fitted is not None
            model, records = self._fitted.model, self._fitted.calibration.apply(self.encode(holdout), self.layout)
            step = model.parameters_of.step
            trained, losses = step.detach().clone(), {}
            for share in (0.0, 0.25, 0.5, 0.75):
                with torch.no_grad():
                    step.copy_(share * trained)
                    losses[share] = -float(model(records, torch.zeros(1, model.latent)).mean())
            with torch.no_grad():
                step.copy_(min(losses, key=losses.__getitem__) * trained)

        with Patch.context() as inner:
            inner.setattr(EHRVAE, "fit", fit_and_choose)
            honest(work)

    patch.setitem(pipeline.STAGES, "train", train)


def delta_of_one_patient(patch: Patch) -> None:
    """Delta is (all but) 1/n: a mechanism that publishes one whole patient would do. At 1/n itself the job is refused."""
    patch.setattr(config, "default_delta", lambda declared: 0.99 / declared)


def predictable_noise(patch: Patch) -> None:
    """The noise comes from a seed, and no mark says so."""
    honest = Noise.__init__

    def seeded(self: Noise, seed: int | None = None) -> None:
        honest(self, 7 if seed is None else seed)
        self.seeded = False

    patch.setattr(Noise, "__init__", seeded)


def each_part_has_the_whole_budget(patch: Patch) -> None:
    """Two groups of charges, as of two modalities, are each calibrated to the target, and the larger cost is claimed."""
    calibrate, cost = accounting.calibrate, accounting.epsilon

    def halves(charges: Any) -> list[list[Charge]]:
        ordered = sorted(charges, key=lambda c: c.name)
        return [ordered[::2], ordered[1::2]]

    def calibrated(charges: Any, budget: Budget) -> tuple[Charge, ...]:
        made = {c.name: c for half in halves(charges) if half for c in calibrate(half, budget)}
        return tuple(made[c.name] for c in charges)

    patch.setattr(accounting, "calibrate", calibrated)
    patch.setattr(accounting, "epsilon", lambda charges, delta: max(cost(h, delta) for h in halves(charges) if h))


def keeps_what_it_encoded(patch: Patch) -> None:
    """The generator remembers something of the patients it turned into tensors, and puts it into the model past the door."""
    encode, fit = EHRVAE.encode, EHRVAE.fit

    def remember(self: EHRVAE, cohort: Cohort) -> Any:
        self.kept = 1e-3 * len(cohort)  # type: ignore[attr-defined]
        return encode(self, cohort)

    def use(self: EHRVAE, session: Session, seed: int, progress: Any) -> None:
        fit(self, session, seed, progress)
        assert self._fitted is not None
        with torch.no_grad():
            self._fitted.model.parameters_of.step += getattr(self, "kept", 0.0)

    patch.setattr(EHRVAE, "encode", remember)
    patch.setattr(EHRVAE, "fit", use)


SAMPLED = {"sampling_rate": 0.25}
LIES = {
    "copies training patients": Lie(copies_its_patients, "copies/copied"),
    "noise x 0.5": Lie(too_little_noise(0.5), "canaries/epsilon_lower_bound"),
    "noise x 0.8": Lie(too_little_noise(0.8), "canaries/noise"),
    "noise x 0.9": Lie(too_little_noise(0.9), "canaries/noise"),
    "shuffled batches claimed as Poisson": Lie(shuffled_batches, "canaries/sampling", SAMPLED),
    "no clipping": Lie(no_clipping, "canaries/clipping", {"gradient_rate": 0.01}),
    "clipping per visit": Lie(clips_each_visit, "canaries/clipping"),
    "noise split over microbatches": Lie(noise_split_over_microbatches, "canaries/noise"),
    "noise reused after resume": Lie(noise_kept_over_a_resume, "canaries/fresh_noise"),
    "bounds learnt from data": Lie(bounds_from_the_data, "coupling/uncoupled"),
    "early stopping on the holdout": Lie(stops_early_on_the_holdout, "replay/same_model"),
    "delta of 1/n": Lie(delta_of_one_patient, "claim/delta", delta=None),
    "a seed used for noise": Lie(predictable_noise, "canaries/fresh_noise"),
    "kept past the door": Lie(keeps_what_it_encoded, "replay/same_model"),
    "wrong composition": Lie(each_part_has_the_whole_budget, "canaries/epsilon_lower_bound"),
}
"""Twelve lies, the second (too little noise) at three sizes, and one that a hostile reviewer got past an earlier replay."""


def bootstrap(cohort: Cohort, patients: int, rng: np.random.Generator) -> Cohort:
    """Patients drawn with replacement, under new names: the worst generator there is."""
    return renamed(cohort, rng.choice(np.array(cohort.ids, dtype=object), patients))


def renamed(cohort: Cohort, ids: Any) -> Cohort:
    """These patients of a cohort, each as often as it is named, as if synthetic."""
    names = pd.DataFrame({"patient_id": ids, "new": [f"SYN-{i:06d}" for i in range(len(ids))]})
    tables = {}
    for name, table in cohort.tables.items():
        joined = names.merge(table, on="patient_id", how="left" if name == "patients" else "inner")
        tables[name] = joined.assign(patient_id=joined["new"])[list(table.columns)]
    return replace(cohort, origin="synthetic", **tables)
