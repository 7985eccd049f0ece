"""The release: refused with all reasons, or a signed bundle that holds no number from inside."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgen.cards import croissant, model_card
from synthgen.errors import NotReleasable, WorkspaceError
from synthgen.gate import by_name, objections, to_drop
from synthgen.hashes import differences, sha256_in
from synthgen.queue import among
from synthgen.report import artefacts, write_report

if TYPE_CHECKING:
    from synthgen.report import ReportContext

BUNDLE = "release"
SUMS = "SHA256SUMS"
MARK = "SYNTHETIC DATA: no row describes a person."


def release(
    folder: Path,
    context: ReportContext,
    signed_by: str,
    accept: Mapping[str, str] | None = None,
    unfinished: Sequence[str] = (),
) -> Path:
    """Writes the bundle `release/` into a run's folder, all of it or nothing, and returns its path.

    Who signed, what was accepted by whom and which patients were left out is recorded beside it, in release.json, inside.

    Args:
        context: what the run's report was made of.
        signed_by: the person who releases.
        accept: names of inconclusive findings, or `CHECK/*` -> the person who accepts them; recorded one by one.
        unfinished: stages of the run that have not finished.

    Raises:
        NotReleasable: with every reason against it.
        WorkspaceError: when the folder cannot be written, or holds a release already.
    """
    accept = by_name(context.findings, accept or {})
    reasons = [*_of_run(folder, context, signed_by, unfinished), *objections(context, accept)]
    if reasons:
        raise NotReleasable(reasons)
    target = folder / BUNDLE
    if target.exists():
        raise WorkspaceError(f"{target}: there is a release already, and none is ever overwritten; move it away first")
    dropped = to_drop(context)
    left = _without(context, dropped)
    signature = {"signed_by": signed_by.strip(), "released_on": datetime.now(UTC).date().isoformat()}
    _write_json(folder / "release.json", {**signature, "accepted": accept, "dropped": sorted(dropped)})
    _publish(folder, target, left, signature)
    return target


def verify(bundle: Path) -> list[str]:
    """One sentence for each fault of a bundle: files missing, changed or added since it was written. None when it is whole."""
    sums = bundle / SUMS
    if not sums.is_file():
        return [f"{SUMS} is missing"]
    lines = [line.partition("  ") for line in sums.read_text(encoding="utf-8").splitlines()]
    found = sha256_in(bundle)
    found.pop(SUMS)
    return differences({name: digest for digest, _, name in lines}, found)


def _of_run(folder: Path, context: ReportContext, signed_by: str, unfinished: Sequence[str]) -> list[str]:
    """Reasons that lie in the run's folder, not in what was found."""
    reasons = [] if signed_by.strip() else ["nobody signs it: name the person who releases"]
    if unfinished:
        reasons.append(f"the run has not finished ({', '.join(unfinished)}): `synthgen resume {context.run}`")
    marks = sorted({p.name.lower() for p in folder.glob("answers/*/*") if p.name.isupper()})
    if marks and context.claim.guarantee:
        reasons.append(f"a generator left a mark that takes away the guarantee: {', '.join(marks)}")
    return reasons + _changed(folder)


def _changed(folder: Path) -> list[str]:
    """What differs from what the run's report stands for."""
    try:
        recorded = json.loads((folder / "report.json").read_text(encoding="utf-8"))["artefacts"]
    except (OSError, ValueError, KeyError, TypeError):
        return ["report.json is missing or corrupt, so nobody knows what was looked at"]
    return [f"{fault} since the report" for fault in differences(recorded, artefacts(folder))]


def _without(context: ReportContext, dropped: frozenset[str]) -> ReportContext:
    """The context after leaving out patients by rules that never looked at a real one."""
    kept = [patient for patient in context.synthetic.ids if patient not in dropped]
    return replace(
        context,
        synthetic=context.synthetic.of(kept),
        claim=context.claim.without(len(context.synthetic) - len(kept)),
        flags=tuple(among(context.flags, frozenset(kept))),
    ).for_release()


def _publish(folder: Path, target: Path, context: ReportContext, signature: Mapping[str, str]) -> None:
    """Builds the bundle aside and gives it its name once all of it is on the disk."""
    try:
        aside = Path(tempfile.mkdtemp(dir=folder, prefix=".release-"))
        try:
            _fill(aside, context, signature)
            aside.chmod(0o750)
            aside.rename(target)
            _flush(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise WorkspaceError(f"{target}: cannot be written ({error.strerror}). Nothing was released") from None


def _fill(aside: Path, context: ReportContext, signature: Mapping[str, str]) -> None:
    from privacy.files import write_durably
    from synthgen.storage import write_cohort

    write_cohort(context.synthetic, aside, ("parquet", "csv"))
    write_report(aside, context, "release")
    _write_json(aside / "claim.json", {"mark": MARK, "run": context.run, **signature, **context.claim.as_dict()})
    write_durably(aside / "CLAIM.md", context.claim.as_markdown().encode())
    write_durably(aside / "cohort.yaml", _dictionary(context).encode())
    write_durably(aside / "README.txt", _readme(context, signature).encode())
    write_durably(aside / "MODEL_CARD.md", model_card(context).encode())
    _write_json(aside / "croissant.json", croissant(context, signature["released_on"], sha256_in(aside)))
    sums = "".join(f"{digest}  {name}\n" for name, digest in sha256_in(aside).items())
    write_durably(aside / SUMS, sums.encode())


def _dictionary(context: ReportContext) -> str:
    """The data dictionary of the bundle's files: everything in it is public, and nothing in it tells of the hospital's files."""
    import yaml

    from synthgen.storage import as_written

    content = as_written(context.dictionary, "synthetic").model_dump(mode="json", exclude_defaults=True)
    return f"# {MARK}\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _readme(context: ReportContext, signature: Mapping[str, str]) -> str:
    about = context.dictionary
    tables = "\n".join(
        f"  synthetic_{t}.parquet, .csv   {len(rows):,} rows" for t, rows in context.synthetic.tables.items()
    )
    origin = "".join(
        f"{label}: {text}\n" for label, text in (("Provenance", about.provenance), ("Licence", about.licence)) if text
    )
    return f"""{MARK}

{about.title}
{len(context.synthetic):,} synthetic patients, run {context.run}
Released by {signature["signed_by"]} on {signature["released_on"]}

{context.claim.headline}. CLAIM.md says in words what that means, claim.json in numbers.

{tables}
  cohort.yaml                  what each column means: type, unit, bounds, categories
  croissant.json               the same for machines: Croissant with responsible-AI fields
  MODEL_CARD.md                how it was made, what for, and what not for
  CLAIM.md, claim.json         what is promised to every patient, and what is not
  report.html, report.json     the synthetic cohort in pictures
  {SUMS}                   check that nothing changed: sha256sum -c {SUMS}

{origin}Results found here are to be confirmed in real patients before anybody is treated by them.
"""


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    from privacy.files import write_durably

    write_durably(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def _flush(folder: Path) -> None:
    """The folder's entries on the disk, not only in its cache."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
