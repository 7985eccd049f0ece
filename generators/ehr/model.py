"""The model as one module: records in, one evidence lower bound a patient out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from generators.ehr import likelihood
from generators.ehr.encoding import Records
from generators.ehr.layout import Layout
from generators.ehr.network import Decoder, Encoder
from generators.ehr.parameters import Parameters
from generators.ehr.settings import Settings


class RecordVAE(nn.Module):
    """Encoder, decoder and the population's few numbers."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__()
        self.layout = layout
        self.latent = settings.latent
        self.encoder = Encoder(layout, settings.latent, settings.hidden)
        self.decoder = Decoder(layout, settings.latent, settings.hidden, likelihood.GAPS)
        self.parameters_of = Parameters(layout, settings.gradient_numbers)

    def forward(self, records: Records, draws: Tensor, weight: float = 1.0) -> Tensor:
        """[patients] evidence lower bounds.

        Args:
            records: in the model's units.
            draws: [1 or patients, latent] standard normals: one row for all patients inside a session.
            weight: of the divergence; below 1 while training warms up.
        """
        mean, log_sd = self.encoder(records)
        z = mean + log_sd.exp() * draws
        divergence = (0.5 * (mean**2 + (2 * log_sd).exp() - 1) - log_sd).sum(dim=1)
        bound: Tensor = self.reconstruct(records, z) - weight * divergence
        return bound

    def reconstruct(self, records: Records, z: Tensor) -> Tensor:
        """[patients] log-likelihood of the records given latent vectors."""
        theta = self.parameters_of()
        total = likelihood.whole(records, self.decoder.whole(z, theta), theta, self.layout)
        if not self.layout.has_visits:
            return total
        index = torch.arange(records["seen"].shape[1], device=z.device).expand(records["seen"].shape)
        gap = records["gap"]
        before = torch.cat([torch.zeros_like(gap[:, :1]), gap[:, :-1]], dim=1).clamp(-4, 4)
        said = self.decoder.visits(z, records["end"], records["cause"], records["time"], index, before, theta)
        return total + likelihood.visits(records, said, theta, self.layout)

    def codes(self, records: Records) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of each patient's latent vector."""
        out: tuple[Tensor, Tensor] = self.encoder(records)
        return out
