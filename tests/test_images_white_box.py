"""What a white-box audit asks the image generator, and what its report shows of the sampler."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_images_generator import cohort, dictionary, silent

from generators.images import ImageDiffusion
from privacy.session import Session

SMALL = {
    "channels": [16, 32],
    "layers": 1,
    "steps": 150,
    "pretrain_steps": 5,
    "batch_size": 8,
    "sampling_steps": 6,
    "ema": 0.9,
}


@pytest.fixture(scope="module")
def memorised(tmp_path_factory: pytest.TempPathFactory) -> ImageDiffusion:
    """Trained without privacy on eight patients, over and over."""
    generator = ImageDiffusion(dictionary(), SMALL)
    few = cohort(8)
    generator.pretrain(0, tmp_path_factory.mktemp("cache"), silent)
    generator.fit(Session(generator.encode(few), [], 8), 0, silent)
    return generator


@pytest.mark.slow
def test_a_model_that_memorised_its_patients_finds_them_likelier(memorised: ImageDiffusion):
    train, others = memorised.log_likelihood(cohort(8)), memorised.log_likelihood(cohort(8, seed=1))
    assert train.mean() > others.mean()


@pytest.mark.slow
def test_each_patient_is_asked_for_alone(memorised: ImageDiffusion):
    everybody = cohort(8)
    whole = memorised.log_likelihood(everybody)
    few = memorised.log_likelihood(everybody.of(everybody.ids[::2]))
    assert torch.allclose(whole[::2], few, atol=1e-6)


@pytest.mark.slow
def test_a_patient_without_pictures_says_nothing(memorised: ImageDiffusion):
    everybody = cohort(8)
    nobody = replace(everybody, images=everybody.images.iloc[:0])
    assert torch.equal(memorised.log_likelihood(nobody), torch.zeros(8, dtype=torch.float64))


@pytest.mark.slow
def test_the_way_from_noise_ends_in_a_picture(memorised: ImageDiffusion):
    steps = memorised.sampling_steps(np.random.default_rng(0))
    assert len(steps) == 6
    assert {s.shape for s in steps} == {steps[0].shape}
    rough = [float(np.abs(np.diff(s.astype(float), axis=0)).mean()) for s in steps]
    assert rough[-1] < rough[0]
