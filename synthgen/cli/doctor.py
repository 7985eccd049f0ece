"""Check this machine: Python, packages, device, free disk, the workspace and its ledger."""

from __future__ import annotations

from typing import Any

from synthgen.cli.console import Json, emit
from synthgen.cli.options import WorkspaceOption, workspace

PACKAGES = (
    "torch",
    "opacus",
    "pyro-ppl",
    "dp-accounting",
    "diffusers",
    "pandas",
    "scipy",
    "scikit-learn",
    "sqlalchemy",
)
EXTRAS = {"sdv": "baselines", "psycopg": "postgres"}


def command(folder: WorkspaceOption = None, as_json: Json = False) -> None:
    import shutil
    import sys

    import typer

    from synthgen.device import resolve
    from synthgen.plugins import checks, generator_names

    place = workspace(folder)
    facts: dict[str, Any] = {
        "python": sys.version.split()[0],
        "packages": {p: _version(p) for p in PACKAGES},
        "extras": {p: _version(p) or f"not installed: pip install synthgen[{extra}]" for p, extra in EXTRAS.items()},
        "device": resolve("auto"),
        "free_gb": round(shutil.disk_usage(place.root.parent if place.root.parent.exists() else ".").free / 1e9, 1),
        "generators": generator_names(),
        "checks": [c.name for c in checks()],
        "workspace": str(place.root),
        "ledger": place.ledger().verify().text if (place.root / "ledger.db").exists() else "none yet",
    }
    missing = [name for name, version in facts["packages"].items() if version is None]
    facts["healthy"] = not missing
    words = "\n".join(f"{key:<11} {_flat(value)}" for key, value in facts.items())
    emit(facts, words + (f"\nmissing: {', '.join(missing)}" if missing else ""), as_json)
    if missing:
        raise typer.Exit(2)


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v or 'MISSING'}" for k, v in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)
