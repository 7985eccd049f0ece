"""How generators and checks are found: by entry point, so that others can add theirs without touching this package."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from privacy.errors import ConfigError
from synthgen.findings import Check
from synthgen.generator import Generator


def generator_names() -> list[str]:
    """The registered generators."""
    return sorted(e.name for e in entry_points(group="synthgen.generators"))


def generator_class(name: str) -> type[Generator]:
    """The generator registered under this name.

    Raises:
        ConfigError: when there is none, or when the package it needs is not installed.
    """
    found = {e.name: e for e in entry_points(group="synthgen.generators")}
    if name not in found:
        raise ConfigError(f"generators.{name}: no such generator; installed are {', '.join(sorted(found)) or 'none'}")
    loaded: type[Generator] = _load(found[name])
    return loaded


def checks() -> list[Check]:
    """One of every registered check, in the order of their names."""
    return [_load(e)() for e in sorted(entry_points(group="synthgen.checks"), key=lambda e: e.name)]


def _load(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except ImportError as error:
        raise ConfigError(
            f"the plug-in {entry.name} needs the package {error.name}; install it, or its extra (see pyproject.toml)"
        ) from None
