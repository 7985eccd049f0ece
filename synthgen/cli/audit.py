"""Attack anybody's synthetic cohort: who was in the training data, who was copied, what could be inferred of whom.

Give the real patients it was made from, other real patients of the same population whom its maker never saw (the control), and
the synthetic cohort, each a folder of tables. Everything printed and written reads real patients: it stays inside. Exit code 1
when an attack succeeds.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synthgen.cli.console import Json, emit

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary
    from synthgen.findings import Finding
    from synthgen.flags import Flag


def command(
    real: Annotated[Path, typer.Option(help="Folder of the patients it was made from.")],
    holdout: Annotated[Path, typer.Option(help="Folder of real patients its maker never saw.")],
    synthetic: Annotated[Path, typer.Option(help="Folder of the synthetic cohort.")],
    dictionary: Annotated[
        Path | None, typer.Option(help="The data dictionary, cohort.yaml; default: one drafted from --real.")
    ] = None,
    depth: Annotated[
        Literal["quick", "standard", "deep"], typer.Option(help="How long the attacks may take.")
    ] = "standard",
    claim: Annotated[float | None, typer.Option(help="The epsilon that is claimed for it, if any.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder to write report.html and report.json into.")] = None,
    seed: Annotated[int, typer.Option(help="For the attacks' own randomness.")] = 0,
    as_json: Json = False,
) -> None:
    from synthgen.auditing.cohorts import audit
    from synthgen.findings import Evidence
    from synthgen.progress import progress
    from synthgen.randomness import generator

    known = _dictionary(dictionary, real)
    bar = progress()
    bar.stage("read")
    cohorts, breaches = _read(real, holdout, synthetic, known, drafted=dictionary is None)
    train, control, made = cohorts
    bar.stage("audit")
    findings, flags = audit(Evidence(known, train, control, made, train, generator(seed, "audit")), claim, depth, bar)
    bar.finish()
    if report is not None:
        _write(report, known, cohorts, findings, flags)
    counts = Counter(f.verdict for f in findings)
    payload = {
        "cohort": known.name,
        "verdicts": dict(counts),
        "findings": [vars(f) | {"name": f.name} for f in findings],
        "flags": [vars(f) for f in flags],
        "breaches": breaches,
        "selection": SELECTION,
    }
    emit(payload, _text(findings, flags, breaches), as_json)
    if counts["fail"]:
        raise typer.Exit(1)


SELECTION = (
    "Removing the flagged patients does not mend this: the choice would depend on the real patients, no noise covers it, and any "
    "differential-privacy claim is lost for what is left; no finite epsilon stands in its place. Accepting or refusing the "
    "cohort because of this audit is outside epsilon too. Every run on these patients counts, released or not."
)


def _dictionary(path: Path | None, real: Path) -> Dictionary:
    import yaml

    from synthgen.dictionary import Dictionary, parse, read_dictionary

    if path is not None:
        return read_dictionary(path / "cohort.yaml" if path.is_dir() else path)
    from synthgen.drafting import draft

    return parse(Dictionary, yaml.safe_load(draft(real).text), f"the dictionary drafted from {real}")


def _read(
    real: Path, holdout: Path, synthetic: Path, dictionary: Dictionary, drafted: bool
) -> tuple[tuple[Cohort, Cohort, Cohort], list[str]]:
    """Train, holdout and synthetic, with the breaches of the synthetic one. A drafted dictionary knows the bounds of --real only:
    then breaches of the holdout are let pass."""
    from dataclasses import replace

    from synthgen.storage import read_cohort, read_foreign

    train = read_cohort(real, dictionary)
    control = (
        replace(read_foreign(holdout, dictionary)[0], origin="real") if drafted else read_cohort(holdout, dictionary)
    )
    _must_be_others(train, control)
    made, breaches = read_foreign(synthetic, dictionary)
    shared = set(train.tables) & set(control.tables) & set(made.tables)
    lacking: dict[str, None] = {t: None for t in train.tables if t not in shared}
    return (replace(train, **lacking), replace(control, **lacking), made), breaches  # type: ignore[arg-type]


def _must_be_others(train: Cohort, control: Cohort) -> None:
    """A control that was trained on makes every attack look harmless."""
    from privacy.errors import DataError
    from privacy.identity import spelled
    from synthgen.conformance import rows

    if shared := len({spelled(i) for i in train.ids} & {spelled(i) for i in control.ids}):
        raise DataError(
            f"--holdout: {rows(shared, 'ids')} stand in --real too. A control must be patients who were not trained on: with "
            "others among them no attack would show; leave them out, or rename ids that only look alike"
        )


def _write(
    folder: Path,
    dictionary: Dictionary,
    cohorts: tuple[Cohort, Cohort, Cohort],
    findings: list[Finding],
    flags: list[Flag],
) -> None:
    from synthgen.claim import Claim
    from synthgen.flagging import flag
    from synthgen.report import ReportContext, write_report

    train, control, made = cohorts
    folder.mkdir(parents=True, exist_ok=True)
    unknown = ("it was made elsewhere, and what was done to its patients is not known here",)
    claim = Claim(dictionary.name, dictionary.title, dictionary.declared_patients, void=unknown)
    queue = flag(made, dictionary, flags)
    write_report(
        folder, ReportContext("audit", "audit", dictionary, claim, made, None, findings, queue, train, control)
    )


def _text(findings: list[Finding], flags: list[Flag], breaches: list[str]) -> str:
    lines = [f"{f.verdict.upper():<12} {f.name}: {f.text}" for f in findings]
    if flags:
        lines.append(
            f"{len(flags)} synthetic patients are flagged, for instance {', '.join(f.patient_id for f in flags[:5])}."
        )
    if breaches:
        lines.append(f"The synthetic cohort breaks its dictionary in {len(breaches)} ways, for instance: {breaches[0]}")
    return "\n".join([*lines, SELECTION])
