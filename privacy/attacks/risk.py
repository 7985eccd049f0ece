"""What an attack on single patients is worth: attack, control and baseline, as Anonymeter has it (Giomi et al. 2023).

The *attack* guesses at training patients, the *control* makes the same guesses at holdout patients, whom the generator never
saw: what succeeds there is what the population tells of anybody. The *baseline* guesses without the synthetic cohort. An
attack no better than its baseline measured nothing, and is said to be weak.
"""

from __future__ import annotations

from dataclasses import dataclass

from privacy.rates import Rate, wilson


@dataclass(frozen=True)
class Risk:
    """What is read for a verdict is `difference`, attack - control."""

    attack: Rate
    control: Rate
    baseline: Rate
    difference: Rate
    excess: float
    """(attack - control) / (1 - control), Anonymeter's risk: of what the population does not tell anyway, how much the synthetic
    cohort tells of those it was trained on."""

    @property
    def weak(self) -> bool:
        """Whether the attack is no better than guessing, so that a low risk says nothing."""
        return self.attack.value <= self.baseline.value


def risk(
    attack: tuple[int, int], control: tuple[int, int], baseline: tuple[int, int], confidence: float = 0.95
) -> Risk:
    """From (successes, tries) of each."""
    return compared(*(wilson(*counts, confidence) for counts in (attack, control, baseline)))


def compared(attack: Rate, control: Rate, baseline: Rate) -> Risk:
    """The interval of the difference is Newcombe's (1998, method 10) from the intervals of the two."""
    value = attack.value - control.value
    low = value - ((attack.value - attack.low) ** 2 + (control.high - control.value) ** 2) ** 0.5
    high = value + ((attack.high - attack.value) ** 2 + (control.value - control.low) ** 2) ** 0.5
    excess = max(-1.0, value / (1 - control.value)) if control.value < 1 else 0.0
    return Risk(attack, control, baseline, Rate(value, low, high, attack.n + control.n), excess)
