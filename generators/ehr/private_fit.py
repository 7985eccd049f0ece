"""The private fit: five kinds of noisy sums over the patients, each read with what public knowledge expects of it.

1. Location and scale of every number, twice: the cohort's units.
2. DP-SGD (Abadi et al. 2016) on the few numbers in which simulated populations differ most, whitened on simulated patients.
3. Mean and second moments of latent codes: the distribution to sample from (P3GM, Takagi et al. 2021).
4. Second moments between and within patients, to which the numbers at visits are moved.

Clip norms, whitening and prior variances come from simulated patients; so everything but the answers is public.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from generators.ehr import marginals, transport
from generators.ehr.adaptation import LatentMoments, first_moments, recalibrated
from generators.ehr.calibration import Calibration
from generators.ehr.charges import CODES, GRADIENT, LOCATION, MARGINALS, MOMENTS, SCALE
from generators.ehr.encoding import Records
from generators.ehr.fitted import Fitted
from generators.ehr.layout import Layout
from generators.ehr.model import RecordVAE
from generators.ehr.pretraining import Simulated
from generators.ehr.process import Chance
from generators.ehr.release import EXTRA, Belief, ask, expect
from generators.ehr.settings import Settings
from generators.ehr.transport import Centre
from privacy.gradients import per_patient_gradients
from privacy.session import Session, clip
from synthgen.generator import Progress
from synthgen.randomness import child_seed


def fit(
    model: RecordVAE, public: Simulated, session: Session, settings: Settings, seed: int, progress: Progress
) -> Fitted:
    """Asks all of the plan's charges. Deterministic given `seed` and the answers."""
    calibration = _locate(public, model, session, settings, progress)
    _step(model, calibration, public, session, settings, progress)
    progress("latent moments", 0, 1)
    moments = LatentMoments(model, public.records)
    expected = expect(moments(public.records), public.population, settings.clip_quantile)
    belief = ask(session, lambda rows: moments(calibration.apply(dict(rows), model.layout)), expected, CODES)
    fitted = Fitted(model, calibration, moments.prior(belief.mean))
    progress("latent moments", 1, 1)
    fitted = _match(fitted, public, session, settings, seed, progress)
    if not model.layout.numeric:
        return fitted
    return _move(fitted, public, session, settings, seed, progress)


def prior(model: RecordVAE, public: Simulated) -> Fitted:
    """What is believed before any patient was asked: public units, and latent vectors as simulated patients have them."""
    moments = LatentMoments(model, public.records)
    return Fitted(model, public.public, moments.prior(moments(public.records).mean(dim=0)))


def _locate(
    public: Simulated, model: RecordVAE, session: Session, settings: Settings, progress: Progress
) -> Calibration:
    """The cohort's units: a wide look, then a narrow one around the first answer."""
    layout, calibration = model.layout, public.public
    if not (layout.has_visits or layout.static_numeric):
        return calibration
    covariance: Tensor | None = None
    for done, (charge, vectors) in enumerate(
        [
            (LOCATION, first_moments(calibration, layout, public.raw)),
            (SCALE, first_moments(Calibration.start(layout), layout, public.records)),
        ]
    ):
        progress("location and scale", done, 2)
        expected = expect(vectors, public.population, settings.clip_quantile, covariance)
        belief = ask(session, partial(_first_moments, calibration, layout), expected, charge)
        before, calibration = calibration, recalibrated(calibration, belief.mean, expected.centre)
        covariance = _left(belief, before, calibration)
    progress("location and scale", 2, 2)
    return calibration


def _first_moments(calibration: Calibration, layout: Layout, rows: Mapping[str, Tensor]) -> Tensor:
    return first_moments(calibration, layout, dict(rows))


def _left(belief: Belief, before: Calibration, after: Calibration) -> Tensor:
    """[3 * numbers, 3 * numbers] the covariance that is left, in the new units."""
    ratio = (before.scale / after.scale).double()
    factor = torch.cat([torch.ones_like(ratio), ratio, ratio**2])
    return belief.covariance * factor.outer(factor)


