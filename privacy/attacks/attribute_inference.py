"""Attribute inference: is a secret of a training patient told by the synthetic patient who is most like them? (Giomi et al. 2023)

1. Of everybody the attacker hears the secret of the nearest synthetic patient, and believes it where it is surest: of all of whom
   the same is told, the quarter who have somebody nearest to them. Of the others nothing is said.
2. What is told, beyond guessing, is the sum over the secret's values c of

       w_c (P[told c | c] - P[told c | not c]),   w_c = s_c (1 - s_c) / sum,   s_c = share of c among the real patients:

   1 when every secret is told, 0 on average for whatever knows nothing of it, be it "nobody has the rare one" (Goodman &
   Kruskal's tau 1954, of guesses that may be withheld; for two values Youden's J). Half of what a secret of two values holds
   lies with those who have the rare one.
3. Attack: training patients. Control: holdout patients, told by the same rule; that far the disease itself tells. Baseline: a
   random synthetic patient's value. Had sides been drawn by lot, so large a difference would have the chance `p_value`
   (permutation test: exact at any n, however rare the secret).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privacy.attacks.gower import gower
from privacy.attacks.risk import Risk, compared
from privacy.rates import Rate, combined, wilson

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
SURE = 0.25
CELLS = 10
"""A number is told when its cell is, of so many cells of its public range."""
DRAWS = 100_000


def attribute_inference(
    train: Floats,
    holdout: Floats,
    synthetic: Floats,
    discrete: Mask,
    secret: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Risk:
    """[patients, columns] each; every column but `secret` is known to the attacker. Patients without the secret are left out."""
    known = np.arange(train.shape[1]) != secret
    train, holdout = (side[~np.isnan(side[:, secret])] for side in (train, holdout))
    real, member = np.concatenate([train, holdout]), np.arange(len(train) + len(holdout)) < len(train)
    true, values = (_values(cohort[:, secret], bool(discrete[secret])) for cohort in (real, synthetic))
    distance = gower(real[:, known], synthetic[:, known], discrete[known])
    told = values[distance.argmin(axis=1)]
    told = np.where(_surest(distance.min(axis=1), told), told, np.nan)
    blind = np.where(np.isnan(told), np.nan, values[rng.integers(0, len(values), len(told))])
    said, counts = np.unique(true, return_counts=True)
    share = counts / max(1, len(true))
    weight = share * (1 - share) / max(1e-12, float((share * (1 - share)).sum()))
    attack, control, baseline = (
        _beyond_guessing(true[who], guess[who], said, weight, confidence)
        for who, guess in ((member, told), (~member, told), (member, blind))
    )
    chance = dict(zip(said.tolist(), share.tolist(), strict=True))
    scores = (told == true) - np.array([chance.get(t, 0.0) for t in told.tolist()])
    return compared(attack, control, baseline, _by_lot(scores, member, rng))


def _values(secret: Floats, discrete: bool) -> Floats:
    """[patients] its category, or the cell of a number; NaN where missing."""
    return secret if discrete else np.minimum(np.floor(secret * CELLS), CELLS - 1)


def _surest(nearest: Floats, told: Floats) -> Mask:
    """Of all of whom the same is told, those nearest to a synthetic patient; which side they are on plays no part."""
    sure = np.zeros(len(told), dtype=bool)
    for value in np.unique(told[~np.isnan(told)]):
        sure |= (told == value) & (nearest <= np.quantile(nearest[told == value], SURE, method="higher"))
    return sure


def _beyond_guessing(true: Floats, told: Floats, said: Floats, weight: Floats, confidence: float) -> Rate:
    """Step 2, for one side; the interval is put together from Wilson's of each share."""
    rates: list[Rate] = []
    for value in said:
        has, named = true == value, told == value
        rates += [_share(named[who], confidence) for who in (has, ~has)]
    signed: Sequence[float] = np.stack([weight, -weight], axis=1).ravel().tolist()
    return combined(signed, rates, len(true))


def _share(hits: Mask, confidence: float) -> Rate:
    return wilson(int(hits.sum()), len(hits), confidence)


def _by_lot(scores: Floats, member: Mask, rng: np.random.Generator) -> float:
    """The chance of so large a mean score of the members, were they drawn by lot from both sides."""
    values, which, counts = np.unique(scores.round(12), return_inverse=True, return_counts=True)
    drawn = rng.multivariate_hypergeometric(counts, int(member.sum()), DRAWS, method="marginals") @ values
    return float((1 + (drawn >= values[which][member].sum() - 1e-9).sum()) / (1 + DRAWS))
