"""Scores: the gradient of each simulated patient's loss with respect to the model's own numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from generators.ehr.encoding import Records
from generators.ehr.model import RecordVAE
from generators.ehr.pretraining import cropped
from privacy.gradients import Loss, per_patient_gradients


def loss_of(model: RecordVAE) -> Loss:
    """One loss a patient; leaves only `Parameters` trainable."""

    def loss(bound: nn.Module, rows: Mapping[str, Tensor]) -> Tensor:
        draws = torch.randn(1, model.latent)  # the same for all patients
        out: Tensor = -(bound(rows, draws) + bound(rows, -draws)) / 2
        return out

    model.train()
    model.requires_grad_(False)
    return loss


def scores(model: RecordVAE, records: Records) -> Tensor:
    """[patients, numbers]"""
    loss, values = loss_of(model), model.parameters_of.values.requires_grad_(True)
    torch.manual_seed(0)
    records = cropped(records)
    found = [per_patient_gradients(model, loss, rows, "vmap") for rows in _chunks(records)]
    values.requires_grad_(False)
    return torch.cat(found).double()


def _chunks(records: Records, rows: int = 500) -> list[Records]:
    patients = len(records["end"])
    return [{k: v[i : i + rows] for k, v in records.items()} for i in range(0, patients, rows)]


def whitened(scores: Tensor) -> tuple[Tensor, Tensor]:
    """(basis [numbers, steps], scores along it [patients, steps], less their mean): steps in which they have unit variance
    between patients, so that a population's mean score is its Newton step."""
    centred = scores - scores.mean(dim=0)
    fisher = centred.T @ centred / len(centred)
    fisher = fisher + torch.diag(0.02 * fisher.diagonal() + 1e-4)
    values, vectors = torch.linalg.eigh(fisher)
    basis = vectors @ torch.diag(values.clamp(min=1e-6) ** -0.5)
    return basis.float(), centred @ basis
