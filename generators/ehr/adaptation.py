"""How a fitted model is moved to a cohort by statistics: its units, its latent distribution, its second moments.

Each step takes a `Belief` about the mean of a statistic; whether it comes from a noisy sum or from the patients themselves
is the caller's business.
"""

from __future__ import annotations

import torch
from torch import Tensor

from generators.ehr import calibration as units
from generators.ehr.calibration import Calibration
from generators.ehr.encoding import Records
from generators.ehr.layout import Layout
from generators.ehr.model import RecordVAE
from generators.ehr.process import Prior


def recalibrated(calibration: Calibration, mean: Tensor, public: Tensor) -> Calibration:
    """New units from the mean of `first_moments` in present units.

    Args:
        mean: [3 * numbers] believed mean; public: the same of simulated patients, whose share of patients with a value
            divides out.
    """
    present = public.chunk(3)[0].clamp(min=0.05)
    _, first, second = mean.chunk(3)
    return calibration.moved((first / present).float(), (1 + second / present).clamp(min=0.0).float())


def first_moments(calibration: Calibration, layout: Layout, records: Records) -> Tensor:
    """The statistic behind `recalibrated`, of records in public units."""
    return units.first_moments(calibration.apply(records, layout), layout)


class LatentMoments:
    """Mean and second moments of the encoder's codes, whitened on simulated patients (P3GM, Takagi et al. 2021)."""

    def __init__(self, model: RecordVAE, simulated: Records) -> None:
        self.model = model
        with torch.no_grad():
            codes, log_sd = model.codes(simulated)
        self.centre = codes.mean(dim=0)
        covariance = torch.cov((codes - self.centre).T) + 1e-4 * torch.eye(codes.shape[1])
        self.root = torch.linalg.cholesky(covariance)
        self.posterior = (2 * log_sd).exp().mean(dim=0)
        self.upper = torch.triu_indices(codes.shape[1], codes.shape[1])

    def __call__(self, records: Records) -> Tensor:
        """[patients, latent + latent (latent + 1) / 2] from records in the model's units."""
        with torch.no_grad():
            codes, _ = self.model.codes(records)
        white = torch.linalg.solve_triangular(self.root, (codes - self.centre).T, upper=False).T
        products = (white.unsqueeze(2) * white.unsqueeze(1))[:, self.upper[0], self.upper[1]]
        return torch.cat([white, products], dim=1)

    def prior(self, mean: Tensor) -> Prior:
        """The distribution of latent vectors whose statistic has this mean: codes' moments plus the encoder's own spread."""
        latent = len(self.centre)
        first, second = mean.float().split([latent, mean.numel() - latent])
        square = torch.zeros(latent, latent)
        square[self.upper[0], self.upper[1]] = second
        square[self.upper[1], self.upper[0]] = second
        covariance = square - first.outer(first)
        values, vectors = torch.linalg.eigh(covariance)
        covariance = vectors @ torch.diag(values.clamp(min=0.05)) @ vectors.T
        covariance = self.root @ covariance @ self.root.T + torch.diag(self.posterior)
        return Prior(self.centre + self.root @ first, torch.linalg.cholesky(covariance))
