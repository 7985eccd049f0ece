"""Limits on speed as multiples of a fixed piece of work done just before and just after, so that a busy machine fails nobody."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


def _work() -> float:
    """Processor seconds of this thread for the piece of work: a twentieth of a second on a quiet core of 2024."""
    began = time.thread_time()
    lines = [f"id: {n}\nis_a: {n // 3}" for n in range(100_000)]
    parents = dict(line.split("\nis_a: ") for line in lines)
    sum(len(parents[key]) for key in parents)
    return time.thread_time() - began


@contextmanager
def at_most(times: float) -> Iterator[None]:
    """Fail when the body takes this thread more than ``times`` the yardstick's work."""
    before = _work()
    began = time.thread_time()
    yield
    took = time.thread_time() - began
    ratio = took / max(before, _work())
    assert ratio < times, f"{ratio:.0f} times the yardstick, where {times:g} were allowed"
