"""No patient has a term whose ancestor is excluded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from fidelity.phenotypes.profiles import profiles_of
from synthgen.findings import Check, Evidence, Finding
from synthgen.ontology import read_ontology


class ExclusionConsistency:
    """No synthetic patient has an excluded term that an observed one implies. Reads synthetic patients alone."""

    name: str = "phenotype-consistency"
    section: Literal["fidelity", "utility", "rules"] = "rules"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if "phenotypes" not in evidence.dictionary.tables or evidence.synthetic.phenotypes is None:
            return []
        found = profiles_of(evidence.synthetic, evidence.dictionary, read_ontology()).contradictions
        text = f"{found} synthetic patients have a term excluded that another of their terms implies."
        return [Finding(self.name, "contradictions", float(found), "fail" if found else "pass", text, section="rules",
                        n=len(evidence.synthetic), bound=0.0, better="lower", audience="release")]  # fmt: skip


if TYPE_CHECKING:
    _: Check = ExclusionConsistency()
