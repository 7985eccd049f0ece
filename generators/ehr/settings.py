"""What may be set of the EHR generator. The defaults were chosen on simulated cohorts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Shares(BaseModel):
    """How the privacy budget is split: shares of mu^2 (Dong et al. 2022: Gaussian mechanisms compose by adding mu^2)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    location: float = Field(default=0.05, gt=0, lt=1)
    """A first look at every number's mean and spread."""
    scale: float = Field(default=0.10, gt=0, lt=1)
    """The same again around the first answer."""
    gradient: float = Field(default=0.0, ge=0, lt=1)
    """DP-SGD on few trained numbers."""
    summary: float = Field(default=0.85, gt=0, lt=1)
    """Frequencies, rates and second moments, in one sum."""

    @model_validator(mode="after")
    def _whole(self) -> Shares:
        if abs(sum(self.model_dump().values()) - 1) > 1e-6:
            raise ValueError("the shares need to sum to 1")
        return self


class Settings(BaseModel):
    """Settings of `EHRVAE`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    latent: int = Field(default=10, ge=2, le=64)
    """Numbers in the latent code of a patient."""
    hidden: int = Field(default=64, ge=8, le=512)
    """Width of the hidden layers of encoder and decoder."""
    max_visits: int = Field(default=32, ge=2, le=200)
    """Visits of a patient beyond this number are not looked at."""
    max_events: int = Field(default=64, ge=1, le=1000)
    """Coded events of a patient beyond this number are not looked at."""
    populations: int = Field(default=48, ge=2)
    """How many simulated populations it is pretrained on."""
    pretrain_patients: int = Field(default=6000, ge=50)
    """How many patients are simulated for pretraining, over all populations."""
    pretrain_epochs: int = Field(default=40, ge=1)
    """Passes over the simulated patients."""
    batch_size: int = Field(default=256, ge=8)
    """Simulated patients a step of pretraining."""
    learning_rate: float = Field(default=3e-3, gt=0, le=0.1)
    """Of pretraining."""
    known_populations: int = Field(default=200, ge=8)
    """How many simulated populations say how statistics go together, with twice the patients of pretraining."""
    gradient_steps: int = Field(default=30, ge=1, le=1000)
    """How many noisy DP-SGD steps the gradient share pays for."""
    gradient_rate: float = Field(default=0.2, gt=0, le=2)
    """Step in whitened units: 1 would go to the noisy optimum at once."""
    gradient_numbers: int = Field(default=90, ge=1, le=2000)
    """How many numbers DP-SGD trains: the directions in which simulated populations differ most."""
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    """Of the gradient steps; the other sums take every patient."""
    clip_quantile: float = Field(default=0.5, gt=0, lt=1)
    """Of the gradient steps: the clip norm is this quantile of the norms of simulated patients' gradients."""
    reference_patients: int = Field(default=3000, ge=100)
    """How many synthetic patients stand for the model's own moments and frequencies."""
    shares: Shares = Shares()
    """How the budget is split over the questions."""
    finetune_epochs: int = Field(default=200, ge=1)
    """Without privacy: at most so many passes over the patients."""
    finetune_rate: float = Field(default=1e-3, gt=0, le=0.1)
    """Without privacy: the learning rate."""
    patience: int = Field(default=20, ge=1)
    """Without privacy: passes without a better validation loss before it stops."""
