"""How values are said to a clinician."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthgen.dictionary import Column

SLIPS = (10.0, 100.0, 1000.0)
"""Powers of ten that a decimal point or a prefix of a unit is off by."""
CONVERSIONS = {
    "LOINC:1975-2": 17.1, "LOINC:1968-7": 17.1, "LOINC:2160-0": 88.4, "LOINC:2345-7": 18.02, "LOINC:2093-3": 38.67,
    "LOINC:2085-9": 38.67, "LOINC:18262-6": 38.67, "LOINC:17861-6": 4.008, "LOINC:3094-0": 2.8, "LOINC:3084-1": 59.48,
    "LOINC:1751-7": 10.0, "LOINC:718-7": 10.0, "LOINC:4548-4": 10.93, "LOINC:2498-4": 5.585,
}  # fmt: skip
"""LOINC code -> factor between the conventional unit and the SI unit (Young & Huth 1998, SI Units for Clinical Measurement)."""
CLOSE = 0.45
"""How near a ratio must come to a slip's factor, in natural-log units."""


def label(name: str, column: Column) -> str:
    """What a column is called."""
    return column.label or name.replace("_", " ")


def amount(value: float, column: Column) -> str:
    """A value with its unit, rounded as its column is."""
    digits = 0 if column.type == "integer" else column.decimals
    said = f"{value:.3g}" if digits is None else f"{round(value, digits):.12g}"
    return f"{said} {column.unit}" if column.unit else said


def listed(parts: list[str], most: int = 4) -> str:
    """The first few, and how many more."""
    return ", ".join(parts[:most]) + (f" and {len(parts) - most} more" if len(parts) > most else "")


def seldom(chance: float) -> str:
    """A chance as clinicians say it."""
    for power in (6, 5, 4, 3):
        if chance <= 1.5 * 10.0**-power:
            return f"fewer than 1 in {10**power:,} simulated patients do"
    return f"about 1 in {max(2, round(1 / chance)):,} simulated patients does"


def slip(column: Column, value: float, expected: float) -> str:
    """Half a sentence that says by which factor a value is off, where decimal point or unit would explain it; else nothing."""
    if not (value > 0 and expected > 0):
        return ""
    ratio = math.log(value / expected)
    factors = (*SLIPS, *([CONVERSIONS[column.code]] if column.code in CONVERSIONS else []))
    nearest = min(factors, key=lambda f: abs(abs(ratio) - math.log(f)))
    if abs(abs(ratio) - math.log(nearest)) > CLOSE:
        return ""
    share, way = math.exp(abs(ratio)), "times as high as" if ratio > 0 else "times lower than"
    by = f"{share:.0f}" if share >= 10 else f"{share:.1f}"
    return f": about {by} {way} expected ({amount(expected, column)}), as a slip of the decimal point or of the unit makes it"
