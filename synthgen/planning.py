"""The plan: what a job will do to its patients, what that costs and what it promises, before any patient is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privacy.budget import Budget
from privacy.charges import Charge
from privacy.errors import ConfigError
from synthgen.config import Job
from synthgen.dictionary import Dictionary
from synthgen.linking import Linked

LEDGER_KEY = "ledger.key"
"""The file by which a workspace is known."""
HOPELESS = 0.5
"""A mean whose noise is more than half the largest contribution of any patient says nothing of these patients."""
FAINT = 0.2
"""Above this, the plan warns."""


@dataclass(frozen=True)
class PlannedQuery:
    """One charge of the plan. `noise_on_mean` is the standard deviation of the noise on each number of the released mean,
    as a share of the clip norm (the largest contribution of any patient): sigma / (q n)."""

    modality: str
    charge: Charge
    noise_on_mean: float


@dataclass(frozen=True)
class Plan:
    """All charges of a job. `epsilon` is their composition at `budget.delta`; None without privacy."""

    declared_patients: int
    declared_training: int
    budget: Budget | None
    queries: tuple[PlannedQuery, ...]
    epsilon: float | None
    tpr_at_1_percent_fpr: float | None
    """Largest possible true-positive rate of any attacker at 1% false positives, from the trade-off curve."""
    warnings: tuple[str, ...] = ()

    @property
    def charges(self) -> tuple[Charge, ...]:
        return tuple(q.charge for q in self.queries)

    def charges_of(self, modality: str) -> tuple[Charge, ...]:
        """The charges of one generator."""
        return tuple(q.charge for q in self.queries if q.modality == modality)

    def as_dict(self) -> dict[str, Any]:
        """For plan.json and `--json`."""
        from dataclasses import asdict

        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Plan:
        """What `as_dict` gave."""
        queries = tuple(
            PlannedQuery(q["modality"], Charge(**q["charge"]), q["noise_on_mean"]) for q in stored["queries"]
        )
        budget = Budget(**stored["budget"]) if stored["budget"] else None
        return cls(**stored | {"queries": queries, "budget": budget, "warnings": tuple(stored["warnings"])})


def plan(job: Job, dictionary: Dictionary) -> Plan:
    """The plan of a job, from its dictionary and declared size alone.

    Raises:
        ConfigError: for an unreviewed dictionary, an unknown generator or setting, or when it cannot work at this n and
            epsilon; all reasons at once.
    """
    from synthgen.plugins import checks

    if dictionary.unreviewed:
        raise ConfigError(
            f"{job.cohort}: {len(dictionary.unreviewed)} columns are unreviewed (read from the data): "
            f"{', '.join(dictionary.unreviewed[:8])}{' ...' if len(dictionary.unreviewed) > 8 else ''}. A bound or category "
            "read from patients tells about them: replace each by a public one and delete its `unreviewed` mark"
        )
    for check in checks():
        if hasattr(check, "validate"):
            check.validate(dictionary)
    budget = job.budget(dictionary)
    n = job.declared_training(dictionary)
    if budget is None:
        Linked.of(job, dictionary)
        return Plan(dictionary.declared_patients, n, None, (), None, None, ("no privacy: never releasable",))
    return _private_plan(job, dictionary, budget, n)


def _private_plan(job: Job, dictionary: Dictionary, budget: Budget, n: int) -> Plan:
    from privacy.accounting import calibrate, epsilon
    from privacy.tradeoff import tpr_at

    wanted: list[tuple[str, Charge]] = []
    _refuse_patients_as_public(job)
    linked = Linked.of(job, dictionary)
    share = _shares(job, linked)
    for name, generator in linked.all.items():
        if not generator.private:
            raise ConfigError(f"generators.{name}: reveals its patients; set privacy.epsilon: null (never releasable)")
        wanted += [(generator.modality, charge) for charge in _of_size(share[name], generator.charges(n))]
    charges = calibrate([charge for _, charge in wanted], budget)
    queries = tuple(
        PlannedQuery(modality, charge, charge.noise_multiplier / (charge.sampling_rate * n) / charge.steps**0.5)
        for (modality, _), charge in zip(wanted, charges, strict=True)
    )
    warnings = _refuse_the_hopeless(queries, budget, n)
    for generator in linked.all.values():
        if hasattr(generator, "foretell"):  # optional: what its patients will add to what is public
            warnings += tuple(generator.foretell(n, [q.charge for q in queries if q.modality == generator.modality]))
    spent = epsilon(charges, budget.delta)
    return Plan(dictionary.declared_patients, n, budget, queries, spent, tpr_at(charges, 0.01), warnings)


def _refuse_patients_as_public(job: Job) -> None:
    """Folders that settings name as public or pretrained are not paid for: those of this cohort, and of any run, are refused."""
    cohort = [place.resolve() for place in (job.folder, job.cohort.parent) if place.exists()]
    for name, settings in job.generators.items():
        for key, value in settings.items():
            place = Path(value).resolve() if isinstance(value, str) else None
            if place is None or not place.exists():
                continue
            where = f"generators.{name}.{key}"
            if any(place == own or place in own.parents or own in place.parents for own in cohort):
                raise ConfigError(
                    f"{where}: lies with the cohort's own patients, who would be learnt from without being charged"
                )
            if any((parent / LEDGER_KEY).exists() for parent in (place, *place.parents)):
                raise ConfigError(
                    f"{where}: lies in a workspace. What a run learnt is not public: name weights or a cohort that were made "
                    "without patients of this hospital"
                )


def _shares(job: Job, linked: Linked) -> dict[str, float]:
    """Generator -> its share of the squared mu."""
    names = list(linked.all)
    if len(names) == 1:
        return {names[0]: 1.0}
    if job.privacy.share is None:
        return {name: 0.5 if name == linked.record[0] else 0.5 / len(linked.others) for name in names}
    if set(job.privacy.share) != set(names):
        raise ConfigError(f"privacy.share: needs one number for each of the job's generators: {', '.join(names)}")
    total = sum(job.privacy.share.values())
    return {name: share / total for name, share in job.privacy.share.items()}


def _of_size(share: float, charges: Sequence[Charge]) -> list[Charge]:
    """Charges scaled so that their squared mu (sum of q^2 steps / sigma^2, exact at full batch) is `share`; what is left to
    calibrate is one common factor."""
    size = sum(c.sampling_rate**2 * c.steps / c.noise_multiplier**2 for c in charges)
    return [c.scaled((size / share) ** 0.5) for c in charges]


def _refuse_the_hopeless(queries: tuple[PlannedQuery, ...], budget: Budget, n: int) -> tuple[str, ...]:
    best = min(q.noise_on_mean for q in queries)
    if best > HOPELESS:
        raise ConfigError(
            f"privacy.epsilon: {budget.epsilon:g} at {n} training patients leaves noise of {best:.0%} of the largest "
            "contribution any patient can make, on the best-measured quantity: the output would be the public prior alone. "
            "Ask for fewer quantities, a larger epsilon, or pool hospitals"
        )
    return tuple(
        f"{q.charge.name}: noise on its mean is {q.noise_on_mean:.0%} of the largest contribution any patient can make; "
        "expect little beyond the public prior"
        for q in queries
        if q.noise_on_mean > FAINT
    )


def explain(plan: Plan) -> str:
    """The plan in words and a table, for a terminal."""
    if plan.budget is None:
        return "NO PRIVACY: this job reveals its patients to the generator. Nothing it makes can ever be released."
    width = max(len(q.charge.name) for q in plan.queries)
    rows = [
        f"  {q.charge.name:<{width}}  {q.charge.steps:>5}  {q.charge.sampling_rate:>6.3g}  {q.charge.noise_multiplier:>8.3f}"
        f"  {q.noise_on_mean:>8.1%}"
        for q in plan.queries
    ]
    assert plan.tpr_at_1_percent_fpr is not None
    return "\n".join(
        [
            f"declared patients {plan.declared_patients}, of them {plan.declared_training} for training (both are published)",
            f"  {'charge':<{width}}  steps    rate     noise  on mean",
            *rows,
            f"together epsilon {plan.epsilon:.4f} at delta {plan.budget.delta:g} (target {plan.budget.epsilon:g}), "
            "for adding or removing one patient",
            f"an attacker who may accuse 1 innocent in 100 finds at most {100 * plan.tpr_at_1_percent_fpr:.1f} in 100 patients",
            *(f"warning: {w}" for w in plan.warnings),
        ]
    )