def _step(
    model: RecordVAE,
    calibration: Calibration,
    public: Simulated,
    session: Session,
    settings: Settings,
    progress: Progress,
) -> None:
    """DP-SGD on `Parameters.step`, pulled to zero as strongly as its prior and the noise say."""
    model.train()
    model.requires_grad_(False)
    layout = model.layout

    def loss(bound: nn.Module, rows: Mapping[str, Tensor]) -> Tensor:
        draws = torch.randn(1, model.latent)  # the same for all patients
        out: Tensor = -(bound(rows, draws) + bound(rows, -draws)) / 2
        return out

    values = model.parameters_of.values.requires_grad_(True)
    torch.manual_seed(0)
    gradients = torch.cat([per_patient_gradients(model, loss, rows, "vmap") for rows in _chunks(public.records)])
    values.requires_grad_(False)
    basis, variance = directions(gradients.double(), public.population, settings.gradient_numbers)
    model.parameters_of.basis.copy_(basis)
    step = model.parameters_of.step.requires_grad_(True)
    expected = expect_gradient(gradients.double() @ basis.double(), settings.clip_quantile)
    clip_norm, offset, kept = expected
    noise = (session.error(GRADIENT, clip_norm) / kept) ** 2 / settings.gradient_steps + 1 / session.declared_patients
    pull = (noise / variance).float()
    path = []
    for done in range(settings.gradient_steps):
        progress("DP-SGD", done, settings.gradient_steps)
        session.gradient(
            model,
            lambda bound, rows: loss(bound, calibration.apply(dict(rows), layout)),
            clip_norm,
            GRADIENT,
            backend="vmap",
        )
        with torch.no_grad():
            assert step.grad is not None
            step -= settings.gradient_rate / (1 + pull) * ((step.grad - offset) / kept + pull * step)
            path.append(step.clone())
    with torch.no_grad():
        step.copy_(torch.stack(path[len(path) // 2 :]).mean(dim=0))
    step.requires_grad_(False)
    progress("DP-SGD", settings.gradient_steps, settings.gradient_steps)


def expect_gradient(white: Tensor, quantile: float) -> tuple[float, Tensor, float]:
    """(clip norm, mean after the clip, share of a shift that the clip keeps) of simulated patients' whitened gradients.

    Their mean is zero where pretraining ended, but not after the clip, which cuts a skewed distribution on one side.
    """
    clip_norm = float(torch.linalg.vector_norm(white, dim=1).quantile(quantile))
    cut = clip(white, clip_norm)
    offset = cut.mean(dim=0) - white.mean(dim=0)
    kept = (clip_norm / torch.linalg.vector_norm(white, dim=1)).clamp(max=1.0).mean()
    return clip_norm, offset.float(), float(kept)


def _chunks(records: Records, rows: int = 500) -> list[Records]:
    patients = len(records["end"])
    return [{k: v[i : i + rows] for k, v in records.items()} for i in range(0, patients, rows)]


def directions(gradients: Tensor, population: Tensor, numbers: int) -> tuple[Tensor, Tensor]:
    """The few directions in which populations differ most.

    Args:
        gradients: [patients, parameters] of simulated patients; population: [patients].

    Returns:
        basis [parameters, numbers]: one whitened unit each (gradients along it have unit variance between patients);
        variance [numbers]: how much populations differ along it, in those units.
    """
    gradients = gradients - gradients.mean(dim=0)
    fisher = gradients.T @ gradients / len(gradients)
    fisher = fisher + torch.diag(0.02 * fisher.diagonal() + 1e-4)
    values, vectors = torch.linalg.eigh(fisher)
    whitener = vectors @ torch.diag(values.clamp(min=1e-6) ** -0.5)
    means = torch.stack([gradients[population == k].mean(dim=0) for k in population.unique()]) @ whitener
    size = len(gradients) / len(means)
    spread = means.T @ means / len(means) - torch.eye(len(values), dtype=means.dtype) / size
    variance, turned = torch.linalg.eigh(spread)
    keep = variance.argsort(descending=True)[:numbers]
    return (whitener @ turned[:, keep]).float(), variance[keep].clamp(min=0) + EXTRA**2


def _match(
    fitted: Fitted, public: Simulated, session: Session, settings: Settings, seed: int, progress: Progress
) -> Fitted:
    """The model with the cohort's frequencies."""
    progress("frequencies", 0, 1)
    layout = fitted.model.layout
    own = marginals.statistic(_reference(fitted, settings, seed), layout)
    spread = expect(marginals.statistic(public.records, layout), public.population, settings.clip_quantile)
    expected = expect(own, _ten(own), settings.clip_quantile, spread.covariance * spread.scale.outer(spread.scale))
    belief = ask(
        session,
        lambda rows: marginals.statistic(fitted.calibration.apply(dict(rows), layout), layout),
        expected,
        MARGINALS,
    )
    fitted = marginals.match(fitted, belief.mean, settings.reference_patients, child_seed(seed, "ehr", "match"))
    progress("frequencies", 1, 1)
    return fitted


def _reference(fitted: Fitted, settings: Settings, seed: int) -> Records:
    """Synthetic patients that stand for the model's own."""
    chance = Chance.seeded(child_seed(seed, "ehr", "reference"))
    return fitted.patients(*fitted.latents(settings.reference_patients, chance), chance)


def _ten(vectors: Tensor) -> Tensor:
    return torch.arange(len(vectors)) % 10


def _move(
    fitted: Fitted, public: Simulated, session: Session, settings: Settings, seed: int, progress: Progress
) -> Fitted:
    """The model with the map that gives its numbers the cohort's second moments."""
    progress("second moments", 0, 1)
    layout, calibration = fitted.model.layout, fitted.calibration
    own = transport.split(_reference(fitted, settings, seed), layout)
    centre = Centre.of(own)
    vectors = transport.moments(own, centre)
    simulated = transport.moments(transport.split(public.records, layout), centre)
    spread = expect(simulated, public.population, settings.clip_quantile)
    expected = expect(
        vectors, _ten(vectors), settings.clip_quantile, spread.covariance * spread.scale.outer(spread.scale)
    )
    belief = ask(
        session,
        lambda rows: transport.moments(transport.split(calibration.apply(dict(rows), layout), layout), centre),
        expected,
        MOMENTS,
    )
    progress("second moments", 1, 1)
    return Fitted(fitted.model, calibration, fitted.prior, transport.fit(own, centre, belief.mean))
