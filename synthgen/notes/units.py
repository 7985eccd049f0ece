"""Units as people write them: which spellings mean the same, and what a unit after a number can look like."""

from __future__ import annotations

import re
from functools import cache

SAME = (
    ("mg/dl", "mg%", "mg per dl", "mg per decilitre", "mg per deciliter"),
    ("g/dl", "g%", "g per dl", "gm/dl"),
    ("g/l", "g per l"),
    ("mg/l",),
    ("mmol/l",),
    ("umol/l", "micromol/l"),
    ("nmol/l",),
    ("ng/ml",),
    ("pg/ml",),
    ("ug/l", "mcg/l"),
    ("ug/dl", "mcg/dl"),
    ("u/l", "iu/l", "units/l", "units per litre", "units per liter"),
    ("mu/l", "miu/l"),
    ("meq/l",),
    ("10*3/ul", "10^3/ul", "103/ul", "x10*3/ul", "x10^3/ul", "x 10^3/ul", "k/ul", "10*9/l", "10^9/l", "x10^9/l", "x 10^9/l",
     "109/l", "thousand/ul", "thousand per microlitre", "thousand per microliter"),
    ("10*6/ul", "10^6/ul", "10*12/l", "10^12/l", "x10^12/l"),
    ("/ul",),
    ("%", "percent", "per cent"),
    ("s", "sec", "secs", "second", "seconds"),
    ("min", "mins", "minute", "minutes"),
    ("h", "hr", "hrs", "hour", "hours"),
    ("d", "day", "days"),
    ("wk", "week", "weeks"),
    ("mo", "month", "months"),
    ("years", "year", "yr", "yrs", "y", "a"),
    ("mg", "milligram", "milligrams"),
    ("g", "gram", "grams"),
    ("ug", "mcg", "microgram", "micrograms"),
    ("kg",),
    ("ml",),
    ("l", "litre", "litres", "liter", "liters"),
    ("mmhg", "mm hg", "mm[hg]"),
    ("cm",),
    ("mm",),
    ("m", "metre", "metres", "meter", "meters"),
    ("kg/m2", "kg/m^2", "kg/m²"),
    ("ml/min", "ml/minute"),
    ("units", "unit"),
)  # fmt: skip
TIME = frozenset(form for group in SAME for form in group if {"min", "h", "d", "wk", "mo", "years"} & {*group}) - {"a"}
"""Units in which one says how long ago something was (seconds are measured)."""


def plain(unit: str) -> str:
    """Lower case, micro as u, one kind of power sign."""
    written = unit.strip().lower().replace("µ", "u").replace("μ", "u").replace("³", "^3").replace("⁹", "^9")
    return re.sub(r"\s+", " ", written.replace("×", "x").replace("{", "").replace("}", "").replace("[iu]", "iu"))


@cache
def forms(unit: str) -> frozenset[str]:
    """Every spelling that means the same as this unit, itself included."""
    written = plain(unit)
    return frozenset({written}).union(*(group for group in SAME if written in group))


@cache
def pattern(unit: str | None = None) -> re.Pattern[str]:
    """What a unit right after a number looks like: any known one, and the given one."""
    known = {form for group in SAME for form in group if form not in ("a", "y")} | (
        forms(unit) if unit else frozenset()
    )
    alternatives = sorted(
        (re.escape(form).replace("u", "[uµμ]").replace(r"\ ", r"\s") for form in known), key=lambda p: (-len(p), p)
    )
    return re.compile(rf"\s?(?:{'|'.join(alternatives)})(?![\w/*^])", re.IGNORECASE)
