"""What an attacker learns of the patients from the synthetic ones: attacks on cohorts, in a privacy officer's words.

Members are the training patients, controls the holdout. Everything here reads real patients: it is outside epsilon and
stays inside, and its flags may block a release but never select from it (DESIGN.md, rule 8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from synthgen.auditing.exposed import exposed
from synthgen.auditing.notes import audit_notes
from synthgen.auditing.risks import audit_risks
from synthgen.auditing.subgroups import subgroups
from synthgen.findings import Evidence, Finding, Verdict
from synthgen.flags import Flag, Severity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from privacy.attacks.copies import Copies
    from privacy.attacks.membership import Membership
    from privacy.rates import Rate
    from synthgen.generator import Progress

    Floats = NDArray[np.float64]

Depth = Literal["quick", "standard", "deep"]

ERROR = 0.01
"""The chance that an honest cohort is convicted by any of these attacks: a quarter each for membership, copies, subgroups and the
risks of single patients, shared out among their tests (Bonferroni)."""
TOLERATED = 0.05
"""A membership AUC surely this far above guessing is a fail; one that may be, where n is too small to tell, is inconclusive."""
RESOLVED = 0.10
"""The widest half of a 95% interval of an AUC from which `no membership found` may be concluded: .6 would have been seen."""
FEWEST = 10
"""With fewer patients on either side nothing is attacked."""
TWINS = 0.5
"""Where more of the real patients than this are exactly like another, records hold too little to be copied."""


def audit(
    evidence: Evidence, claim_epsilon: float | None, depth: Depth = "quick", progress: Progress = lambda *_: None
) -> tuple[list[Finding], list[Flag]]:
    """All attacks that need nothing but the cohorts.

    Args:
        claim_epsilon: what the release would claim; None where nothing is claimed.
        depth: how much time the attacks may take.
    """
    fewest = min(len(evidence.train), len(evidence.holdout), len(evidence.synthetic))
    if fewest < FEWEST:
        text = f"Attacks need {FEWEST} training, holdout and synthetic patients each; there are fewer. Nothing was audited."
        return [Finding("audit", "patients", fewest, "inconclusive", text, "audit", bound=FEWEST)], []
    features = _features(evidence)
    steps: list[tuple[str, Callable[[], tuple[list[Finding], list[Flag]]]]] = [
        ("membership", lambda: (_membership(*features, evidence, claim_epsilon, depth), [])),
        ("exposed", lambda: ([], exposed(*features, [str(p) for p in evidence.synthetic.ids], ERROR / 4))),
        ("copies", lambda: _copies(*features, evidence)),
        ("risks of single patients", lambda: (audit_risks(evidence, ERROR / 4), [])),
        ("notes", lambda: audit_notes(evidence)),
    ]
    findings: list[Finding] = []
    flags: list[Flag] = []
    for done, (name, step) in enumerate(steps):
        progress(name, done, len(steps))
        found, raised = step()
        findings += found
        flags += raised
    progress("done", len(steps), len(steps))
    return findings, flags


def _features(evidence: Evidence) -> tuple[Floats, Floats, Floats]:
    """[patients, features] of train, holdout and synthetic."""
    from synthgen.summaries import standardised, summaries

    tables = summaries([evidence.train, evidence.holdout, evidence.synthetic], evidence.dictionary)
    train, holdout, synthetic = standardised(tables, tables[:2])
    return train, holdout, synthetic


# Membership ---------------------------------------------------------------------------------------------------------------
def _membership(
    train: Floats, holdout: Floats, synthetic: Floats, evidence: Evidence, claim_epsilon: float | None, depth: Depth
) -> list[Finding]:
    from privacy.attacks.classifier import classifier_scores
    from privacy.attacks.density_ratio import density_ratio_scores
    from privacy.attacks.distance import distance_scores
    from privacy.attacks.membership import membership

    rng = evidence.rng
    scores = {
        "distance": (distance_scores(train, synthetic), distance_scores(holdout, synthetic)),
        "density ratio": density_ratio_scores(train, holdout, synthetic, rng),
    }
    if depth != "quick":
        scores["classifier"] = classifier_scores(train, holdout, synthetic, rng)
    results = [membership(n, *s, rng, attacks=len(scores), error=ERROR / 4) for n, s in scores.items()]
    findings = [finding for result in results for finding in told_apart(result)]
    worst = subgroups(evidence, *scores["distance"], ERROR / 4)
    return [*findings, *worst, _resolution(results[0], claim_epsilon)]


def told_apart(result: Membership, check: str = "membership") -> list[Finding]:
    """What a membership attack found, as findings of this check."""
    area, name = result.auc, result.attack
    verdict = membership_verdict(result)
    outcome = {
        "fail": "Training patients can be told from others: the synthetic cohort gives away who took part. Suspect memorised "
        "or copied records, too little noise, or a clip that was left out.",
        "pass": "It does not tell training patients from others."
        if area.low <= 0.5
        else "By itself that would be a little more than guessing; among so many attacks it is within chance.",
        "inconclusive": "That cannot be told from guessing, nor can leakage be ruled out."
        if result.corrected_low <= 0.5
        else "That is more than guessing, yet not surely more than is tolerated.",
    }
    text = (
        f"The {name} attack names the training patient of a pair (one trained on, one not) {_percent(area.value)} of the time "
        f"(95% interval {_percent(area.low)} to {_percent(area.high)}; guessing is 50%). {outcome.get(verdict, '')}"
    )
    findings = [_rate_finding(check, f"auc_{_slug(name)}", area, verdict, text, bound=0.5 + TOLERATED)]
    for fpr, rate in ((0.01, result.tpr_at_1), (0.10, result.tpr_at_10)):
        resolved = result.smallest_fpr <= fpr
        reading = (
            f"At {fpr:.0%} false alarms the {name} attack finds {_percent(rate.value)} of the training patients"
            if resolved
            else f"With {round(1 / result.smallest_fpr)} controls {fpr:.0%} false alarms cannot be resolved; without any false "
            f"alarm the {name} attack finds {_percent(rate.value)} of the training patients"
        )
        text = f"{reading} (95% interval {_percent(rate.low)} to {_percent(rate.high)} at this cut-off)."
        metric = f"tpr_at_{fpr * 100:.0f}_percent_fpr_{_slug(name)}"
        findings.append(_rate_finding(check, metric, rate, "information", text, floor=fpr))
    return findings


def membership_verdict(result: Membership) -> Verdict:
    """Fail: surely more than tolerated. Pass: no more than chance, on enough patients to have seen .6. Else inconclusive."""
    if result.corrected_low > 0.5 + TOLERATED:
        return "fail"
    half_width = max(result.auc.high - result.auc.value, result.auc.value - result.auc.low)
    return "pass" if result.corrected_low <= 0.5 and half_width <= RESOLVED else "inconclusive"


def _resolution(result: Membership, claim_epsilon: float | None) -> Finding:
    claimed = "nothing is claimed" if claim_epsilon is None else f"the claim is {claim_epsilon:.2f}"
    beyond = (
        " That is below the claim: however well this attack went, it could not refute it."
        if claim_epsilon is not None and result.ceiling < claim_epsilon
        else ""
    )
    text = (
        "What so few patients can show at best: were every training patient found and no other accused, epsilon would be proved "
        f"to be above {result.ceiling:.2f}; {claimed}.{beyond} The smallest false-positive rate these controls resolve is "
        f"{result.smallest_fpr:.1%}. An audit finds leaks; it never proves their absence: the guarantee is the accounting's."
    )
    return Finding(
        "membership",
        "epsilon_ceiling",
        result.ceiling,
        "information",
        text,
        "audit",
        n=result.auc.n,
        bound=claim_epsilon,
    )


# Copies -------------------------------------------------------------------------------------------------------------------
def _copies(train: Floats, holdout: Floats, synthetic: Floats, evidence: Evidence) -> tuple[list[Finding], list[Flag]]:
    from privacy.attacks.copies import copies

    result = copies(train, holdout, synthetic, evidence.rng)
    if result.twins > TWINS:
        text = f"{result.twins:.0%} of the real patients are exactly like another: that a record equals one says nothing here."
        return [_rate_finding("copies", "copied", result.share, "information", text), _sides(result)], []
    ids = [str(patient) for patient in evidence.synthetic.ids]
    copied = _copied(result)
    severity: Severity = "severe" if copied.verdict == "fail" else "moderate" if not len(result.exact) else "mild"
    flags = [_copy_flag(ids[row], "its whole summary equals that of", severity, 1.0) for row in result.exact]
    flags += [
        _copy_flag(ids[row], "it lies nearer than any two real patients lie to", severity, 0.5) for row in result.near
    ]
    return [copied, _sides(result)], flags


def _copied(result: Copies) -> Finding:
    from scipy.stats import binom

    count, by_chance = len(result.exact) + len(result.near), round(result.control.value * result.control.n)
    chance = result.twins > 0 and result.share.value <= result.control.high
    if not len(result.exact):  # near ones alone: as many of the holdout would be chance, and so are few
        chance = binom.sf(count - 1, count + by_chance, result.expected) > ERROR / 4
    verdict: Verdict = "pass" if count == 0 else "inconclusive" if chance else "fail"
    outcome = {
        "pass": "No record was handed on.",
        "inconclusive": "So many may be chance: look at them.",
        "fail": "Real patients do not repeat each other so; these records were handed on. Suspect a generator that memorises.",
    }[verdict]
    text = f"{count} synthetic patients are (nearly) copies of a training patient, {by_chance} of a holdout patient. {outcome}"
    return _rate_finding("copies", "copied", result.share, verdict, text, floor=result.control.value, bound=0.0)


def _sides(result: Copies) -> Finding:
    verdict: Verdict = "fail" if result.p_value <= ERROR / 4 else "pass"
    outcome = (
        "Chance does not do that: the synthetic patients were drawn towards those trained on."
        if verdict == "fail"
        else "That is what chance does."
    )
    share = result.closer
    text = (
        f"Of the synthetic patients, {_percent(share.value)} have a training patient as their nearest real one; chance puts it "
        f"at {_percent(result.expected)} (95% of the time between {_percent(share.low)} and {_percent(share.high)}, "
        f"p = {result.p_value:.2g}). {outcome}"
    )
    return Finding(
        "copies", "nearest_is_trained", share.value, verdict, text, "audit", n=share.n, floor=result.expected, bound=share.high,
        better="lower",
    )  # fmt: skip


def _copy_flag(patient: str, how: str, severity: Severity, score: float) -> Flag:
    chance = "" if severity == "severe" else " It may be chance: so few are no proof, or real patients are as alike."
    text = f"Copy of a training patient: {how} a patient who was trained on.{chance}"
    return Flag(patient, "copy", severity, text, reads_real_data=True, score=score)


# Words --------------------------------------------------------------------------------------------------------------------
def _rate_finding(
    check: str,
    metric: str,
    rate: Rate,
    verdict: Verdict,
    text: str,
    floor: float | None = None,
    bound: float | None = None,
) -> Finding:
    return Finding(
        check,
        metric,
        rate.value,
        verdict,
        text,
        "audit",
        rate.low,
        rate.high,
        rate.n,
        floor=floor,
        bound=bound,
        better="lower",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _slug(name: str) -> str:
    return name.lower().replace(" ", "_")
