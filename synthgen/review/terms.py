"""What a code of the Human Phenotype Ontology stands for, and what it means, where the ontology is installed."""

from __future__ import annotations

import functools

from synthgen.errors import SynthgenError


@functools.lru_cache(maxsize=4096)
def label(term: str) -> str:
    """The term's name; the term itself where it is unknown or no ontology is at hand."""
    from synthgen.ontology import read_ontology

    try:
        return read_ontology().name(term)
    except SynthgenError:
        return term


@functools.lru_cache(maxsize=4096)
def definition(term: str) -> str:
    """What the term means, in HPO's words; empty where it is unknown, undefined, or no ontology is at hand."""
    from synthgen.ontology import read_ontology

    try:
        return read_ontology().definition(term)
    except SynthgenError:
        return ""
