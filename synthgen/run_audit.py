"""What a run shows of itself: is the one door as the plan says, and did the model come through it?

Four tests that do not look at the synthetic patients. *Canaries* are sent through the session's own code. *Replay*: from the
recorded noisy sums alone, without any patient, the fit must make the same model. *Coupling*: when half the patients leave, no
other patient's record or statistic may change. *Delta* must lie well below one patient in the cohort.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privacy.charges import Charge
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.session import Session, Statistic
from synthgen.findings import Finding, Verdict

if TYPE_CHECKING:
    from privacy.attacks.canaries import CanaryAudit
    from synthgen.audit import Depth
    from synthgen.cohort import Cohort
    from synthgen.generator import Generator
    from synthgen.planning import Plan
    from synthgen.workspace import Run

Progress = Callable[[str, int, int], None]

CANARIES = {"quick": 2048, "standard": 4096, "deep": 16384}
WITNESSES = 128
"""Patients, at most, whose rows of a statistic are compared: all at once, gradients of a large model would fill the memory."""
SAME = 1e-4
"""Relative difference that rounding in another order of sums may make."""


def audit_run(
    run: Run, train: Cohort, holdout: Cohort, depth: Depth = "quick", progress: Progress = lambda *_: None
) -> list[Finding]:
    """The four tests of a run with privacy (one without claims nothing), individual losses, and from depth `standard` what
    training again shows (`white_box`)."""
    from synthgen.randomness import generator
    from synthgen.white_box import audit_by_training

    findings: list[Finding] = []
    if run.plan.budget is not None:
        findings += [*canaries(run.plan, depth, progress), delta(run.plan)]
        for done, name in enumerate(run.job.generators):
            progress(f"replay of {name}", done, len(run.job.generators))
            findings += replay(run, name, train, progress)
        findings += individual(run)
    return findings + audit_by_training(run, train, holdout, depth, generator(run.job.seed, "audit"), progress)


# Canaries -----------------------------------------------------------------------------------------------------------------
def canaries(plan: Plan, depth: Depth = "quick", progress: Progress = lambda *_: None) -> list[Finding]:
    """The plan's charges on canaries, and what they prove of epsilon."""
    from privacy.attacks.canaries import audit_canaries

    assert plan.budget is not None
    assert plan.epsilon is not None
    found = audit_canaries(
        plan.charges, plan.budget.delta, plan.epsilon, CANARIES[depth], progress=lambda d, n: progress("canaries", d, n)
    )
    return [_bound(found, plan.epsilon, plan.budget.delta), *_door(found)]


def _bound(found: CanaryAudit, claim: float, at_delta: float) -> Finding:
    convicted = "epsilon" in found.convicted
    outcome = (
        "That is more than is claimed: suspect less noise than planned, a missing or per-visit clip, or charges that were not "
        "added up."
        if convicted
        else "The claim stands."
    )
    text = (
        f"{found.canaries} canaries sent through the run's own code prove with 99.9% confidence that epsilon is at least "
        f"{found.epsilon_low:.2f} (at delta {at_delta:g}); {claim:.2f} is claimed, and so many canaries could prove at most "
        f"{found.ceiling:.1f}. {outcome}"
    )
    verdict: Verdict = "fail" if convicted else "pass"
    return Finding(
        "canaries", "epsilon_lower_bound", found.epsilon_low, verdict, text, "audit", n=found.canaries, ceiling=found.ceiling,
        bound=claim, better="lower",
    )  # fmt: skip


def _door(found: CanaryAudit) -> list[Finding]:
    """One finding each on noise, clip and sampling (of the charge that is furthest off), and on fresh noise."""
    worst_noise = min(found.charges, key=lambda c: c.noise.high)
    worst_clip = max(found.charges, key=lambda c: c.contribution.low)
    rows = [
        ("noise", worst_noise.noise, f"The noise of {worst_noise.charge}, as a share of the planned noise, is"),
        (
            "clipping",
            worst_clip.contribution,
            f"The most that one patient adds to {worst_clip.charge}, in clip norms, is",
        ),
    ]
    if drawn := [c for c in found.charges if c.sampling is not None]:
        off = max(drawn, key=lambda c: abs(np.log(c.sampling.value)) if c.sampling else 0.0)
        assert off.sampling is not None
        words = f"The number of patients that {off.charge} samples varies, as a share of what independent draws would do, by"
        rows.append(("sampling", off.sampling, words))
    findings = []
    for metric, rate, words in rows:
        verdict: Verdict = "fail" if any(c.startswith(metric) for c in found.convicted) else "pass"
        text = f"{words} {rate.value:.3f} (99.998% interval {rate.low:.3f} to {rate.high:.3f}; it should be 1)."
        findings.append(
            Finding(
                "canaries", metric, rate.value, verdict, text, "audit", rate.low, rate.high, rate.n, better="target"
            )
        )
    stale = [c for c in found.convicted if c.startswith("fresh")]
    text = (
        "The same noise was drawn twice: whoever holds both answers can subtract it. Suspect a seed, or noise kept over a resume."
        if stale
        else "Every answer had noise of its own, also after a crash and a resume."
    )
    return [*findings, Finding("canaries", "fresh_noise", float(not stale), "fail" if stale else "pass", text, "audit")]


