"""Which device to compute on, and how much memory it took."""

from __future__ import annotations

import resource
from pathlib import Path

from privacy.errors import ConfigError


def resolve(device: str) -> str:
    """`auto` is a GPU when there is one.

    Raises:
        ConfigError: when a GPU is asked for and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ConfigError("device: cuda was asked for and there is no GPU; use auto or cpu")
    return "cuda" if available and device != "cpu" else "cpu"


def forget_peak_memory() -> None:
    """Starts a new measurement of peak memory, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_mb() -> int:
    """The most resident memory since `forget_peak_memory` (since the process began, where that is not allowed), in MB."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) // 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
