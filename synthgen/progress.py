"""Progress of long work: a bar on a terminal with the epsilon spent, silence elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as Rich
    from rich.progress import TaskID


class Progress(Protocol):
    """What the pipeline tells whoever waits."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def spent(self, epsilon: float | None) -> None:
        """The ledger now holds this run's charges."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Within a stage: `done` of `total`."""

    def finish(self) -> None:
        """The run is complete."""


class Silent:
    """Says nothing."""

    def stage(self, name: str) -> None: ...

    def spent(self, epsilon: float | None) -> None: ...

    def __call__(self, what: str, done: int, total: int) -> None: ...

    def finish(self) -> None: ...


class Bar:
    """A bar on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
        )
        self._console = Console(stderr=True)
        self._bar: Rich = Progress(*columns, TextColumn("epsilon {task.fields[epsilon]}"), console=self._console)
        self._task: TaskID | None = None
        self._epsilon = "0"

    def stage(self, name: str) -> None:
        if self._task is None:
            self._bar.start()
        else:
            self._bar.update(self._task, completed=1, total=1, what="")
        self._task = self._bar.add_task(name, total=None, what="", epsilon=self._epsilon)

    def spent(self, epsilon: float | None) -> None:
        self._epsilon = "NONE: not private" if epsilon is None else f"{epsilon:.3f}"
        if self._task is not None:
            self._bar.update(self._task, epsilon=self._epsilon)

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total, what=what)

    def finish(self) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=1, total=1, what="")
        self._bar.stop()


def progress() -> Progress:
    """A bar where somebody watches, else silence."""
    import sys

    return Bar() if sys.stderr.isatty() else Silent()
