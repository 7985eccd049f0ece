"""What the patients added: every measure beside what public knowledge alone scores (the same generator, epsilon 0)."""

from __future__ import annotations

from collections.abc import Sequence

from synthgen.findings import Finding

CHANCE = 0.05
"""The share of measures that may look better by chance: each interval is missed above in one case of forty."""


def gained(findings: Sequence[Finding]) -> list[Finding]:
    """One finding in words, `gain/patients`: the share of measures on which the patients added something beyond chance. None at
    all where nothing was public, or nothing was measured."""
    gains = {f.name: f.gain for f in findings if f.gain is not None}
    if not gains:
        return []
    better = [name for name, (_, low, _) in gains.items() if low > 0]
    worse = [name for name, (_, _, high) in gains.items() if high < 0]
    text = f"Beside public knowledge alone (epsilon 0), patients made {len(better)} of {len(gains)} measures better beyond "
    text += f"chance: {', '.join(better)}" if better else "chance"
    text += f"; noise made {len(worse)} worse: {', '.join(worse)}." if worse else "."
    if len(better) <= max(len(worse), len(gains) * CHANCE):
        text = (
            f"THE PATIENTS ADDED NOTHING that can be measured: this cohort is public knowledge drawn at a cost. {text}"
        )
    return [Finding("gain", "patients", len(better) / len(gains), "information", text, "utility", n=len(gains))]
