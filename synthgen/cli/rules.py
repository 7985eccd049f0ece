"""Clinical rules of a cohort: list them, check how often patients break them, or mine candidates from public patients.
Every one of these takes `--json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthgen.cli.console import Json, emit

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help=__doc__.replace(chr(10), " ") if __doc__ else None,
)
DictionaryArgument = Annotated[
    Path, typer.Argument(help="The data dictionary cohort.yaml, or the folder that holds it.")
]


@app.command("list")
def list_(cohort: DictionaryArgument, as_json: Json = False) -> None:
    """List every rule, and those of the rule packs that are not applicable here, with why."""
    from synthgen.rule_packs import bind, read_pack

    path, dictionary = _dictionary(cohort)
    bound = [b for name in dictionary.rule_packs for b in bind(read_pack(name, path.parent), dictionary)]
    absent = [{"rule": f"{b.pack}/{b.name}", "why": b.why} for b in bound if b.rule is None]
    rules = [r.model_dump(exclude_none=True) for r in dictionary.rules]
    lines = [f"{r.category:<13} {r.severity:<9} {r.name}: {r.expression}\n    {r.text}" for r in dictionary.rules]
    lines += [f"not applicable: {a['rule']} ({a['why']})" for a in absent]
    emit({"cohort": dictionary.name, "rules": rules, "not_applicable": absent}, "\n".join(lines) or "no rules", as_json)


@app.command()
def check(
    cohort: DictionaryArgument,
    data: Annotated[
        Path | None, typer.Option(help="The folder of the tables; default: the dictionary's folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how often patients break each rule. On real patients the answer is internal: it is outside epsilon."""
    from synthgen.rules import broken_in
    from synthgen.storage import read_cohort

    path, dictionary = _dictionary(cohort)
    tables = read_cohort(data or path.parent, dictionary).tables
    rows: list[dict[str, Any]] = []
    for rule, told in broken_in(dictionary.rules, tables, dictionary):
        if told is None or told.empty:
            rows.append({"rule": rule.name, "category": rule.category, "severity": rule.severity, "share": None})
            continue
        share = float(told["broken"].mean())
        rows.append({"rule": rule.name, "category": rule.category, "severity": rule.severity, "share": round(share, 4)})
    text = "\n".join(f"{r['category']:<13} {r['severity']:<9} {_said(r['share']):<34} {r['rule']}" for r in rows)
    emit({"cohort": dictionary.name, "rules": rows}, text or "no rules", as_json)


@app.command()
def suggest(
    cohort: DictionaryArgument,
    public: Annotated[
        Path | None, typer.Option(help="A folder of tables in this dictionary's form whose patients are public.")
    ] = None,
    source: Annotated[str, typer.Option(help="With --public: where these patients are published.")] = "",
    run: Annotated[str | None, typer.Option(help="A run with a privacy guarantee: its synthetic patients.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="The workspace of that run.")] = None,
    as_json: Json = False,
) -> None:
    """Mine candidates for rules from public patients, or from a run whose making was charged; never from real patients that are
    not public, whose limits would leak. Prints YAML for a clinician to choose from."""
    import yaml

    from synthgen.rule_mining import mine

    _, dictionary = _dictionary(cohort)
    patients, where = _source(dictionary, public, source, run, workspace)
    found = mine(patients, dictionary)
    rules = [
        c.rule.model_dump(exclude_none=True, exclude={"table", "category"}) | {"source": f"mined from {where}"}
        for c in found
    ]
    support = [
        {"rule": c.rule.name, "patients": c.patients, "broken": c.broken, "at_most": round(c.at_most, 4)} for c in found
    ]
    listed = (
        yaml.safe_dump({"rules": rules}, sort_keys=False, allow_unicode=True, width=120) if rules else "no candidates"
    )
    emit({"cohort": dictionary.name, "source": where, "rules": rules, "support": support}, listed.rstrip(), as_json)


def _source(
    dictionary: Dictionary, public: Path | None, source: str, run: str | None, folder: Path | None
) -> tuple[Cohort, str]:
    from privacy.errors import ConfigError
    from synthgen.cli.options import workspace
    from synthgen.report.of_run import context_of
    from synthgen.storage import read_cohort

    if (public is None) == (run is None):
        raise ConfigError("name one source: --public FOLDER --source WHERE, or --run RUN")
    if public is not None:
        if not source.strip():
            raise ConfigError(
                "--public needs --source: where these patients are published; limits of others would leak"
            )
        return read_cohort(public, dictionary), source
    found = workspace(folder).run(run)
    if context_of(found).claim.guarantee is None:
        raise ConfigError(f"run {found.id} has no privacy guarantee, so limits mined from its patients would leak")
    return found.synthetic, f"synthetic patients of run {found.id}, epsilon {found.plan.epsilon:.2f}"


def _dictionary(cohort: Path) -> tuple[Path, Dictionary]:
    from synthgen.dictionary import read_dictionary

    path = cohort / "cohort.yaml" if cohort.is_dir() else cohort
    return path, read_dictionary(path)


def _said(share: float | None) -> str:
    if share is None:
        return "cannot be told"
    return f"broken in {share:.2%} of rows" + (" (a bad rule?)" if share > 0.05 else "")
