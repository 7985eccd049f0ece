"""What an attack on single patients is worth: attack, control and baseline, as Anonymeter has it (Giomi et al. 2023).

The *attack* guesses at training patients, the *control* makes the same guesses at holdout patients, whom the generator never
saw: what succeeds there is what the population tells of anybody. The *baseline* guesses without the synthetic cohort.
"""

from __future__ import annotations

from dataclasses import dataclass

from privacy.rates import Rate, combined, wilson


@dataclass(frozen=True)
class Risk:
    """What is read for a verdict is `difference`, attack - control, and `p_value`: the chance of so large a difference, were
    training and holdout patients alike."""

    attack: Rate
    control: Rate
    baseline: Rate
    difference: Rate
    excess: float
    """(attack - control) / (1 - control), Anonymeter's risk: of what the population does not tell anyway, how much the synthetic
    cohort tells of those it was trained on."""
    p_value: float


def risk(
    attack: tuple[int, int], control: tuple[int, int], baseline: tuple[int, int], confidence: float = 0.95
) -> Risk:
    """From (successes, tries) of each; the p value is that of Fisher's exact test."""
    one, other, blind = (wilson(*counts, confidence) for counts in (attack, control, baseline))
    return compared(one, other, blind, _fisher(attack, control))


def compared(attack: Rate, control: Rate, baseline: Rate, p_value: float) -> Risk:
    """The interval of the difference is Newcombe's (1998, method 10) from the intervals of the two."""
    difference = combined([1, -1], [attack, control], attack.n + control.n)
    excess = max(-1.0, difference.value / (1 - control.value)) if control.value < 1 else 0.0
    return Risk(attack, control, baseline, difference, excess, p_value)


def _fisher(attack: tuple[int, int], control: tuple[int, int]) -> float:
    """The chance of so many of all successes on the attack's side (hypergeometric)."""
    from scipy.stats import hypergeom

    (hits, tries), (other_hits, others) = attack, control
    return float(hypergeom.sf(hits - 1, tries + others, hits + other_hits, tries))
