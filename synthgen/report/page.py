"""The report as one HTML page that needs no network and no script, and the same as JSON."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from synthgen.claim import up
from synthgen.gate import objections, to_drop
from synthgen.queue import for_release, patients_of
from synthgen.report.contact_sheet import address, contact_sheet
from synthgen.report.places import places
from synthgen.report.scorecard import scorecard
from synthgen.triage import MARGIN, looks_before

if TYPE_CHECKING:
    from synthgen.findings import Audience, Finding
    from synthgen.flags import Flag
    from synthgen.report.context import ReportContext

MARKS: dict[Audience, tuple[str, str]] = {
    "internal": ("INTERNAL", "INTERNAL: reads real data. This report stays inside the hospital."),
    "release": (
        "SYNTHETIC",
        "SYNTHETIC DATA: no row describes a person. Nothing in this report was computed from a real patient without noise.",
    ),
}
MOST_FLAGS = 200
MOST_REASONS = 12


def as_html(context: ReportContext, audience: Audience) -> str:
    """The page. For a release, `context` is `ReportContext.for_release()`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("synthgen.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"number": number, "up": up, "duration": duration, "code": code, "breakable": breakable}
    return environment.get_template("report.html").render(**_content(context, audience))


def as_dict(context: ReportContext, audience: Audience) -> dict[str, Any]:
    """The same for machines, without charts."""
    content: dict[str, Any] = {
        "format": 1,
        "audience": audience,
        "mark": MARKS[audience][1],
        "run": context.run,
        "job": context.job,
        "cohort": context.dictionary.name,
        "synthetic_patients": len(context.synthetic),
        "claim": context.claim.as_dict(),
        "findings": [asdict(f) | {"name": f.name} for f in context.findings],
        "flags": [asdict(f) for f in context.flags],
        "versions": dict(context.versions),
    }
    if audience == "internal":
        content |= {
            "spending": asdict(context.spending) if context.spending else None,
            "verdicts": _verdicts(context),
            "objections": objections(context, {}),
            "scorecard": [asdict(criterion) for criterion in scorecard(context, audience)],
            "stages": [asdict(s) for s in context.stages],
        }
    return content


def number(value: float | None) -> str:
    """Three significant digits."""
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def code(text: str) -> Markup:
    """Text with `commands` set as code."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def breakable(name: str) -> Markup:
    """A long name that may go on in the next line after / and _."""
    return Markup(re.sub(r"([/_])", r"\1<wbr>", str(escape(name))))


def _content(context: ReportContext, audience: Audience) -> dict[str, Any]:
    mark, in_words = MARKS[audience]
    by_section = {s: _in_section(context, s) for s in ("fidelity", "rules", "utility", "audit")}
    charts = _charts(context, by_section)
    return {
        "audience": audience,
        "mark": mark,
        "mark_in_words": in_words,
        "css": (Path(__file__).parent / "report.css").read_text(encoding="utf-8"),
        "run": context.run,
        "job": context.job,
        "dictionary": context.dictionary,
        "patients": len(context.synthetic),
        "claim": context.claim,
        "spending": context.spending,
        "counts": _verdicts(context),
        "objections": objections(context, {}),
        "scorecard": scorecard(context, audience),
        "most_reasons": MOST_REASONS,
        "charts": charts,
        "places": places(f for s in ("fidelity", "utility") for f in by_section[s] if f.verdict != "information"),
        "contact_sheet": contact_sheet(context.synthetic, context.dictionary),
        "sampling_steps": address(context.sampling_steps) if context.sampling_steps is not None else "",
        **by_section,
        "flags": context.flags,
        "most_flags": MOST_FLAGS,
        "twins": _twins,
        "looks": looks_before(context.synthetic.ids, for_release(context.flags)),
        "margin": MARGIN,
        "dropped": len(to_drop(context)),
        "stages": context.stages,
        "longest": max((s.seconds for s in context.stages), default=1) or 1,
        "total_time": duration(sum(s.seconds for s in context.stages)),
        "versions": context.versions,
        "sections": _sections(context, by_section, charts, audience),
    }


def _charts(context: ReportContext, by_section: dict[str, list[Finding]]) -> dict[str, Any]:
    from synthgen.cohort import concatenate
    from synthgen.report import cohort_charts, finding_charts
    from synthgen.report.calibration_chart import calibration
    from synthgen.report.subgroup_chart import subgroups
    from synthgen.report.tradeoff_chart import tradeoff

    halves = [cohort for cohort in (context.train, context.holdout) if cohort is not None]
    real = concatenate(halves) if halves else None
    synthetic, dictionary = context.synthetic, context.dictionary
    drawn = {
        "budget": finding_charts.budget(context.spending) if context.spending else "",
        "fidelity": finding_charts.scale([f for f in by_section["fidelity"] if f.column is None]),
        "utility": finding_charts.forest(
            [f for f in by_section["utility"] if _is_performance(f)], "value", "trained on real"
        ),
        "estimands": finding_charts.forest(
            [f for f in by_section["utility"] if f.check == "estimands"],
            "estimate",
            "real patients",
            0.0,
            "bound",
            True,
        ),
        "hazards": finding_charts.forest(
            [f for f in by_section["fidelity"] if f.check == "hazards" and f.column],
            "log hazard ratio for one standard deviation",
            "real patients",
            0.0,
            "bound",
            True,
        ),
        "subgroups": subgroups([*by_section["fidelity"], *by_section["utility"]]),
        "calibration": calibration(by_section["utility"]),
        "audit": finding_charts.forest(
            [f for f in by_section["audit"] if "auc" in f.metric.lower()], "AUC of the attack", even=0.5
        ),
        "tradeoff": tradeoff(context.claim.charges if context.claim.guarantee else (), by_section["audit"]),
        "trajectories": cohort_charts.trajectories(synthetic, real, dictionary),
        "survival": cohort_charts.kaplan_meier(synthetic, real, dictionary),
        "correlations": cohort_charts.correlation_difference(synthetic, real, dictionary) if real else "",
    }
    return {name: Markup(svg) for name, svg in drawn.items()}  # drawn here, text escaped by matplotlib


def _sections(
    context: ReportContext, by_section: dict[str, list[Finding]], charts: dict[str, Any], audience: Audience
) -> list[tuple[str, str]]:
    internal = audience == "internal"
    present = {
        ("claim", "Claim"): True,
        ("verdict", "Verdict"): internal,
        ("pictures", "The cohort in pictures"): bool(charts["trajectories"] or charts["survival"])
        or context.synthetic.images is not None,
        ("scorecard", "Scorecard"): True,
        ("budget", "Budget"): bool(context.spending or context.claim.charges),
        ("utility", "Utility"): bool(by_section["utility"]),
        ("fidelity", "Fidelity"): bool(by_section["fidelity"] or by_section["rules"]),
        ("audit", "Audit"): bool(by_section["audit"]),
        ("flags", "Flags"): internal or bool(context.flags),
        ("outside", "Outside the guarantee"): True,
        ("stages", "Time and memory"): bool(context.stages),
    }
    return [section for section, shown in present.items() if shown]


def _is_performance(finding: Finding) -> bool:
    """Whether it belongs in the picture of what models reach, beside those trained on real patients."""
    if finding.check == "utility":
        return finding.metric.startswith("tstr_") and finding.column is None
    return finding.check not in ("gain", "estimands", "model-ranking")


def _in_section(context: ReportContext, section: str) -> list[Finding]:
    return [f for f in context.findings if f.section == section]


def _verdicts(context: ReportContext) -> dict[str, int]:
    counts = Counter(f.verdict for f in context.findings)
    return {verdict: counts[verdict] for verdict in ("pass", "fail", "inconclusive", "information")}


def _twins(flag: Flag) -> int:
    return len(patients_of(flag)) - 1
