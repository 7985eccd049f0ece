"""Means and covariances of the pictures' cosine coefficients as noisy sums, and pictures that have them.

What hundreds of patients can tell under privacy is low-dimensional. So the budget first buys, in this order:

1. *mean*: the mean picture;
2. *scale*: the contrast of each block of frequencies around it;
3. *location*: what the condition changes in the mean picture, in units of that scale;
4. *contrast*: what it changes in the contrast of each block: few numbers, and all that one class's texture may differ by;
5. *dependence*: the covariance of the lowest frequencies around it, of as many as the noise allows.

Pictures of public images, or without any of Gaussian noise, are then moved by the linear optimal transport to these moments
(Dowson and Landau 1982), as `generators.ehr.transport` moves records.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from generators.images.diffusion import to_unit
from generators.images.spectrum import Spectrum
from privacy.gradients import Records
from privacy.session import Session

MEAN, SCALE, LOCATION = "images/mean", "images/scale", "images/location"
CONTRAST, DEPENDENCE = "images/contrast", "images/dependence"
QUESTIONS = (MEAN, SCALE, LOCATION, CONTRAST, DEPENDENCE)
FLOOR = 0.05
"""Least variance of a direction, relative to its scale."""
CLIP = 1.25
"""Clips are this many times the norm that a patient of the public scale has."""
UNLIKE = 0.3
"""Public guess of how much patients differ in the contrast of a block, beyond chance, as a share of it."""
LEAST, MOST = 0.25, 4.0
"""Of the contrast under a condition, relative to everybody's."""


@dataclass(frozen=True)
class Moments:
    """Of coefficients given a condition: mean = conditions @ regression, and covariance around it.

    Args:
        regression: [width, numbers].
        spread: [numbers] standard deviation around the mean.
        contrast: [width, numbers] how the condition changes `spread`, to 1 + conditions @ contrast times as much.
        dependence: [low, low] correlation of the lowest frequencies around the mean, in units of that standard deviation.
    """

    regression: Tensor
    spread: Tensor
    contrast: Tensor
    dependence: Tensor

    def unit(self, conditions: Tensor) -> Tensor:
        """[N, numbers] standard deviations."""
        return self.spread * (1 + conditions @ self.contrast).clamp(LEAST, MOST)

    def standardised(self, coefficients: Tensor, conditions: Tensor) -> Tensor:
        """[N, numbers] with mean 0, variance 1 and, of the lowest, no correlation."""
        z = (coefficients - conditions @ self.regression) / self.unit(conditions)
        low = len(self.dependence)
        return torch.cat([z[:, :low] @ _power(self.dependence, -0.5), z[:, low:]], dim=1)

    def coloured(self, z: Tensor, conditions: Tensor) -> Tensor:
        """The way back."""
        low = len(self.dependence)
        z = torch.cat([z[:, :low] @ _power(self.dependence, 0.5), z[:, low:]], dim=1)
        return conditions @ self.regression + z * self.unit(conditions)

    def state(self) -> dict[str, Tensor]:
        """For a saved state."""
        return {
            "moments.regression": self.regression,
            "moments.spread": self.spread,
            "moments.contrast": self.contrast,
            "moments.dependence": self.dependence,
        }

    @classmethod
    def of_state(cls, state: dict[str, Tensor]) -> Moments:
        return cls(*(state[f"moments.{name}"] for name in ("regression", "spread", "contrast", "dependence")))


def of_public(spectrum: Spectrum, images: Tensor, conditions: Tensor, low: int) -> Moments:
    """Of public pictures [N, channels, side, side] in -1..1, without noise."""
    z = spectrum.coefficients(images)
    regression = _regression(conditions, z)
    rest = z - conditions @ regression
    sizes = _sizes(spectrum, rest / (rest.square().mean(dim=0) + 1e-6).sqrt())
    change = _regression(conditions[:, 1:], sizes / (sizes.mean(dim=0) + 1e-6) - 1)
    contrast = torch.cat([torch.zeros(1, spectrum.blocks), change])[:, spectrum.block]
    rest = rest / (1 + conditions @ contrast).clamp(LEAST, MOST)
    spread = (rest.square().mean(dim=0) + 1e-6).sqrt()
    correlation = torch.corrcoef((rest / spread)[:, :low].T).reshape(low, low) if low else torch.eye(0)
    return Moments(regression, spread, contrast, 0.98 * correlation + 0.02 * torch.eye(low))


def _regression(conditions: Tensor, values: Tensor) -> Tensor:
    """[width, numbers], by least squares with a trace of a ridge."""
    gram = conditions.T @ conditions / len(values) + 1e-4 * torch.eye(conditions.shape[1])
    found: Tensor = torch.linalg.solve(gram, conditions.T @ values / len(values))
    return found


