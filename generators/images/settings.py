"""Settings of the image generator. All are public: none may be tuned on the patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from synthgen.dictionary import Entry


class Size(NamedTuple):
    """How large the denoising network is."""

    channels: tuple[int, ...]
    """Of each resolution, from the image's own down, halving the side each time."""
    layers: int
    """Residual blocks at each resolution."""
    patch: int
    """Side of the squares of pixels that become channels before the network (1: none): four times the speed at 2."""
    steps: int
    """Training steps without privacy."""
    batch_size: int


SIZES = {
    "small": Size((64, 64), 1, 2, 1000, 48),
    "medium": Size((64, 128, 192), 2, 2, 20_000, 64),
    "large": Size((64, 128, 192, 256), 2, 2, 60_000, 64),
}
"""`small` (1.1 million weights) trains on a processor in minutes at 28 pixels; `medium` is for 64 pixels and `large` for 128 to
256, both on a graphics card."""


class Shares(Entry):
    """How the budget is split, as parts of 1 / noise variance; they sum to 1."""

    occurrence: float = Field(default=0.05, gt=0, lt=1)
    """Who has pictures, how many and when."""
    mean: float = Field(default=0.10, gt=0, lt=1)
    """Mean picture."""
    scale: float = Field(default=0.08, gt=0, lt=1)
    """Contrast of each block of spatial frequencies."""
    location: float = Field(default=0.35, gt=0, lt=1)
    """What the condition changes in the mean picture."""
    contrast: float = Field(default=0.05, gt=0, lt=1)
    """What the condition changes in that contrast."""
    dependence: float = Field(default=0.25, gt=0, lt=1)
    """Covariance of the low frequencies."""
    gradient: float = Field(default=0.12, gt=0, lt=1)
    """DP-SGD on the denoiser."""

    @model_validator(mode="after")
    def _whole(self) -> Shares:
        if abs(sum(self.model_dump().values()) - 1) > 1e-6:
            raise ValueError("the shares need to sum to 1")
        return self


class Settings(Entry):
    """`generators.images`."""

    preset: Literal["small", "medium", "large"] = "small"
    """Size of the network and length of the training; the settings below that are not given follow from it."""
    condition: tuple[str, ...] | None = None
    """Columns of `patients` or `images` that an image depends on. Default: every category and number of both that is known of
    a patient at the first visit."""
    images_per_patient: int = Field(default=4, ge=1, le=64)
    """Images of a patient beyond this number are not looked at."""
    channels: tuple[int, ...] | None = Field(default=None, min_length=1, max_length=6)
    """Width at each resolution, in multiples of 8."""
    layers: int | None = Field(default=None, ge=1, le=4)
    """Residual blocks at each resolution."""
    patch: int | None = Field(default=None, ge=1, le=8)
    """Side of the squares of pixels that become channels before the network."""
    prediction: Literal["v_prediction", "epsilon"] = "v_prediction"
    """What the network predicts: velocity (Salimans and Ho 2022) or noise (Ho et al. 2020)."""
    steps: int | None = Field(default=None, ge=1)
    """Training steps without privacy."""
    pretrain_steps: int | None = Field(default=None, ge=1)
    """Training steps on public images, and on images drawn from noisy moments; default: as `steps`."""
    batch_size: int | None = Field(default=None, ge=1)
    """Images a step, without privacy."""
    learning_rate: float = Field(default=1e-3, gt=0, le=0.1)
    """Of AdamW, after a warm-up and down to a tenth by a half cosine."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the moving average of the weights, which is what images are drawn with."""
    condition_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of images whose condition is hidden in training, for classifier-free guidance (Ho and Salimans 2021)."""
    guidance: float = Field(default=1.0, ge=0, le=20)
    """How strongly an image follows its condition: 1 as learnt, more is more typical and less diverse."""
    sampler: Literal["dpm", "ddim"] = "dpm"
    """DPM-Solver++ (Lu et al. 2022) or DDIM (Song et al. 2021)."""
    sampling_steps: int = Field(default=20, ge=2, le=1000)
    """Evaluations of the network for an image."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of training without privacy and of drawing; `auto` takes bfloat16 where the hardware multiplies it."""
    pretrained: Path | None = None
    """Folder of a trained image generator of the same size, whose weights are the start; it must be of public images."""
    public: Path | None = None
    """Folder of a public image cohort with its `cohort.yaml`: what the generator is pretrained on. Its condition columns need
    the names and categories that they have here."""
    trainable: Literal["all", "conditioning", "norms", "head"] = "conditioning"
    """What DP-SGD moves: everything, the layers that tell time and condition to the network, its norms and biases, or the last
    layer. Noise grows with the number of weights."""
    gradient_steps: int = Field(default=20, ge=1, le=100_000)
    """Steps of DP-SGD."""
    sampling_rate: float = Field(default=0.1, gt=0, le=1)
    """Share of the patients in each step of DP-SGD."""
    noise_multiplicity: int = Field(default=4, ge=1, le=256)
    """Draws of picture, timestep and noise of a patient in a step, averaged before the clip (Dockhorn et al. 2023)."""
    patients_at_a_time: int = Field(default=32, ge=1)
    """How many patients go through the network together in a step of DP-SGD: more is faster and takes more memory."""
    clip_norm: float = Field(default=0.1, gt=0)
    """Of a patient's gradient."""
    private_rate: float = Field(default=1e-3, gt=0, le=1)
    """Learning rate of DP-SGD (Adam)."""
    low_frequencies: int = Field(default=36, ge=1, le=400)
    """Whose covariance is learnt, at most; fewer where the noise is large."""
    shares: Shares = Shares()
    """How the budget is split over the questions."""
    checkpoint_every: int = Field(default=250, ge=1)
    """Training steps between two saved states."""

    @property
    def size(self) -> Size:
        """The preset with what was given in its place."""
        preset = SIZES[self.preset]
        return Size(
            self.channels or preset.channels,
            self.layers or preset.layers,
            self.patch or preset.patch,
            self.steps or preset.steps,
            self.batch_size or preset.batch_size,
        )

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if any(c % 8 or c <= 0 for c in self.size.channels):
            raise ValueError("channels need to be multiples of 8: the network normalises groups of channels")
        if self.pretrained and self.public:
            raise ValueError("give pretrained or public, not both")
        return self


def read(settings: Any) -> Settings:
    """Raises ConfigError with every fault and its place."""
    from synthgen.dictionary import parse

    return parse(Settings, dict(settings), "generators.images")
