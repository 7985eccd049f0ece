"""Where the trainings of an audit run: on the cores of this machine, or, with the extra `ray`, on a Ray cluster.

joblib carries them; `over` names its backend for whatever is audited inside. What is sent are paths, cohorts and seeds: on a
cluster every machine must see the workspace under the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from synthgen.errors import ConfigError

Backend = Literal["loky", "ray"]
"""joblib's names: processes of this machine (the default), or a Ray cluster. Not threads: they would share torch's generator."""


@contextmanager
def over(backend: Backend) -> Iterator[None]:
    """Inside, trainings run on this backend.

    Raises:
        ConfigError: for `ray` where it is not installed.
    """
    from joblib import parallel_config

    if backend == "ray":
        _register_ray()
    with parallel_config(backend=backend):
        yield


def in_parallel(calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What each (function, *arguments) returns, in order, on all that the backend has."""
    from joblib import Parallel, delayed

    answers: list[Any] = Parallel(n_jobs=-1)(delayed(_called)(*call) for call in calls)
    return answers


def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _register_ray() -> None:
    try:
        from ray.util.joblib import register_ray
    except ImportError:
        raise ConfigError(
            "--backend ray needs Ray, which is not installed: pip install 'synthgen[ray]', or leave the option out to use the "
            "cores of this machine"
        ) from None
    register_ray()
