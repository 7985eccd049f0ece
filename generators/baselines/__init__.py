"""Peers as generators, to be measured in the same pipeline. They reveal their patients: their runs are never releasable."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`SDVCopula`, loaded when it is asked for: it needs the extra `baselines`."""
    if name == "SDVCopula":
        from generators.baselines.sdv_copula import SDVCopula

        return SDVCopula
    raise AttributeError(f"module generators.baselines has no attribute {name}")
