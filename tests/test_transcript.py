"""The one-run attack on the noisy sums themselves: what it proves, and that it proves no more than is so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privacy.accounting import calibrate
from privacy.attacks import transcript
from privacy.attacks.one_run import OneRun, one_run
from privacy.attacks.transcript import Overheard, Transcript
from privacy.budget import Budget
from privacy.charges import Charge
from privacy.gradients import Records
from privacy.noise import Noise

DELTA = 1e-4


def overheard(seed: int, epsilon: float, canaries: int = 100, rate: float = 1.0, numbers: int = 40) -> OneRun:
    """Two charges on 50 patients and canaries with directions of their own, at this epsilon; what the attack makes of it."""
    rng = np.random.default_rng(seed)
    records = {"x": torch.from_numpy(rng.normal(size=(50 + canaries, numbers)))}
    charges = calibrate([Charge("a", 1.0), Charge("b", 1.0, rate, 3)], Budget(epsilon, DELTA))
    coins = rng.random(canaries) < 0.5
    session = Transcript(records, charges, 50, coins)
    session.sum(lambda rows: rows["x"], 1.0, "a")
    for _ in range(3):
        session.sum(lambda rows: rows["x"].flip(1), 1.0, "b")
    return one_run(session.overheard.scores(), coins, DELTA)


def test_without_noise_every_coin_is_told():
    found = overheard(0, 1e4, numbers=200)
    assert found.right == found.guesses
    assert found.epsilon_low == found.ceiling > 2.7


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_an_honest_session_is_not_proved_to_have_spent_more_than_it_did(rate: float):
    found = [overheard(seed, 1.0, rate=rate) for seed in range(20)]
    assert max(f.epsilon_sure for f in found) <= 1.0
    assert sum(f.epsilon_low > 1.0 for f in found) <= 1


def test_the_attack_sees_more_than_guessing_at_epsilon_three():
    right = np.mean([f.right / f.guesses for f in (overheard(seed, 3.0) for seed in range(10))])
    assert 0.6 < right < 0.95


def test_a_session_with_a_tenth_of_its_noise_is_convicted(monkeypatch: pytest.MonkeyPatch):
    gaussians = Noise.gaussians
    monkeypatch.setattr(Noise, "gaussians", lambda self, count: 0.1 * gaussians(self, count))
    assert overheard(0, 1.0, canaries=300, numbers=800).epsilon_sure > 1.0


def test_one_coin_by_hand():
    """Its vector has norm 1 and noise 2: information 1/4. The answer less half of it is +- 1/2 along it, without noise."""
    charge = Charge("a", 2.0)
    session = Transcript({"x": torch.tensor([[5.0, 0], [0, 3]])}, [charge], 1, np.array([True]))
    answer = session.sum(lambda rows: rows["x"], 1.0, "a")
    assert session.overheard.information == pytest.approx(np.array([[0.25]]))
    assert session.overheard.evidence == pytest.approx((answer[1] - 0.5).numpy().reshape(1) / 4)
    assert session.overheard.scores() == pytest.approx(session.overheard.evidence / 4.25)


def test_what_two_fits_say_adds_up():
    one = Overheard(np.eye(2), np.array([1.0, 0]))
    both = one + one
    assert both.scores() == pytest.approx(np.array([2 / 6, 0]))


def test_of_long_vectors_some_numbers_are_read_a_few_patients_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transcript, "HELD", 2000)
    monkeypatch.setattr(transcript, "ROWS", 400)
    most = []

    def long(rows: Records) -> torch.Tensor:
        most.append(len(rows["x"]))
        return rows["x"]

    rng = np.random.default_rng(0)
    coins = rng.random(20) < 0.5
    session = Transcript({"x": torch.from_numpy(rng.normal(size=(30, 200)))}, [Charge("a", 0.01)], 10, coins)
    session.sum(long, 1.0, "a")
    assert max(most[2:]) <= 2
    assert ((session.overheard.scores() > 0) == coins).all()


def test_whatever_a_statistic_draws_is_drawn_alike_for_the_attack():
    """Without noise and with random signs for everybody, only an attack that repeats the draw finds the coins."""
    rng = np.random.default_rng(1)
    coins = rng.random(10) < 0.5
    session = Transcript({"x": torch.from_numpy(rng.normal(size=(12, 30)))}, [Charge("a", 1e-6, steps=2)], 2, coins)
    for _ in range(2):
        session.sum(lambda rows: rows["x"] * torch.randn(1, 30).sign(), 1.0, "a")
    assert ((session.overheard.scores() > 0) == coins).all()
