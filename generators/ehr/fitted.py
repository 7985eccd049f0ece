"""Everything a fit leaves behind: what sampling needs, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from generators.ehr.calibration import Calibration
from generators.ehr.encoding import Records
from generators.ehr.model import RecordVAE
from generators.ehr.process import Chance, Prior, latents, records
from generators.ehr.static_transport import StaticTransport
from generators.ehr.transport import Transport
from synthgen.errors import WorkspaceError


@dataclass(frozen=True)
class Fitted:
    """A model, its units, the distribution of its latent vectors, and the maps that move its numbers."""

    model: RecordVAE
    calibration: Calibration
    prior: Prior
    transport: Transport | None = None
    static: StaticTransport | None = None

    def latents(self, patients: int, chance: Chance) -> tuple[Tensor, Records]:
        """(latent vectors, static columns, moved)"""
        z, static = latents(self.model, self.prior, patients, chance)
        return z, static if self.static is None else self.static.moved(static, self.model.layout)

    def patients(self, z: Tensor, static: Records, chance: Chance) -> Records:
        """Whole patients in the model's units, moved."""
        made = records(self.model, self.calibration, z, static, chance)
        if self.transport is not None:
            made["x"] = self.transport.move(made, self.model.layout)
        return made

    def save(self, folder: Path) -> None:
        """Raises WorkspaceError when it cannot be written."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        maps = (("transport", self.transport), ("static", self.static))
        for name, part in (("calibration", self.calibration), ("prior", self.prior), *maps):
            if part is not None:
                tensors |= {f"{name}.{f.name}": getattr(part, f.name) for f in fields(part)}
        try:
            save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
        except (OSError, SafetensorError) as error:
            raise WorkspaceError(f"{folder}: the model cannot be written ({type(error).__name__})") from None

    @classmethod
    def load(cls, folder: Path, model: RecordVAE) -> Fitted:
        """Into a model of the same dictionary and settings. Raises WorkspaceError when it is missing or corrupt."""
        path = folder / "model.safetensors"
        try:
            tensors = load_file(path)
            model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
            return cls(
                model,
                Calibration(**_part(Calibration, "calibration", tensors)),
                Prior(**_part(Prior, "prior", tensors)),
                Transport(**_part(Transport, "transport", tensors)) if "transport.within" in tensors else None,
                StaticTransport(**_part(StaticTransport, "static", tensors)) if "static.shift" in tensors else None,
            )
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError):
            raise WorkspaceError(
                f"{path}: the model is missing, corrupt or of other settings. Run the job again"
            ) from None


def _part(kind: type, name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f.name: tensors[f"{name}.{f.name}"] for f in fields(kind)}
