"""Electronic health records: static columns, visits, coded events and time to event, of one patient at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generators.ehr.generator import EHRVAE

__all__ = ["EHRVAE"]


def __getattr__(name: str) -> Any:
    """torch is loaded when the generator is asked for, not when the package is."""
    if name == "EHRVAE":
        from generators.ehr.generator import EHRVAE

        return EHRVAE
    raise AttributeError(name)
