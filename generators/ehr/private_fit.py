"""The private fit: three noisy sums over the patients, each read with what public knowledge expects of it.

1. Location and scale of every number, twice: the cohort's units.
2. Frequencies, rates and second moments in one sum, put where simulated populations differ most. What it says of the latent
   codes and of the model's own numbers follows by linear Bayes estimation (`inference`): the latent distribution to sample
   from (as P3GM, Takagi et al. 2021, but nothing is spent on it), a Newton step of the numbers, the frequencies that the
   model is matched to, and the moments that loadings and numbers at visits are brought to.

Clip norms, questions and priors come from simulated patients; so everything but the answers is public.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from generators.ehr import loadings, marginals, moments, static_transport, transport
from generators.ehr.adaptation import LatentMoments, first_moments, recalibrated
from generators.ehr.calibration import Calibration
from generators.ehr.charges import LOCATION, SCALE, SUMMARY
from generators.ehr.encoding import Records
from generators.ehr.fitted import Fitted
from generators.ehr.inference import Knowledge, Posterior, ask, knowledge
from generators.ehr.layout import Layout
from generators.ehr.loadings import Goal
from generators.ehr.model import RecordVAE
from generators.ehr.moments import Centre
from generators.ehr.pretraining import Simulated, calibrated, cropped
from generators.ehr.process import Chance
from generators.ehr.scores import scores, whitened
from generators.ehr.settings import Settings
from generators.ehr.steps import descend
from privacy.session import Session
from synthgen.generator import Progress
from synthgen.randomness import child_seed


def fit(
    model: RecordVAE, public: Simulated, session: Session, settings: Settings, seed: int, progress: Progress
) -> Fitted:
    """Asks all of the plan's charges. Deterministic given `seed` and the answers."""
    calibration, left = _locate(public, model, session, progress)
    stepped = settings.shares.gradient > 0
    if stepped:
        descend(model, calibration, public, session, settings, progress)
    progress("what simulated populations say", 0, 1)
    summary = Summary(model, public, _uncertain(public, left, model.layout, seed))
    known = summary.knowledge(session.error(SUMMARY, 1.0))
    progress("frequencies and moments", 0, 1)
    belief = ask(session, lambda rows: summary(calibration.apply(dict(rows), model.layout)), known, SUMMARY)
    progress("frequencies and moments", 1, 1)
    return summary.applied(belief, calibration, settings, seed, stepped)


def prior(model: RecordVAE, public: Simulated, settings: Settings, seed: int) -> Fitted:
    """What is believed before any patient was asked."""
    summary = Summary(model, public, public.records)
    return summary.applied(summary.expected(), public.public, settings, seed)


class Summary:
    """The statistic behind the second sum, what follows from it, and how the model takes both."""

    def __init__(self, model: RecordVAE, public: Simulated, simulated: Records) -> None:
        self.model, self.layout, self.population = model, model.layout, public.population
        self.simulated = cropped(simulated)
        self.centre = Centre.of(moments.split(self.simulated, self.layout))
        self.codes = LatentMoments(model, self.simulated)
        self.basis, self.scores = whitened(scores(model, self.simulated))
        self.reach = model.parameters_of.reach()

    def __call__(self, records: Records) -> Tensor:
        """[patients, asked] from records in the model's units."""
        parts = [marginals.statistic(records, self.layout).double()]
        parts.append(moments.moments(moments.split(records, self.layout), self.centre))
        if self.layout.static_numeric:
            parts.append(static_transport.moments(static_transport.parts(records, self.layout)))
        return torch.cat(parts, dim=1)

    def knowledge(self, noise: float) -> Knowledge:
        follows = torch.cat([self.codes(self.simulated).double(), self.scores], dim=1)
        return knowledge(self(self.simulated), self.population, noise, follows)

    def expected(self) -> Posterior:
        """What simulated populations are like on average."""
        follows = torch.cat([self.codes(self.simulated).double(), self.scores], dim=1)
        asked = self(self.simulated).mean(dim=0)
        return Posterior(asked, torch.zeros(len(asked), len(asked)), follows.mean(dim=0))

    def applied(
        self, belief: Posterior, calibration: Calibration, settings: Settings, seed: int, stepped: bool = False
    ) -> Fitted:
        """The model moved to what is believed of the cohort."""
        codes, scores = belief.inferred.split([belief.inferred.numel() - self.basis.shape[1], self.basis.shape[1]])
        with torch.no_grad():
            if not stepped:
                step = (self.basis @ scores.float()).clamp(-self.reach, self.reach)
                self.model.parameters_of.values.sub_(step)
        fitted = Fitted(self.model, calibration, self.codes.prior(codes))
        shares, together, _ = self._lengths()
        wanted, mean, static = belief.asked.split(self._lengths())
        own = slice(shares, shares + together)
        goal = Goal(self.centre, mean, belief.covariance[own, own])
        return moved(fitted, wanted, goal, static, settings.reference_patients, seed)

    def _lengths(self) -> list[int]:
        """How many numbers are asked of frequencies, of moments at visits and of static moments."""
        shares = sum(v.shape[1] for v in marginals.frequencies(self.simulated, self.layout).values())
        static = 0
        if self.layout.static_numeric:
            static = static_transport.moments(static_transport.parts(self.simulated, self.layout)).shape[1]
        return [shares, self(self.simulated).shape[1] - shares - static, static]