def delta(plan: Plan) -> Finding:
    """Delta is the chance that the guarantee says nothing: at 1/n, publishing one whole patient would be allowed."""
    from privacy.budget import Budget

    assert isinstance(plan.budget, Budget)
    n, value = plan.declared_patients, plan.budget.delta
    verdict: Verdict = "pass" if value <= 1 / (10 * n) else "inconclusive" if value <= 1 / (2 * n) else "fail"
    text = f"Delta is {value:g} for {n} declared patients; a tenth of one patient is {1 / (10 * n):.2g}. " + (
        "It lies below." if verdict == "pass" else "Near 1/n, publishing one patient's whole record would be private."
    )
    return Finding("claim", "delta", value, verdict, text, "audit", bound=1 / (10 * n), better="lower")


# Individual losses --------------------------------------------------------------------------------------------------------
def individual(run: Run) -> list[Finding]:
    """What each patient gave at most, from what they contributed: individual.json, for the privacy officer only, in the order of
    the training patients. Their ids are worked out again when needed, not stored."""
    from privacy.individual import individual_epsilons

    plan = run.plan
    shares: dict[str, NDArray[np.float64]] = {}
    assert plan.budget is not None
    for name in run.job.generators:
        stored = run.read_json(f"contributions-{name}.json")
        shares |= {charge: np.array(values) for charge, values in stored.items()}
    losses = individual_epsilons(plan.charges, shares, plan.budget.delta)
    run.write_json("individual.json", {"epsilon": np.round(losses, 4).tolist()})
    middle, most = float(np.median(losses)), float(losses.max())
    text = (
        f"By what they contributed, half of the training patients gave less than epsilon {middle:.2f}, and nobody more than "
        f"{most:.2f}. These numbers depend on the patients: they are no claim, and stay with the privacy officer "
        "(individual.json)."
    )
    return [
        Finding("individual", "median_epsilon", middle, "information", text, "audit", n=len(losses), bound=plan.epsilon)
    ]


# Replay and coupling ------------------------------------------------------------------------------------------------------
def replay(run: Run, name: str, train: Cohort, progress: Progress = lambda *_: None) -> list[Finding]:
    """Fits a generator again from its recorded answers, first one that never met a patient, on one blank row: is it the same
    model? Then with the patients, to compare every statistic on the way with the same after half of them have left."""
    from synthgen.plugins import generator_class
    from synthgen.randomness import child_seed

    def made() -> Generator:
        fresh = generator_class(name)(run.dictionary, run.job.generators[name])
        fresh.pretrain(seed, run.workspace.cache, progress)
        return fresh

    def fitted(model: Generator, records: dict[str, Tensor]) -> tuple[Witness, int, list[str], int]:
        with tempfile.TemporaryDirectory() as folder:
            answers, saved = Path(folder, "answers"), Path(folder, "model")
            shutil.copytree(run.folder / "answers" / name, answers)
            saved.mkdir()
            journal = Journal(answers, from_start=True)
            recorded, dropped = len(journal), journal.dropped
            witness = Witness(records, run.plan.charges_of(model.modality), run.plan.declared_training, journal)
            model.fit(witness, seed, progress)
            model.save(saved)
            return witness, len(journal) - recorded, _differing(run.folder / "models" / name, saved), dropped

    seed = child_seed(run.job.seed, "train")
    model = made()
    records = model.encode(train)
    blank = {k: torch.zeros((1, *v.shape[1:]), dtype=v.dtype) for k, v in records.items()}
    _, asked, differing, dropped = fitted(made(), blank)
    findings = [_replayed(name, asked, differing, dropped)]
    if findings[0].verdict != "fail":
        witness, *_ = fitted(model, records)
        findings.append(_coupled(name, _changed_rows(model, train, records), witness.coupled))
    return findings


