"""Writes the parts of the documentation that the code knows best: `make docs`. A test fails when they are out of date."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

HERE = Path(__file__).parent
os.environ |= {"COLUMNS": "100", "NO_COLOR": "1", "TERMINAL_WIDTH": "100"}


def commands() -> str:
    """The help of every command."""
    from synthgen.cli import COMMANDS, app

    parts = [
        "# Commands",
        "Every command takes `--json`. Exit codes: 0 done; 1 the answer is no (a release refused, a ledger that does not "
        "verify); 2 a person must mend something; 130 interrupted (`synthgen resume` goes on).",
    ]
    for name, line in COMMANDS.items():
        captured = io.StringIO()
        with contextlib.redirect_stdout(captured), contextlib.suppress(SystemExit):
            app([name, "--help"], prog_name="synthgen")
        parts += [f"## synthgen {name}", line, f"```\n{captured.getvalue().strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def configuration() -> str:
    """The keys of a job, of a dictionary and of each generator."""
    from synthgen import config, dictionary
    from synthgen.plugins import generator_class, generator_names

    parts = ["# Configuration", "Unknown keys are errors. A job is one YAML file; a data dictionary is `cohort.yaml`."]
    parts += [
        "# The job",
        _table(config.Job),
        _table(config.Privacy),
        "# The data dictionary",
        inspect.cleandoc(dictionary.__doc__ or ""),
    ]
    parts += [_table(m) for m in _entries(dictionary) if m is not dictionary.Entry]
    parts += ["# Settings of the generators"]
    for name in generator_names():
        with contextlib.suppress(Exception):  # a baseline whose package is not installed
            settings = sys.modules[generator_class(name).__module__].Settings
            parts += [f"`generators.{name}`", _table(settings)]
    return "\n\n".join(parts) + "\n"


def checks() -> str:
    """What every check measures and how it judges."""
    from synthgen.plugins import checks as registered

    parts = [
        "# Checks",
        "Each finding stands beside a *ceiling* (a second real sample, the holdout) and a *floor* (the same columns made "
        "independent), so that a number can be read. Findings read real data: they are outside epsilon and stay inside.",
    ]
    for check in registered():
        parts += [f"## `{check.name}`", f"*{check.section}.* {inspect.cleandoc(type(check).__doc__ or '')}"]
    return "\n\n".join(parts) + "\n"


def results() -> str:
    """The tables of the benchmarks, from the files that their last full runs left."""
    from pivot import tables

    parts = [
        "# Results",
        "What the benchmarks measured on their last full run. A cell is a value with its 95% interval or, over seeds, its least "
        "and greatest. Every row, with its n and its seeds, is in the file beside the command that made it.",
    ]
    for path in sorted((HERE.parent / "benchmarks/results").glob("*.json")):
        stored = json.loads(path.read_text())
        parts += [f"## {path.stem}", f"`{stored['command']}` → [{path.name}](../benchmarks/results/{path.name})"]
        parts += tables(path.stem, stored["rows"])
    return "\n\n".join(parts) + "\n"


def _entries(module: object) -> list[type[BaseModel]]:
    found = [m for m in vars(module).values() if inspect.isclass(m) and issubclass(m, BaseModel)]
    return [m for m in found if m.__module__ == module.__name__]  # type: ignore[attr-defined]


def _table(model: type[BaseModel]) -> str:
    head = [f"## {model.__name__}", "", inspect.cleandoc(model.__doc__ or "").replace("\n\n", "\n\n"), ""]
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`"
        default = "required" if field.is_required() else default
        kind = str(model.__annotations__.get(name, "")).replace("|", "or")
        meaning = (field.description or "").replace("\n", " ").replace("|", "or")
        rows.append(f"| `{name}` | {kind} | {default} | {meaning} |")
    return "\n".join(head + rows)


PAGES = {"commands.md": commands, "configuration.md": configuration, "checks.md": checks, "results.md": results}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (HERE / page).write_text(make(), encoding="utf-8")
