"""Beliefs about a disease's terms as a whole: what its patients say of all of them at once, and how many a patient has.

Terms are believed in one by one where they are likely (`learning.learn_observed`). Two things are left. Of a dozen patients the
answer says little about any term, but much about all of them together, also about those that nobody expected. And noise makes
more terms likely, as frequencies cannot fall below zero: the fewer patients a disease has, the more terms seem to be its own, and
whoever compares diseases takes its patients for those of another. With r_i what the mean vector of the patients of disease i has
beyond the expected one, in units of the clip norm, e_i its noise and a_j the place of term j among the question's directions,

    logit f_ij  <-  logit f_ij + s_i a_j . r_i - (s_i e_i |a_j|)^2 / 2 + b_i,     s_i = k (g / (g + e_i^2 + 1 / n_i))^2:

the second term is a step along the likelihood's gradient, short where noise is loud, the third what noise alone would add to a
frequency on average. b_i makes the expected number of terms, in logarithms, 1 / (1 + (h e_i)^2) parts the disease's own and the
rest that of all diseases. k, g and h were found on simulated individuals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from generators.phenotypes.beliefs import Beliefs
from generators.phenotypes.posterior import Posterior
from generators.phenotypes.public import Public
from generators.phenotypes.questions import Answer

Floats = NDArray[np.float64]

_STEP, _AGREED, _COMMON = 50.0, 0.25, 30.0
"""k, g (squared length of the mean of patients' vectors of one disease) and h."""
_LEAST, _MOST = 1e-4, 0.98
_WIDEST, _HALVINGS = 8.0, 20
_STILL, _MORE = 1e-3, 3.0


def evened(public: Public, now: Beliefs, answer: Answer) -> Beliefs:
    """The same beliefs about observed terms, each moved in its logit."""
    before = frequencies(public, now)
    norm = answer.question.clip_norm
    means, error = answer.values / (norm * now.sizes[:, None]), answer.noise / (norm * now.sizes)
    expected = (before - public.centre) @ public.axes
    kept = float((means * expected).sum() / max((expected**2).sum(), 1e-9))  # of the expected ones, after the clip
    moved = said(public.axes / norm, means - kept * expected, error, now.sizes)
    logits = _logit(before) + moved
    own = 1 / (1 + (_COMMON * error) ** 2)
    count = np.log(before.sum(axis=1))
    shift = moved + offsets(logits, np.exp(own * count + (1 - own) * count.mean()))[:, None]
    rows, columns = np.nonzero(public.asked)[0], public.terms[public.asked]
    rest = special.expit(_logit(now.rest[0]) + shift)
    return now.with_terms("observed", _moved(now.observed, shift[rows, columns]), rest)


def _logit(frequency: Floats) -> Floats:
    return np.asarray(special.logit(np.clip(frequency, _LEAST, _MOST)))


def _moved(before: Posterior, shift: Floats) -> Posterior:
    """Their means' logits that much greater: the mean of a wide one moves less than its frequencies do (one secant step)."""
    gone = _logit(before.shifted(shift).mean) - _logit(before.mean)
    more = shift / np.where(np.abs(gone) < _STILL, np.inf, gone)
    return before.shifted(shift * np.clip(more, 1, _MORE))


def frequencies(public: Public, now: Beliefs) -> Floats:
    """[diseases, vocabulary] expected frequency of every observed term, asked or not."""
    mean = now.rest[0].astype(np.float64)
    mean[np.nonzero(public.asked)[0], public.terms[public.asked]] = now.observed.mean
    return mean


def said(axes: Floats, beyond: Floats, error: Floats, sizes: Floats) -> Floats:
    """[diseases, terms] how far the answer moves each term's logit.

    Args:
        axes: [terms, axes], in units of the clip norm.
        beyond: [diseases, axes] what the mean of vectors of length 1 at most has beyond the expected one.
        error: [diseases] standard deviation of its noise; `sizes` patients.
    """
    step = _STEP * (_AGREED / (_AGREED + error**2 + 1 / sizes)) ** 2
    usual = (step * error)[:, None] ** 2 * (axes**2).sum(axis=1) / 2
    return np.asarray(step[:, None] * (beyond @ axes.T) - usual)


def offsets(logits: Floats, count: Floats) -> Floats:
    """[diseases] what to add to all of a disease's logits [diseases, terms], so that so many terms are expected; by bisection."""
    low, high = np.full(len(logits), -_WIDEST), np.full(len(logits), _WIDEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        few = special.expit(logits + middle[:, None]).sum(axis=1) < count
        low, high = np.where(few, middle, low), np.where(few, high, middle)
    return np.asarray((low + high) / 2)
