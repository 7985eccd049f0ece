"""Which public diseases a disease of the cohort is like, by what its own patients said.

All diseases are asked the same question about the whole vocabulary: a patient's marks about what is usual, in the directions in
which public diseases differ (`axes`), clipped to about one length. A handful of patients cannot say which of thousands of terms
they share, but they do say which of twelve thousand annotated diseases they resemble. The prior of a disease's frequencies is
the mixture of what is known of it, and of each public disease's profile about it,

    f | j ~ (blend of what is known and of profile j, Sigma),     y | j ~ N(rho g_j, s^2 I),     s^2 = (noise / n)^2 + tau^2,

g_j being the direction of profile j in the question's own space. All components share one Sigma, so the posterior mean of f given
y is that of a single normal about the mixture's mean (`learning`): nothing is told twice. An answer of noise alone leaves the
weights at the prior's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

if TYPE_CHECKING:
    from generators.phenotypes.public import Public

Floats = NDArray[np.float64]

AXES = 400
"""Directions of the question. Of a patient simulated from public annotations they hold three quarters, of a mean more."""
_WHITENED = 0.25
"""Terms are weighted by their variance to minus this power: half-way between counts and standard scores."""
_RHO, _TAU2 = 0.25, 0.004
"""How far patients' mean vector points at a profile that is right, and how far it strays in any other direction (variance)."""
_KNOWN = 3.0
"""Log prior odds of a profile for each unit of cosine to what is publicly known of the disease."""
_BLEND = 0.5
"""Share of the profiles in what is expected; the rest is what is known of the disease. All found on simulated individuals."""


def axes(profiles: Floats, usual: Floats, count: int = AXES) -> Floats:
    """[terms, axes] the directions in which public diseases differ most (principal components), in whitened terms.

    Args:
        profiles: [diseases, terms] frequencies of public diseases.
        usual: [terms] frequency of each in the cohort's diseases, as is expected.
    """
    weight = (usual * (1 - usual) + 1e-3) ** -_WHITENED
    rows = _unit((profiles - profiles.mean(axis=0)) * weight)
    size = rows.shape[1]
    found = linalg.eigh(rows.T @ rows, subset_by_index=[max(0, size - count), size - 1])[1][:, ::-1]
    found = found * np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
    return np.asarray(weight[:, None] * found)


def expected(public: Public, known: Floats, answer: Floats, noise: Floats) -> Floats:
    """[diseases, vocabulary] what is expected of every term once the patients have said whom they are like.

    Args:
        known: [diseases, vocabulary] what is expected before.
        answer: [diseases, axes] mean vector of each disease's patients in units of the clip norm.
        noise: [diseases] standard deviation of the noise on it.
    """
    usual, others = public.centre, public.alike
    towards = _unit(others @ public.axes - others.mean(axis=0) @ public.axes)  # [public diseases, axes]
    weights = (_RHO * answer @ towards.T - _RHO**2 / 2) / (noise**2 + _TAU2)[:, None]
    weights += _KNOWN * _unit((known - usual) @ public.axes) @ towards.T
    share = special.softmax(weights, axis=1)
    return np.asarray((1 - _BLEND) * known + _BLEND * (others.T @ share.T).T)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))
