"""What the image generator knows before it meets a patient: public pictures, or weights that were trained on some."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from generators.images import acceleration, diffusion, encoding, layout, network, training
from generators.images.encoding import encode, flat
from generators.images.layout import Layout
from generators.images.network import Denoiser, weights
from generators.images.settings import Settings
from generators.images.training import Pictures, Trainer
from synthgen.cache import store
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.errors import ConfigError
from synthgen.generator import Progress
from synthgen.randomness import child_seed

WEIGHTS = "denoiser.safetensors"


def public_pictures(dictionary: Dictionary, settings: Settings) -> Pictures | None:
    """The pictures of the public cohort in `settings.public`, with conditions as this dictionary's; None without one.

    Raises:
        ConfigError: when its pictures are of another size, or it lacks a condition column.
    """
    if settings.public is None:
        return None
    from synthgen.storage import read_cohort

    theirs = read_dictionary(settings.public / "cohort.yaml")
    ours = Layout(dictionary, settings.condition)
    other = Layout(theirs, tuple(ours.condition))
    if (other.side, other.channels) != (ours.side, ours.channels):
        raise ConfigError(
            f"{settings.public}: its pictures are {other.side} pixels of {other.channels} channels, those of this cohort "
            f"{ours.side} of {ours.channels}; write size and channels of this cohort into its cohort.yaml"
        )
    for name, (_, column) in ours.condition.items():
        theirs_is = other.condition[name][1]
        if (theirs_is.categories, theirs_is.bounds, theirs_is.scale) != (
            column.categories,
            column.bounds,
            column.scale,
        ):
            raise ConfigError(
                f"{settings.public}: its column {name} has other categories or bounds than this cohort's; recode it there"
            )
    records = encode(read_cohort(settings.public, theirs), other, settings.images_per_patient)
    pictures = Pictures(*flat(records))
    if not len(pictures):
        raise ConfigError(f"{settings.public}: holds no picture")
    return pictures


def fresh(dictionary: Dictionary, settings: Settings, seed: int) -> Denoiser:
    """Untrained: the same for the same seed."""
    ours = Layout(dictionary, settings.condition)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(child_seed(seed, "images", "weights"))
        return Denoiser(ours.channels, ours.side, ours.width, settings.size)


def pretrained(
    dictionary: Dictionary, settings: Settings, public: Pictures | None, seed: int, cache: Path, device: str,
    progress: Progress,
) -> Denoiser:  # fmt: skip
    """Untrained, with given weights, or trained on public pictures (from the cache when it is there).

    Raises:
        WorkspaceError: when the cache cannot be written.
        ConfigError: when the given weights do not fit.
    """
    denoiser = fresh(dictionary, settings, seed)
    if settings.pretrained is not None:
        denoiser.load_state_dict(_given(settings.pretrained, denoiser))
    if public is None:
        return denoiser
    path = cache / _key(dictionary, settings, public, seed) / WEIGHTS
    if not _load(denoiser, path):
        trainer = Trainer(denoiser, settings, device)
        steps = settings.pretrain_steps or settings.size.steps
        trainer.run(public, steps, child_seed(seed, "images", "public"), progress, "training on public pictures", None)
        denoiser = trainer.average.requires_grad_(True)
        store(path.parent, lambda aside: save_file(weights(denoiser), aside / WEIGHTS))
    return denoiser


def _given(folder: Path, denoiser: Denoiser) -> dict[str, Tensor]:
    try:
        state = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError):
        raise ConfigError(f"generators.images.pretrained: {folder / WEIGHTS} is missing or corrupt") from None
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in denoiser.state_dict().items()}:
        raise ConfigError(
            f"generators.images.pretrained: {folder} holds another network; give it this job's preset, size and conditions"
        )
    return state


def _key(dictionary: Dictionary, settings: Settings, public: Pictures, seed: int) -> str:
    """What the weights depend on: dictionary, settings, pictures, seed and the code itself."""
    parts = [dictionary.fingerprint, settings.model_dump_json(), str(seed), torch.__version__]
    parts += [inspect.getsource(module) for module in (acceleration, diffusion, encoding, layout, network, training)]
    digest = hashlib.sha256("\0".join(parts).encode())
    digest.update(public.images.numpy().tobytes())
    digest.update(public.conditions.numpy().tobytes())
    return digest.hexdigest()[:32]


def _load(denoiser: Denoiser, path: Path) -> bool:
    """Whether it could be read; a cache that cannot be is made again."""
    try:
        denoiser.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        shutil.rmtree(path.parent, ignore_errors=True)
        return False
    return True


def about(dictionary: Dictionary, settings: Settings) -> str:
    """model.json: what the weights are of."""
    content = {
        "generator": "ImageDiffusion",
        "dictionary": dictionary.fingerprint,
        "settings": settings.model_dump(mode="json"),
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
