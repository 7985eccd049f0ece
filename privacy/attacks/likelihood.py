"""White-box attacks: whoever holds the model asks how likely it finds a patient, next to models that never saw that patient.

LiRA (Carlini et al. 2022): how far the target's log-likelihood lies from those of reference models without the patient, in
their standard deviations. RMIA (Zarifzadeh, Liu & Shokri 2024): how many other patients' likelihood ratio the patient's own
exceeds. Both in their offline forms, which need no model that was trained on the patient.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def lira_scores(target: Floats, references: Floats, included: NDArray[np.bool_]) -> Floats:
    """[patients] standardised log-likelihood under the target model.

    Args:
        target: [patients] log-likelihoods under the audited model.
        references: [models, patients] under reference models.
        included: [models, patients] whom each reference model was trained on. At least two must be without each patient.
    """
    without = np.where(included, np.nan, references)
    spread = np.nanstd(without, axis=0, ddof=1)
    pooled = np.sqrt(np.nanmean(spread**2))  # few references: each patient's own spread is shrunk to the common one
    return np.asarray((target - np.nanmean(without, axis=0)) / np.sqrt((spread**2 + pooled**2) / 2), dtype=np.float64)


def rmia_scores(
    target: Floats, references: Floats, included: NDArray[np.bool_], population: NDArray[np.bool_]
) -> Floats:
    """[patients] share of the `population` ([patients], the reference z of the paper) whose ratio of likelihoods, target over
    references that never saw them, lies below the patient's own. Nobody is compared with themselves."""
    without = np.where(included, np.nan, references)
    highest = np.nanmax(without, axis=0)
    ratio = target - highest - np.log(np.nanmean(np.exp(without - highest), axis=0))  # log p(x | target) / p(x)
    others = np.where(
        population[None, :] & ~np.eye(len(ratio), dtype=bool), ratio[None, :], np.nan
    )  # [patients, population]
    return np.asarray(np.nansum(others < ratio[:, None], axis=1) / (~np.isnan(others)).sum(axis=1), dtype=np.float64)