def moved(fitted: Fitted, shares: Tensor, goal: Goal, static: Tensor, patients: int, seed: int) -> Fitted:
    """Brought to what is wanted: frequencies, static numbers, loadings, and deviations at visits.

    Args:
        shares: of `marginals.statistic`; static: of `static_transport.moments`.
        patients: how many stand for the model's own moments and frequencies.
    """
    layout = fitted.model.layout
    fitted = marginals.match(fitted, shares, patients, child_seed(seed, "ehr", "match"))
    if layout.static_numeric:
        chance = Chance.seeded(child_seed(seed, "ehr", "static"))
        own = static_transport.parts(fitted.latents(patients, chance)[1], layout)
        fitted = replace(fitted, static=static_transport.fit(own, static))
    fitted = loadings.match(fitted, goal, patients, child_seed(seed, "ehr", "loadings"))
    fitted = marginals.match(fitted, shares, patients, child_seed(seed, "ehr", "match"))
    if not layout.numeric:
        return fitted
    chance = Chance.seeded(child_seed(seed, "ehr", "reference"))
    made = fitted.patients(*fitted.latents(patients, chance), chance)
    return replace(fitted, transport=transport.fit(moments.split(made, layout), goal.centre, goal.mean))


def _locate(
    public: Simulated, model: RecordVAE, session: Session, progress: Progress
) -> tuple[Calibration, Tensor | None]:
    """The cohort's units, and how uncertain they still are: a wide look, then a narrow one around the first answer."""
    layout, calibration = model.layout, public.public
    if not (layout.has_visits or layout.static_numeric):
        return calibration, None
    covariance: Tensor | None = None
    for done, (charge, vectors) in enumerate(
        [
            (LOCATION, first_moments(calibration, layout, public.raw)),
            (SCALE, first_moments(Calibration.start(layout), layout, public.records)),
        ]
    ):
        progress("location and scale", done, 2)
        known = knowledge(vectors, public.population, session.error(charge, 1.0), covariance=covariance)
        belief = ask(session, partial(_first_moments, calibration, layout), known, charge)
        before, calibration = calibration, recalibrated(calibration, belief.asked, known.centre)
        covariance = _left(belief, before, calibration)
    progress("location and scale", 2, 2)
    return calibration, covariance


def _first_moments(calibration: Calibration, layout: Layout, rows: Mapping[str, Tensor]) -> Tensor:
    return first_moments(calibration, layout, dict(rows))


def _left(belief: Posterior, before: Calibration, after: Calibration) -> Tensor:
    """[3 * numbers, 3 * numbers] the covariance that is left, in the new units."""
    ratio = (before.scale / after.scale).double()
    factor = torch.cat([torch.ones_like(ratio), ratio, ratio**2])
    return belief.covariance * factor.outer(factor)


def _uncertain(public: Simulated, left: Tensor | None, layout: Layout, seed: int) -> Records:
    """Simulated patients in units that are as uncertain as the cohort's are."""
    if left is None:
        return public.records
    stream = torch.Generator().manual_seed(child_seed(seed, "ehr", "units"))
    root = torch.linalg.cholesky((left + left.T) / 2 + 1e-6 * torch.eye(len(left), dtype=left.dtype)).float()
    units = []
    for own in public.own:
        _, first, second = (root @ torch.randn(len(left), generator=stream)).chunk(3)
        units.append(own.moved(first, (1 + second).clamp(min=0.3)))
    return calibrated(public.raw, public.population, units, layout)
