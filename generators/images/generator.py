"""The image generator: a denoising diffusion model of each patient's pictures, given what is known of patient and picture."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from generators.images import diffusion, pretraining
from generators.images.acceleration import precision
from generators.images.encoding import channels_last, encode
from generators.images.fitting import OCCURRENCE, Fit, charges
from generators.images.layout import TABLE, Layout
from generators.images.network import Denoiser, weights
from generators.images.settings import Settings, read
from generators.images.training import Pictures
from privacy.charges import Charge
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.errors import ConfigError, WorkspaceError
from synthgen.generator import Progress
from synthgen.occurrence import Occurrence
from synthgen.randomness import child_seed

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.formats.pixels import Pixels

BATCH = 128
"""Pictures drawn at a time."""
FRAMES = 8
"""Pictures of `sampling_steps`."""
PROBES = 10
"""Timesteps of `log_likelihood`."""


class ImageDiffusion:
    """See `synthgen.generator.LinkedGenerator`.

    Args:
        dictionary: the cohort's; its `images` table has one column of type image, grey or RGB, of 28 to 256 pixels.
        settings: keys of `generators.images.settings.Settings`.
        device: `cpu` or `cuda`.
    """

    modality: ClassVar[str] = "images"
    private: ClassVar[bool] = True

    def __init__(self, dictionary: Dictionary, settings: Mapping[str, Any] | None = None, device: str = "cpu") -> None:
        self.dictionary, self.device = dictionary, device
        self.settings: Settings = read(settings or {})
        self.layout = Layout(dictionary, self.settings.condition)
        self.occurrence = Occurrence(dictionary, TABLE)
        self._pretrained: Denoiser | None = None
        self._public: Pictures | None = None
        self._fitted: Denoiser | None = None

    def charges(self, declared_patients: int) -> Sequence[Charge]:
        del declared_patients  # rates and steps are public settings
        return charges(self.layout, self.occurrence, self.settings)

    def encode(self, cohort: Cohort) -> dict[str, Tensor]:
        return encode(cohort, self.layout, self.settings.images_per_patient) | {
            OCCURRENCE: self.occurrence.encode(cohort)
        }

    def pretrain(self, seed: int, cache: Path, progress: Progress) -> None:
        self._fitted = None
        self._public = pretraining.public_pictures(self.dictionary, self.settings)
        self._pretrained = pretraining.pretrained(
            self.dictionary, self.settings, self._public, seed, cache, self.device, progress
        )

    def fit(self, session: Session, seed: int, progress: Progress) -> None:
        if self._pretrained is None:
            raise ConfigError("the image generator is fitted after it was pretrained: call pretrain first")
        self.occurrence = Occurrence(self.dictionary, TABLE)
        start = copy.deepcopy(self._pretrained).to(self.device)  # so that it may be fitted again
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(child_seed(seed, "images", "fit"))
            fit = Fit(
                self.layout, self.settings, self.occurrence, start, self._public, self.device,
                child_seed(seed, "images"), progress,
            )  # fmt: skip
            self._fitted = fit.run(session)

    def extend(self, record: Cohort, rng: np.random.Generator, rows: pd.DataFrame | None = None) -> Cohort:
        """The same patients with pictures.

        Args:
            rows: patient_id and the discrete columns (and day) of each picture; None draws them as they were learnt.
        """
        rows = self.occurrence.sample(record, rng) if rows is None else rows
        conditions = torch.from_numpy(self.layout.conditions(rows, record.patients)).float()
        pictures = self.pictures(conditions, rng)
        column = np.empty(len(rows), dtype=object)
        column[:] = [channels_last(picture) for picture in pictures.numpy()]
        names = self.dictionary.tables[TABLE].columns
        table = rows.assign(**{self.layout.picture: column})
        return replace(record, images=table[[name for name in names if name in table]])

    def pictures(self, conditions: Tensor, rng: np.random.Generator) -> Tensor:
        """uint8 [N, channels, side, side] for conditions [N, width] (`Layout.conditions`)."""
        parts = [torch.empty((0, self.layout.channels, self.layout.side, self.layout.side), dtype=torch.uint8)]
        for part in torch.split(conditions, BATCH) if len(conditions) else ():
            *_, last = self.denoising(part, rng)
            parts.append(last)
        return torch.cat(parts)

    def denoising(self, conditions: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        """The pictures after each step of the sampler, from noise to the last: uint8 [N, channels, side, side]."""
        model = self._ready()
        stream = torch.Generator().manual_seed(int(rng.integers(2**62)))
        shape = (len(conditions), self.layout.channels, self.layout.side, self.layout.side)
        start = torch.randn(shape, generator=stream).to(self.device)
        settings = self.settings
        predict = diffusion.guided(model, settings.guidance)
        with torch.no_grad(), precision(settings, self.device):
            for pictures in diffusion.denoise(
                predict,
                start,
                conditions.to(self.device),
                settings.sampling_steps,
                settings.sampler,
                settings.prediction,
            ):
                yield diffusion.to_bytes(pictures).cpu()

    def sampling_steps(self, rng: np.random.Generator) -> list[Pixels]:
        """One picture after each of several steps of the sampler, from noise to the last; for the report."""
        told = self.layout.any_conditions(1, torch.Generator().manual_seed(int(rng.integers(2**62))))
        steps = [channels_last(pictures[0].numpy()) for pictures in self.denoising(told, rng)]
        return [steps[k] for k in np.linspace(0, len(steps) - 1, min(FRAMES, len(steps))).round().astype(int)]

    def log_likelihood(self, cohort: Cohort) -> Tensor:
        """[patients] minus the denoising loss of each patient's pictures, over evenly spaced timesteps with the same noise for
        everybody: what a white-box audit asks (a bound of the likelihood up to weights, Ho et al. 2020). 0 without pictures."""
        records = encode(cohort, self.layout, self.settings.images_per_patient)
        model, stream = self._ready(), torch.Generator().manual_seed(0)
        total = torch.zeros(len(cohort), dtype=torch.float64)
        if not records["count"].any():
            return total
        with torch.no_grad():
            for timestep in torch.linspace(0.05, 0.95, PROBES).mul(diffusion.TIMESTEPS).long():
                noise = torch.randn(records["images"].shape[2:], generator=stream)
                total -= self._loss_at(int(timestep), noise, records, model)
        return total / PROBES

    def _loss_at(self, timestep: int, noise: Tensor, records: Mapping[str, Tensor], model: Denoiser) -> Tensor:
        """[patients] mean error over each patient's pictures."""
        count = records["count"]
        there = torch.arange(records["images"].shape[1]) < count.unsqueeze(1)  # [patients, most]
        found = torch.zeros(there.shape, dtype=torch.float64)
        pictures, told = diffusion.to_unit(records["images"][there]), records["condition"][there]
        parts = []
        for part, condition in zip(torch.split(pictures, BATCH), torch.split(told, BATCH), strict=True):
            steps = torch.full((len(part),), timestep, device=self.device)
            part, condition = part.to(self.device), condition.to(self.device)
            same = noise.to(self.device).expand_as(part)
            parts.append(diffusion.errors(model, part, same, steps, condition, self.settings.prediction).cpu().double())
        found[there] = torch.cat(parts)
        return found.sum(dim=1) / count.clamp(min=1)

    def save(self, folder: Path) -> None:
        try:
            save_file(weights(self._ready()), folder / pretraining.WEIGHTS)
            save_file(self.occurrence.state(), folder / "occurrence.safetensors")
            (folder / "model.json").write_text(pretraining.about(self.dictionary, self.settings), encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise WorkspaceError(f"{folder}: the model cannot be written ({type(error).__name__})") from None

    def load(self, folder: Path) -> None:
        path = folder / "model.json"
        try:
            if path.read_text(encoding="utf-8") != pretraining.about(self.dictionary, self.settings):
                raise WorkspaceError(
                    f"{path}: the model belongs to another dictionary or other settings. Run the job again"
                )
            denoiser = pretraining.fresh(self.dictionary, self.settings, 0)
            denoiser.load_state_dict(load_file(folder / pretraining.WEIGHTS))
            self.occurrence.restore(load_file(folder / "occurrence.safetensors"))
        except (OSError, SafetensorError, RuntimeError, KeyError):
            raise WorkspaceError(f"{folder}: the model is missing or corrupt. Run the job again") from None
        self._fitted = denoiser.to(self.device).eval()

    def _ready(self) -> Denoiser:
        """What was fitted or loaded; after `pretrain` on public pictures, those."""
        if self._fitted is not None:
            return self._fitted.eval()
        if self._pretrained is not None and (self._public is not None or self.settings.pretrained is not None):
            return self._pretrained.to(self.device).eval()
        raise WorkspaceError("the image generator has no model yet: fit or load it first")


if TYPE_CHECKING:
    from synthgen.generator import LinkedGenerator

    def _is_a_generator(dictionary: Dictionary) -> LinkedGenerator:
        return ImageDiffusion(dictionary, {})
