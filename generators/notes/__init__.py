"""Clinical notes: a causal language model that writes from one patient's record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generators.notes.generator import NoteLM

__all__ = ["NoteLM"]


def __getattr__(name: str) -> Any:
    """torch is loaded when the generator is asked for, not when the package is."""
    if name == "NoteLM":
        from generators.notes.generator import NoteLM

        return NoteLM
    raise AttributeError(name)
