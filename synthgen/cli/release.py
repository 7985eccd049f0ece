"""Write the bundle that may leave, or say every reason why not (exit code 1). `synthgen release verify BUNDLE` checks a bundle
anywhere: every file as it was written or signed?"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit, fail
from synthgen.cli.options import WorkspaceOption, workspace

VERIFY = "verify"
Accept = Annotated[
    list[str] | None, typer.Option("--accept", help="An inconclusive finding to accept, or `CHECK/*`; may be repeated.")
]


def command(
    run: Annotated[
        str | None,
        typer.Argument(help="A run's id or its beginning; default: the newest run. Or `verify`, and then a bundle."),
    ] = None,
    bundle: Annotated[Path | None, typer.Argument(help="After `verify`: the folder or the zip of a release.")] = None,
    by: Annotated[str, typer.Option(help="Who releases, and accepts what is accepted.")] = "",
    accept: Accept = None,
    key: Annotated[str | None, typer.Option(help="With `verify`: the public key of the officer who signed.")] = None,
    folder: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    from privacy.errors import ConfigError, NotReleasable

    if run == VERIFY and bundle is not None:
        _verify(bundle, key, as_json)
        return
    if run == VERIFY or bundle is not None:
        raise ConfigError("a bundle is checked by `synthgen release verify BUNDLE`")
    from synthgen.gate import objections
    from synthgen.pipeline import STAGES
    from synthgen.release import release
    from synthgen.review.dossier import reviewed

    found = workspace(folder).run(run, done="report")
    unfinished = [stage for stage in STAGES if stage not in found.stages]
    accepted = dict.fromkeys(accept or (), by)
    try:
        with found.locked():
            context, unsettled = reviewed(found)
            if unsettled:
                raise NotReleasable([*objections(context, accepted), *unsettled])
            written = release(found.folder, context, by, accepted, unfinished)
    except NotReleasable as refusal:
        where = ["--workspace", str(folder)] if folder else []
        again = ["synthgen", "release", found.id, *where, "--by", by or "PERSON"]
        fail(explained(refusal.reasons, [*again, *(f"--accept={name}" for name in accept or ())]), "NotReleasable")
        raise typer.Exit(1) from None
    emit({"bundle": str(written), "released_by": by}, f"released by {by}: {written}", as_json)


def explained(reasons: list[str], again: list[str]) -> str:
    """A refusal, in what has to be mended and what a person may accept; at its end the command that accepts all of that."""
    names = {reason: found[1] for reason in reasons if (found := _ACCEPTABLE.search(reason))}
    mend = [f"- {reason}" for reason in reasons if reason not in names]
    lines = ["not releasable"]
    if mend:
        lines += ["", "must be mended:", *mend]
    if names:
        command = shlex.join([*again, *(f"--accept={name}" for name in names.values())])
        lines += ["", "must be accepted by name:", *(f"- {_ACCEPTABLE.sub('', reason)}" for reason in names)]
        lines += ["", "to accept all of these" + (", once the rest is mended:" if mend else ":"), f"  {command}"]
    return "\n".join(lines)


_ACCEPTABLE = re.compile(r" \(`--accept (.+?) --by [^`]*`\)")
"""How the gate names what a person may accept."""


def _verify(bundle: Path, key: str | None, as_json: bool) -> None:
    from privacy.errors import ConfigError
    from synthgen.release import verify
    from synthgen.review.approval import APPROVAL, faults_of

    if not bundle.exists():
        raise ConfigError(f"{bundle}: no such folder or file; name the folder or the zip of a release")
    signed = bundle.is_file() or (bundle / APPROVAL).exists()
    if key and not signed:
        raise ConfigError(f"{bundle}: nobody signed it, so there is nothing to hold against --key")
    faults = faults_of(bundle, key) if signed else verify(bundle)
    words = "\n".join(faults) or f"{bundle}: every file is as it was {'signed' if signed else 'written'}"
    emit({"bundle": str(bundle), "signed": signed, "whole": not faults, "faults": faults}, words, as_json)
    if faults:
        raise typer.Exit(1)
