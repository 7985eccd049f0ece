"""Phenotypes as static columns: a column of `patients` whose `code` is an HPO term says whether the patient has it.

So a phenotype record can condition pictures and notes, which read `patients`, and a generator of records that knows nothing of
ontologies (ehr) can learn terms as static columns. What implies a term counts as the term, and an excluded ancestor excludes it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synthgen.errors import ConfigError

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary
    from synthgen.ontology import Ontology

OBSERVED, EXCLUDED = ("observed", "yes"), ("excluded", "no")


def term_columns(dictionary: Dictionary) -> dict[str, Column]:
    """The columns of `patients` that are HPO terms.

    Raises:
        ConfigError: for one whose categories are not observed and excluded (or yes and no), or that must not be missing.
    """
    columns = dictionary.tables["patients"].columns
    found = {name: c for name, c in columns.items() if c.discrete and (c.code or "").startswith("HP:")}
    for name, column in found.items():
        if {*(column.categories or ())} not in ({"observed", "excluded"}, {"yes", "no"}) or not column.missing:
            raise ConfigError(
                f"patients.{name}: a column with the code of an HPO term needs categories: [observed, excluded] or [yes, no], "
                "and missing: true for patients in whom it was not assessed"
            )
    return found


def with_terms(cohort: Cohort, dictionary: Dictionary, ontology: Ontology) -> Cohort:
    """The same patients, with every term column filled from `phenotypes`: missing where a term was not assessed.

    Raises:
        ConfigError: as in `term_columns`.
        DataError: for a term that the ontology does not know.
    """
    import pandas as pd

    columns, table = term_columns(dictionary), cohort.phenotypes
    if not columns or table is None:
        return cohort
    patients = cohort.patients.copy()
    current = table["term"].map(ontology.current)
    status = table["status"].astype(str)
    for name, column in columns.items():
        term = str(column.code)
        below, above = ontology.descendants(term), ontology.ancestors(term)
        has = cohort.ids.isin(table.loc[current.isin(below) & (status == "observed"), "patient_id"])
        lacks = cohort.ids.isin(table.loc[current.isin(above) & (status == "excluded"), "patient_id"])
        kind = pd.CategoricalDtype(list(column.categories or ()), ordered=column.type == "ordinal")
        yes, no = (next(w for w in column.categories or () if w in words) for words in (OBSERVED, EXCLUDED))
        words = np.where(has, yes, np.where(lacks, no, ""))
        patients[name] = pd.Series(pd.Categorical(words, dtype=kind))  # no word: not assessed
    return replace(cohort, patients=patients)
