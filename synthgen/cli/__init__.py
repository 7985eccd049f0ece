"""The command line. One command a file; the exit codes are

0 done, 1 the answer is no (a release refused, a ledger that does not verify, a cohort with breaches), 2 a person must mend
something (bad input, no budget, no space), 3 a fault of ours, 130 interrupted (`synthgen resume` goes on).
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "init": "Draft a data dictionary from a folder of tables.",
    "validate": "Check a cohort's tables against their dictionary.",
    "rules": "List a cohort's clinical rules, check how often patients break them, or mine candidates.",
    "prior": "Show the patients that the dictionary alone implies, at epsilon 0.",
    "simulate": "Make a simulated cohort from a dictionary alone, pictures and notes included.",
    "render": "Write notes derived from a cohort's records, for cohorts without notes.",
    "plan": "Say what a job will do, spend and promise, without reading patients.",
    "run": "Run a job: from the real cohort to the synthetic one and its report.",
    "resume": "Go on with a run that was stopped.",
    "status": "Show the runs of a workspace, or one run's stages.",
    "sample": "Draw more synthetic patients from a finished run.",
    "report": "Write a run's report again.",
    "audit": "Attack anybody's synthetic cohort, with the real patients it was made from and others as control.",
    "exposure": "List the training patients by what each of them gave at most, for the privacy officer only.",
    "budget": "Show what was spent on a cohort, or set its cap.",
    "ledger": "Verify the ledger's chain of hashes.",
    "release": "Write the bundle that may leave, or say why not.",
    "serve": "Open the review house in the browser: triage, audit and signed release.",
    "worker": "Run the jobs that scientists queue in the review house.",
    "user": "Make, list, close or open an account of the review house.",
    "doctor": "Check this machine: packages, device, disk, workspace.",
}
"""Every command and its one line; `synthgen --help` needs to import none of them."""


class LazyCommands(TyperGroup):
    """Imports a command's file when that command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # typer carries its own click
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"synthgen.cli.{cmd_name}")
        app = getattr(module, "app", None)  # a group of commands
        if app is None:
            app = typer.Typer(add_completion=False, rich_markup_mode=None)
            app.command(cmd_name, help=module.__doc__)(module.command)
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    cls=LazyCommands,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it prints local variables: patients
)


@app.callback()
def root() -> None:
    """Synthetic rare-disease cohorts with a true differential-privacy guarantee."""


def main() -> None:
    """The entry point `synthgen`: every error a person can mend is one message and exit code 2, never a traceback."""
    from privacy.errors import NotReleasable, SynthgenError
    from synthgen.cli.console import fail

    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing leaves the machine at run time
    try:
        app()
    except NotReleasable as error:
        fail(str(error), "NotReleasable")
        sys.exit(1)
    except SynthgenError as error:
        fail(str(error), type(error).__name__)
        sys.exit(2)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        fail(f"the system refused{where}: {error.strerror or type(error).__name__}", type(error).__name__)
        sys.exit(2)
    except KeyboardInterrupt:
        fail("interrupted; `synthgen resume` goes on where it stopped", "Interrupted")
        sys.exit(130)
    except Exception as error:
        if os.environ.get("SYNTHGEN_DEBUG"):
            raise
        fail(f"{_place(error)}: a fault of synthgen's own. Its message could hold a patient's value, so it is not shown; "
             "SYNTHGEN_DEBUG=1 shows it", type(error).__name__)  # fmt: skip
        sys.exit(3)


def _place(error: BaseException) -> str:
    """File and line where an error was raised."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return (
        f"{type(error).__name__} at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        if trace
        else type(error).__name__
    )