@dataclass(frozen=True)
class Questions:
    """Means over the patients who have pictures.

    Args:
        share: of the patients, who have any; public, or itself a noisy answer. Patients without add nothing to a sum, whose
            normaliser stays.
        doubt: how many standard deviations of its mean square an answer has to lie above noise alone to be believed.
    """

    spectrum: Spectrum
    session: Session
    share: float = 1.0
    doubt: float = 0.0

    def kept(self, found: Tensor, noise: Tensor, count: Tensor | int) -> Tensor:
        """Share of what was found that is believed, [...] (James and Stein 1961).

        Args:
            found, noise: [...] mean squares of `count` numbers, and what noise adds to them.
        """
        chance = noise * (1 + self.doubt * torch.as_tensor(2.0 / count).sqrt())
        return (1 - chance / found.clamp(min=1e-12)).clamp(min=0)

    def mean(self, of: Callable[[Tensor, Tensor], Tensor], clip_norm: float, charge: str) -> Tensor:
        """[numbers] noisy mean of each patient's mean of `of` (coefficients [N, numbers], conditions [N, width])."""

        def statistic(records: Records) -> Tensor:
            patients, most = records["images"].shape[:2]
            z = self.spectrum.coefficients(to_unit(records["images"].flatten(0, 1)))
            values = of(z, records["condition"].flatten(0, 1)).unflatten(0, (patients, most))
            there = (torch.arange(most) < records["count"].unsqueeze(1)).to(values).unsqueeze(2)
            means: Tensor = (values * there).sum(dim=1) / records["count"].clamp(min=1).unsqueeze(1)
            return means

        return self.session.mean(statistic, clip_norm, charge).float() / self.share

    def error(self, clip_norm: float, charge: str) -> float:
        """Standard deviation of the noise on each number of such a mean."""
        return self.session.error(charge, clip_norm) / self.share


def learn(ask: Questions, width: int, longest: float, low: int, public: Moments | None) -> Moments:
    """Five noisy sums; three where there is nothing to be conditional on.

    Args:
        width, longest: numbers of a condition vector, and the norm of the longest there can be without its first.
        low: how many frequencies' covariance is wanted at most.
        public: what noise is shrunk to; without it a falling spectrum around grey.
    """
    spectrum = ask.spectrum
    centre = torch.zeros(width, spectrum.numbers) if public is None else public.regression
    unit = spectrum.scale if public is None else public.spread
    centre = _mean(ask, centre, unit)
    spread = unit * _scale(ask, centre, unit)[spectrum.block]
    contrast = torch.zeros_like(centre) if public is None else public.contrast
    if width > 1:
        centre, inverse = _location(ask, centre, spread, longest, low)
        contrast = _contrast(ask, centre, spread, contrast, longest, inverse)
    known = torch.eye(min(low, spectrum.numbers)) if public is None else public.dependence
    return _dependence(ask, Moments(centre, spread, contrast, known))


def _mean(ask: Questions, centre: Tensor, unit: Tensor) -> Tensor:
    """[width, numbers] the centre moved to the patients' mean. Asked in units of the pixels, so that most of the clip is the low
    frequencies'."""
    size = float(torch.linalg.vector_norm(unit))
    answer = ask.mean(lambda z, conditions: (z - conditions @ centre) / size, CLIP, MEAN).unsqueeze(0)
    found = _shrunk(ask, answer, torch.tensor([[ask.error(CLIP, MEAN) ** 2]]))
    return torch.cat([centre[:1] + found * size, centre[1:]])


def _scale(ask: Questions, centre: Tensor, unit: Tensor) -> Tensor:
    """[blocks] size of the coefficients around the centre, in public units. Asked as root mean squares, whose range is
    smaller than that of squares."""
    spectrum = ask.spectrum
    clip_norm = CLIP * math.sqrt(spectrum.blocks)
    answer = ask.mean(lambda z, conditions: _sizes(spectrum, (z - conditions @ centre) / unit), clip_norm, SCALE)
    change = answer / _usual(spectrum) - 1  # noise is shrunk to the public size
    noise = (ask.error(clip_norm, SCALE) / _usual(spectrum)).square().mean()
    return (1 + ask.kept(change.square().mean(), noise, spectrum.blocks) * change).clamp(min=FLOOR)


def _sizes(spectrum: Spectrum, z: Tensor) -> Tensor:
    """[N, blocks] root mean square of each block of coefficients."""
    return spectrum.block_means(z.square()).sqrt()


def _usual(spectrum: Spectrum) -> Tensor:
    """[blocks] mean of that of k standard normal coefficients, sqrt(2 / k) G((k + 1) / 2) / G(k / 2)."""
    k = torch.bincount(spectrum.block).float()
    return (2 / k).sqrt() * (torch.lgamma((k + 1) / 2) - torch.lgamma(k / 2)).exp()


