"""What may be set of the notes generator. The defaults were chosen on simulated cohorts and the phrase bank `pilot`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Settings of `NoteLM`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    backbone: str = "small"
    """`small` (pretrained here), `smollm2` (extra `pretrained`: SmolLM2-135M), or a folder in Hugging Face format."""
    vocabulary: int = Field(default=3000, ge=400, le=50_000)
    """Tokens of the small backbone, slots included."""
    hidden: int = Field(default=192, ge=16, le=2048)
    """Width of the small backbone."""
    layers: int = Field(default=4, ge=1, le=48)
    """Layers of the small backbone."""
    heads: int = Field(default=4, ge=1, le=64)
    """Attention heads of the small backbone; they divide `hidden`."""
    pretrain_patients: int = Field(default=2500, ge=20)
    """How many patients are simulated and their notes rendered from the public phrase bank, for pretraining."""
    pretrain_steps: int = Field(default=900, ge=1)
    """Steps of pretraining."""
    batch_size: int = Field(default=8, ge=1)
    """Notes a step of pretraining."""
    learning_rate: float = Field(default=2e-3, gt=0, le=0.1)
    """Of pretraining, at its highest."""
    definitions: float = Field(default=0.15, ge=0, lt=1)
    """Share of pretraining's texts that are definitions of the Human Phenotype Ontology, where it is installed."""
    max_notes: int = Field(default=4, ge=1, le=50)
    """Notes of a patient that are learnt from: the first, the last, and others spread between."""
    max_tokens: int = Field(default=320, ge=16, le=4096)
    """A prompt and its note beyond this length are cut."""
    rank: int = Field(default=16, ge=1, le=256)
    """Rank of the low-rank weights (LoRA) that are trained on patients."""
    targets: tuple[str, ...] | None = None
    """The layers that get them; default: the output layer of the small backbone, queries and values of a pretrained one."""
    steps: int = Field(default=40, ge=1, le=10_000)
    """DP-SGD steps."""
    sampling_rate: float = Field(default=0.25, gt=0, le=1)
    """Share of the patients in a DP-SGD step; fewer where that were more than 64 of the declared ones."""
    step_rate: float = Field(default=4.0, gt=0, le=100)
    """Learning rate of the first DP-SGD step, in clip norms; it falls by a half cosine."""
    momentum: float = Field(default=0.7, ge=0, lt=1)
    """How much of the running mean of the answers a step keeps."""
    drift: float = Field(default=0.1, gt=0, le=100)
    """How many nats a token public notes may cost more after DP-SGD: more drift, more of its manner and less language."""
    clip_quantile: float = Field(default=0.5, gt=0, lt=1)
    """The clip norm is this quantile of the gradient norms of simulated patients."""
    occurrence_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of mu^2 for who has notes, how many, when and of which kind."""
    finetune_epochs: int = Field(default=6, ge=1)
    """Without privacy: passes over the patients."""
    finetune_rate: float = Field(default=1e-3, gt=0, le=0.1)
    """Without privacy: the learning rate."""
    temperature: float = Field(default=0.7, gt=0, le=2)
    """Of the draws: below 1 keeps to what is likely."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """A token is drawn from the likeliest that together have this probability."""
    rewrites: int = Field(default=4, ge=0, le=50)
    """How often a note that contradicts its own (synthetic) record is written again; the draft with the fewest is kept."""

    @property
    def layers_trained(self) -> tuple[str, ...]:
        """The layers that get low-rank weights."""
        return self.targets or (("lm_head",) if self.backbone == "small" else ("q_proj", "v_proj"))