class Witness(Session):
    """A session that notes every charge in whose statistic a patient's row depends on who else is there."""

    def __init__(
        self, records: Mapping[str, Tensor], charges: Sequence[Charge], declared_patients: int, journal: Journal
    ) -> None:
        super().__init__(records, charges, declared_patients, Noise(), journal)
        self.seen: set[str] = set()
        self.coupled: list[str] = []

    def _answer(self, statistic: Statistic, length: int, clip_norm: float, name: str) -> Tensor:
        if name not in self.seen and len(next(iter(self._records.values()))) > 1:
            self.seen.add(name)
            if not _uncoupled(statistic, self._records):
                self.coupled.append(name)
        return super()._answer(statistic, length, clip_norm, name)


def _uncoupled(statistic: Statistic, records: Mapping[str, Tensor]) -> bool:
    """Whether the rows of half the patients stay as they were when the other half has left."""

    def rows(kept: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return statistic({k: v[kept] for k, v in records.items()}).detach().flatten(1).double()

    everybody = torch.arange(min(WITNESSES, len(next(iter(records.values())))))
    whole = rows(everybody)
    near = SAME * float(whole.abs().mean())
    return all(
        torch.allclose(rows(half), whole[half], rtol=SAME, atol=near, equal_nan=True) for half in _halves(everybody)
    )


def _changed_rows(model: Generator, train: Cohort, records: Mapping[str, Tensor]) -> bool:
    """Whether the encoding of half the patients changes when the other half has left."""
    ids = list(train.ids)
    for half in _halves(torch.arange(len(ids))):
        fewer = model.encode(train.of(ids[i] for i in half))
        if any(
            fewer[k].shape[1:] != v.shape[1:] or not torch.allclose(fewer[k], v[half], rtol=SAME, equal_nan=True)
            for k, v in records.items()
        ):
            return True
    return False


def _halves(everybody: Tensor) -> tuple[Tensor, Tensor]:
    return everybody[::2], everybody[1::2]


def _differing(run: Path, again: Path) -> list[str]:
    """Model files that are not the same numbers."""
    names = {str(p.relative_to(f)) for f in (run, again) for p in f.rglob("*") if p.is_file()}
    return sorted(n for n in names if not _same(run / n, again / n))


def _same(one: Path, other: Path) -> bool:
    if not (one.exists() and other.exists()):
        return False
    if one.read_bytes() == other.read_bytes():
        return True
    if one.suffix == ".safetensors":
        from safetensors.torch import load_file

        return _alike(load_file(one), load_file(other))
    return one.suffix == ".json" and bool(json.loads(one.read_text()) == json.loads(other.read_text()))


def _alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        a.shape == other[k].shape
        and torch.allclose(a.double(), other[k].double(), rtol=SAME, atol=SAME, equal_nan=True)
        for k, a in one.items()
    )


def _replayed(name: str, asked: int, differing: list[str], dropped: int = 0) -> Finding:
    """`dropped` answers lie behind a saved state (`privacy.journal`) and cannot be replayed: what came of them stays untested."""
    good = not asked and not differing
    verdict: Verdict = "fail" if not good else "inconclusive" if dropped else "pass"
    since = f", since the state that was saved after the first {dropped}" if dropped else ""
    text = (
        f"Given only the recorded noisy sums{since}, {name} learns the very model that was sampled."
        if good
        else f"Given only the recorded noisy sums, {name} "
        + (
            f"asks {asked} questions that were never answered. "
            if asked
            else f"makes another model ({', '.join(differing)}). "
        )
        + "Something that no charge paid for went into it: suspect early stopping or a choice made on real patients."
    )
    return Finding("replay", "same_model", float(good), verdict, text, "audit", column=name)


def _coupled(name: str, changed: bool, charges: list[str]) -> Finding:
    good = not changed and not charges
    where = "their encoding" if changed else f"what they add to {', '.join(charges)}"
    text = (
        f"When half the patients leave, no other patient's row changes, neither encoded nor in any sum that {name} asks for."
        if good
        else f"When half the patients leave, the others' rows change: {where}. The clip then bounds nobody. Suspect a "
        "vocabulary, bound, bin or scale that was learnt from the data."
    )
    return Finding("coupling", "uncoupled", float(good), "pass" if good else "fail", text, "audit", column=name)
