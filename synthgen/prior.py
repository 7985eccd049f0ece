"""What public knowledge alone makes: patients that a dictionary implies, and a page on which a specialist can judge it.

No file of patients is opened here; epsilon is 0.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privacy.errors import ConfigError, WorkspaceError
from synthgen.config import Job
from synthgen.device import resolve
from synthgen.randomness import child_seed, generator

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary
    from synthgen.generator import Progress


def public_patients(job: Job, cache: Path, patients: int, seed: int, progress: Progress) -> Cohort:
    """Patients of the job's generators as they are before they meet any patient: what a run of this job starts from. They have
    no images or notes where that generator knows nothing public.

    Raises:
        ConfigError: when the generator of records knows nothing public (a baseline).
    """
    from synthgen.linking import Linked

    linked = Linked.of(job, job.dictionary, resolve(job.device))
    for model in linked.all.values():
        model.pretrain(child_seed(job.seed, "train"), cache, progress)
    rng = generator(job.seed, "prior", seed)
    name, record = linked.record
    try:
        cohort = record.sample(patients, rng)
    except WorkspaceError:
        raise ConfigError(f"generators.{name}: knows nothing public, so there is no prior to look at") from None
    for _, other in linked.others:
        with contextlib.suppress(WorkspaceError):
            cohort = other.extend(cohort, rng)
    return cohort


def write_pictures(folder: Path, job: Job, cohort: Cohort) -> Path:
    """prior.html in an existing folder: one page that needs no network and no script."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    from privacy.files import write_durably
    from synthgen.report import cohort_charts

    dictionary = job.dictionary
    environment = Environment(
        loader=PackageLoader("synthgen.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    styles = Path(cohort_charts.__file__).parent / "report.css"
    text = environment.get_template("prior.html").render(
        css=styles.read_text(encoding="utf-8"),
        job=job.name,
        dictionary=dictionary,
        patients=len(cohort),
        visits=None if cohort.visits is None else _visits(cohort),
        trajectories=Markup(cohort_charts.trajectories(cohort, None, dictionary)),
        survival=Markup(cohort_charts.kaplan_meier(cohort, None, dictionary)),
        columns=implied(cohort, dictionary),
    )
    page = folder / "prior.html"
    write_durably(page, text.encode())
    return page


def implied(cohort: Cohort, dictionary: Dictionary) -> list[tuple[str, str, str, str]]:
    """(column, what it is like at the first visit, missing over all rows, where the dictionary has it from) of each column."""
    found = []
    for table, columns in (("patients", dictionary.tables["patients"].columns), ("visits", dictionary.measurements)):
        frame = cohort.tables.get(table)
        if frame is None:
            continue
        first = frame.drop_duplicates("patient_id")
        for name, column in columns.items():
            if column.numeric or column.discrete:
                source = column.knowledge.source if column.knowledge else "nothing stated: bounds and scale only"
                missing = f"{frame[name].isna().mean():.0%}" if column.missing else ""
                found.append((column.label or name.replace("_", " "), _like(column, first[name]), missing, source))
    return found


def _like(column: Column, values: pd.Series[Any]) -> str:
    """A column in words."""
    known = values.dropna()
    if known.empty:
        return "never recorded"
    if column.discrete:
        shares = known.value_counts(normalize=True)
        return ", ".join(f"{c} {shares.get(c, 0.0):.0%}" for c in column.categories or ())
    low, middle, high = known.astype("float64").quantile([0.1, 0.5, 0.9])
    return f"{middle:.3g} ({low:.3g} to {high:.3g}){f' {column.unit}' if column.unit else ''}"


def _visits(cohort: Cohort) -> str:
    assert cohort.visits is not None
    low, middle, high = cohort.visits.groupby("patient_id").size().quantile([0.1, 0.5, 0.9])
    gap = cohort.visits.groupby("patient_id")["day"].diff().median()
    return f"{middle:.0f} visits a patient ({low:.0f} to {high:.0f}), {gap:.0f} days apart at the median"
