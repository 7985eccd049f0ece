"""How well a classifier that was trained on one set of pictures tells the classes of another: the same for every system."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from generators.images.spectrum import Spectrum

Pictures = NDArray[np.uint8]
Labels = NDArray[np.int64]
Scores = NDArray[np.float64]
EPOCHS, BATCH, NETWORKS, DRAWS = 12, 50, 1, 2000


def scores(train: Pictures, labels: Labels, test: Pictures, seed: int, networks: int = NETWORKS) -> dict[str, Scores]:
    """Classifier -> [test] score of class 1: `cnn`, the mean of small networks (left out at 0), and `logistic` on 40 components.

    Args:
        train, test: uint8 [N, side, side].
    """
    found = {"logistic": _logistic(train, labels, test)}
    if networks:
        with torch.random.fork_rng(devices=[]):
            each = [_one_network(train, labels, test, 100 * seed + k) for k in range(networks)]
        found["cnn"] = np.mean(each, axis=0)
    return found


def frechet(pictures: Pictures, real: Pictures) -> float:
    """Fréchet distance (Dowson and Landau 1982) between Gaussians fitted to the 64 lowest cosine coefficients."""
    spectrum = Spectrum(1, pictures.shape[1])
    a, b = (
        spectrum.coefficients(torch.from_numpy(_unit(p)).unsqueeze(1)).double().numpy()[:, :64]
        for p in (pictures, real)
    )
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    return float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root))


def auc(truth: Labels, scores: Scores) -> tuple[float, float, float]:
    """Area under the ROC curve, mean over seeds, with its 95% bootstrap interval over test pictures and seeds.

    Args:
        scores: [seeds, test].
    """
    low, high = np.quantile(_areas(truth, scores, 1), [0.025, 0.975])
    return _mean(truth, scores), float(low), float(high)


def above(truth: Labels, scores: Scores, other: Scores, paired: bool = False) -> tuple[float, float, float]:
    """The area's difference to another system's: the same drawn test pictures for both, seeds drawn for each, or the same where
    `paired`."""
    low, high = np.quantile(_areas(truth, scores, 1) - _areas(truth, other, 1 if paired else 2), [0.025, 0.975])
    return _mean(truth, scores) - _mean(truth, other), float(low), float(high)


def _mean(truth: Labels, scores: Scores) -> float:
    return float(np.mean([roc_auc_score(truth, score) for score in scores]))


def _areas(truth: Labels, scores: Scores, seed: int) -> Scores:
    """[DRAWS] means over seeds drawn again, of areas on test pictures drawn again (the same for every call).

    Of k seeds k - 1 are drawn (Rao and Wu 1988): means of k would vary by a share of 1 / k less than the mean of k seeds does.
    """
    patients = (
        np.random.default_rng(0).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), DRAWS).astype(float)
    )
    count = len(scores)
    drawn = max(1, count - 1)
    seeds = np.random.default_rng(seed).multinomial(drawn, np.full(count, 1 / count), DRAWS)
    case, other = patients[:, truth == 1], patients[:, truth == 0]
    areas = [
        np.einsum("dn,dn->d", case @ _wins(score[truth == 1], score[truth == 0]), other)
        / (case.sum(axis=1) * other.sum(axis=1))
        for score in scores
    ]
    found: Scores = (seeds * np.stack(areas, axis=1)).sum(axis=1) / drawn
    return found


def _wins(case: Scores, other: Scores) -> Scores:
    """[cases, others] 1 where the case has the higher score, a half where both have the same."""
    return (case[:, None] > other) + 0.5 * (case[:, None] == other)


def _logistic(train: Pictures, labels: Labels, test: Pictures) -> NDArray[np.float64]:
    model = make_pipeline(PCA(40, random_state=0), StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    model.fit(_unit(train).reshape(len(train), -1), labels)
    found: NDArray[np.float64] = model.predict_proba(_unit(test).reshape(len(test), -1))[:, 1]
    return found


def _one_network(train: Pictures, labels: Labels, test: Pictures, seed: int) -> NDArray[np.float64]:
    torch.manual_seed(seed)
    x, y = torch.from_numpy(_unit(train)).unsqueeze(1), torch.from_numpy(labels).float()
    model = _network()
    steps = EPOCHS * -(-len(x) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = nn.functional.binary_cross_entropy_with_logits(model(_shifted(x[rows])).squeeze(1), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        found: NDArray[np.float64] = (
            model(torch.from_numpy(_unit(test)).unsqueeze(1)).squeeze(1).sigmoid().double().numpy()
        )
    return found


def _network() -> nn.Sequential:
    def block(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.GroupNorm(4, b), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 16), *block(16, 32), *block(32, 32), nn.Flatten(), nn.Dropout(0.3), nn.LazyLinear(1))


def _shifted(x: Tensor) -> Tensor:
    """The batch moved by up to two pixels: all systems' classifiers see the same augmentation."""
    dy, dx = torch.randint(-2, 3, (2,)).tolist()
    return x.roll((dy, dx), dims=(2, 3))


def _unit(images: Pictures) -> NDArray[np.float32]:
    return (images / 127.5 - 1).astype(np.float32)