def _location(ask: Questions, centre: Tensor, spread: Tensor, longest: float, low: int) -> tuple[Tensor, Tensor]:
    """[width, numbers] the centre with what the condition changes; the `low` lowest frequencies count alike in the clip, those
    above them less and less. And [width - 1, width - 1] what turns products with conditions into a regression on them."""
    unit = spread.clamp(min=float(spread[:low].min()))
    size = unit * float(torch.linalg.vector_norm(spread / unit))
    width, numbers = len(centre) - 1, len(spread)

    def products(z: Tensor, conditions: Tensor) -> Tensor:
        c = conditions[:, 1:] / longest
        return torch.cat([_outer(c, (z - conditions @ centre) / size), _outer(c, c)], dim=1)  # each of norm about 1

    clip_norm = math.sqrt(2) * CLIP
    answer, error = ask.mean(products, clip_norm, LOCATION), ask.error(clip_norm, LOCATION)
    cross, gram = torch.split(answer, [width * numbers, width * width])
    gram = (gram.reshape(width, width) + gram.reshape(width, width).T) / 2
    ridge = max(4 * error**2, 1e-6)
    inverse = torch.linalg.solve(gram @ gram + ridge * torch.eye(width), gram)
    found = inverse @ cross.reshape(width, -1)  # [width, numbers]
    found = _shrunk(ask, found, error**2 * inverse.square().sum(dim=1, keepdim=True))
    return torch.cat([centre[:1], centre[1:] + found * size / longest]), inverse


def _contrast(ask: Questions, centre: Tensor, spread: Tensor, known: Tensor, longest: float, inverse: Tensor) -> Tensor:
    """[width, numbers] what the condition changes in the size of each block, relative to everybody's; noise is shrunk to what is
    `known` publicly."""
    spectrum, usual = ask.spectrum, _usual(ask.spectrum)

    def products(z: Tensor, conditions: Tensor) -> Tensor:
        sizes = _sizes(spectrum, (z - conditions @ centre) / spread)
        return _outer(conditions[:, 1:] / longest, sizes / usual - 1)

    clip_norm = CLIP * math.sqrt(float((1 / usual.square() - 1 + UNLIKE**2).sum()))
    answer, error = ask.mean(products, clip_norm, CONTRAST), ask.error(clip_norm, CONTRAST)
    public = spectrum.block_means(known[1:])
    change = inverse @ answer.reshape(len(inverse), -1) / longest - public  # [width, blocks]
    noise = error**2 * inverse.square().sum(dim=1, keepdim=True) / longest**2
    kept = ask.kept(change.square().mean(dim=1, keepdim=True), noise, spectrum.blocks)
    return torch.cat([known[:1], (public + kept * change)[:, spectrum.block]])


def _shrunk(ask: Questions, found: Tensor, noise: Tensor) -> Tensor:
    """Each block of each row towards zero, as far as it may be noise."""
    block = ask.spectrum.block
    square = ask.spectrum.block_means(found.square())  # [width, blocks]
    return found * ask.kept(square, noise, torch.bincount(block))[:, block]


def _dependence(ask: Questions, moments: Moments) -> Moments:
    """With the correlation of the lowest frequencies; of as many as keep the noise's largest eigenvalue below a half, and at most
    as are known publicly."""
    known = moments.dependence
    low = next(r for r in range(len(known), 0, -1) if r == 1 or _edge(ask, r) < 0.5)
    rows, columns = torch.triu_indices(low, low)
    weight = torch.where(rows == columns, 1.0, math.sqrt(2.0))

    def products(z: Tensor, conditions: Tensor) -> Tensor:
        rest = ((z - conditions @ moments.regression) / moments.unit(conditions))[:, :low]
        return rest[:, rows] * rest[:, columns] * weight

    answer = ask.mean(products, CLIP * low, DEPENDENCE) / weight
    found = torch.zeros(low, low)
    found[rows, columns] = answer
    found[columns, rows] = answer
    values, vectors = torch.linalg.eigh(found - known[:low, :low])  # what the patients change
    kept = (1 - (_edge(ask, low) / values.abs().clamp(min=1e-9)) ** 2).clamp(min=0)
    values, vectors = torch.linalg.eigh(known[:low, :low] + (vectors * (values * kept)) @ vectors.T)
    return replace(moments, dependence=(vectors * values.clamp(min=FLOOR)) @ vectors.T)


def _edge(ask: Questions, low: int) -> float:
    """Largest eigenvalue of the noise on a symmetric matrix (Wigner's semicircle)."""
    return 2 * ask.error(CLIP * low, DEPENDENCE) * math.sqrt(low / 2)


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return (a.unsqueeze(2) * b.unsqueeze(1)).flatten(1)


def _power(symmetric: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(symmetric)
    power: Tensor = (vectors * values.clamp(min=1e-6) ** exponent) @ vectors.T
    return power


def move(spectrum: Spectrum, moments: Moments, base: Tensor, own: Moments, seen: Tensor, wanted: Tensor) -> Tensor:
    """Public pictures `base` [N, ...] of conditions `seen`, whose moments are `own`, moved to `moments` at `wanted`."""
    z = own.standardised(spectrum.coefficients(base), seen)
    return spectrum.images(moments.coloured(z, wanted), base).clamp(-1, 1)


def draw(spectrum: Spectrum, moments: Moments, wanted: Tensor, stream: torch.Generator) -> Tensor:
    """Gaussian pictures [N, channels, side, side] in -1..1 with these moments."""
    z = torch.randn((len(wanted), spectrum.numbers), generator=stream)
    return spectrum.images(moments.coloured(z, wanted)).clamp(-1, 1)
