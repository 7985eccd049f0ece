"""The queue: quality from flags, whom to look at next, what decisions teach, how many looks are left."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import hypergeom

from synthgen.errors import ConfigError
from synthgen.flags import Flag
from synthgen.quality import SHARED, doubts, family, learn, quality, scores, suspicion, wrong
from synthgen.queue import TWINS
from synthgen.sampling import looks_left, wrong_among
from synthgen.triage import Decision, Triage, looks_before


def raised(
    patient: str, severity: str = "moderate", reason: str = "spike", real: bool = False, **evidence: object
) -> Flag:
    return Flag(patient, reason, severity, "Odd.", real, evidence, 0.9)  # type: ignore[arg-type]


class TestQuality:
    def test_severe_is_worse_than_moderate_than_mild(self) -> None:
        scores = [quality(["A"], [raised("A", s)])["A"] for s in ("severe", "moderate", "mild")]
        assert scores == sorted(scores)
        assert quality(["A", "B"], [raised("A")])["B"] > 0.99

    def test_rarer_by_chance_is_more_suspicious(self) -> None:
        suspicions = [suspicion(raised("A", chance=c)) for c in (5e-3, 1e-3, 1e-5)]
        assert suspicions == sorted(suspicions)
        assert suspicions[0] < 0.25 < 0.9 < suspicions[-1]

    def test_two_reasons_add_up_as_independent_ones(self) -> None:
        one, two = raised("A", chance=1e-3), raised("A", "mild", "level", chance=2e-3)
        expected = 1 - (1 - wrong([])) * (1 - suspicion(one)) * (1 - suspicion(two))
        assert wrong([one, two]) == pytest.approx(expected)

    def test_real_data_counts_only_when_asked_for(self) -> None:
        flags = [raised("A", "severe", real=True)]
        assert quality(["A"], flags)["A"] > 0.99 > 0.1 > quality(["A"], flags, real_data=True)["A"]

    def test_every_patient_has_a_score_and_near_duplicates_share_their_flags(self) -> None:
        told_once = Flag("A", "duplicate", "moderate", "Odd.", False, {TWINS: ["B"]}, 0.5)
        kept = scores(["A", "B", "C", "D"], [told_once, raised("C", "severe", real=True)])
        own, all_ = kept["data_independent"], kept["with_real_data"]
        assert list(own) == list(all_) == ["A", "B", "C", "D"]
        assert own["A"] == own["B"] < own["C"] == own["D"] == all_["D"]
        assert all_["C"] < 0.1

    def test_reasons_are_grouped(self) -> None:
        assert family("out of bounds visits.albumin") == "out of bounds"
        assert family("rule adult-labs/x.y") == "rule adult-labs/x.y"


class TestLearning:
    def test_without_decisions_nothing_moves(self) -> None:
        flags = [raised("A")]
        assert learn([])(flags) == pytest.approx(wrong(flags))

    def test_a_reason_that_is_always_refuted_sinks_and_one_that_is_confirmed_rises(self) -> None:
        bad, good = [raised("A", reason="spike", chance=1e-3)], [raised("A", reason="calm", chance=1e-3)]
        judged = learn([(bad, True)] * 15 + [(good, False)] * 15)
        assert judged(bad) > 0.85 > 0.15 > judged(good)

    def test_a_few_decisions_move_it_a_little(self) -> None:
        flags = [raised("A", chance=1e-3)]
        assert 0 < wrong(flags) - learn([(flags, False)])(flags) < 0.4

    def test_a_reason_that_many_share_is_doubted_before_anybody_has_looked(self) -> None:
        """A severe rule that one patient in twelve breaks says more of itself; one that two break is believed."""
        many = [raised(f"M{i}", "severe", "rule mistaken") for i in range(80)]
        few = [raised(f"F{i}", "severe", "rule kept") for i in range(2)]
        doubted = doubts([*many, *few, raised("A", chance=1e-3)], 1000)
        assert doubted == {"rule mistaken": pytest.approx(np.log(SHARED / 0.079))}
        judged = learn([], doubted)
        assert judged([many[0]]) < 0.5 < 0.9 < judged([few[0]]) == pytest.approx(wrong([few[0]]))
        assert wrong([many[0]]) > 0.9  # what a patient is worth does not change, only who is looked at first

    def test_looks_undo_a_doubt(self) -> None:
        flags = [raised("A", "severe", "rule kept")]
        doubted = doubts([raised(str(i), "severe", "rule kept") for i in range(80)], 1000)
        before, after = learn([], doubted), learn([(flags, True)] * 20, doubted)
        assert before(flags) < 0.5 < 0.85 < after(flags)

    def test_calibrated_on_what_it_has_not_seen(self) -> None:
        """Reasons are right at rates of their own; after 400 decisions the judgement agrees with them, and before it does not."""
        rng = np.random.default_rng(0)
        rates = {"spike": 0.9, "calm": 0.2, "level": 0.5, "leap": 0.05}
        reasons = rng.choice(list(rates), size=400)
        decided = [([raised("A", reason=r, chance=1e-3)], bool(rng.random() < rates[r])) for r in reasons]
        judged = learn(decided)
        for reason, rate in rates.items():
            flags = [raised("A", reason=reason, chance=1e-3)]
            assert judged(flags) == pytest.approx(rate, abs=0.1)
        before = wrong([raised("A", chance=1e-3)])
        assert max(abs(before - rate) for rate in rates.values()) > 0.3


class TestTriage:
    IDS = tuple(f"P{i:03d}" for i in range(200))

    def triage(self, flags: list[Flag], **more: object) -> Triage:
        return Triage(self.IDS, flags, np.random.default_rng(0), **more)  # type: ignore[arg-type]

    def looked_at(self, queue: Triage, looks: int, truth: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
        order = []
        for _ in range(looks):
            patient = queue.next()
            assert patient is not None
            order.append(patient)
            queue.decide(Decision(patient, patient in truth))
        return order

    def test_the_worst_come_first_and_everybody_once(self) -> None:
        flags = [raised("P003", "mild", "calm"), raised("P009", "severe", "out of bounds"), raised("P005", "moderate")]
        order = self.looked_at(self.triage(flags, control=0), 200)
        assert order[:3] == ["P009", "P005", "P003"]
        assert sorted(order) == sorted(self.IDS)
        assert self.triage([]).random_order != list(self.IDS)

    def test_one_look_in_ten_is_a_random_one(self) -> None:
        flags = [raised(p) for p in self.IDS[:100]]
        queue = self.triage(flags)
        order = self.looked_at(queue, 50)
        controls = [order[i] for i in range(9, 50, 10)]
        expected = [p for p in queue.random_order if p in order][: len(controls)]
        assert set(controls) <= set(queue.random_order[:20])
        assert Counter(controls).most_common(1)[0][1] == 1
        assert expected

    def test_near_duplicates_are_one_look(self) -> None:
        told_once = Flag("P000", "duplicate", "moderate", "Odd.", False, {TWINS: ["P001", "P002"]}, 0.6)
        order = self.looked_at(self.triage([told_once]), 60)
        assert order[0] == "P000"
        assert not {"P001", "P002"} & set(order)

    def test_a_new_kind_of_case_goes_before_the_twentieth_of_its_kind(self) -> None:
        """Both are as likely wrong; nobody has seen `level` yet."""
        many = [raised(p, reason="spike", chance=1.2e-3) for p in self.IDS[:20]]
        other = raised("P150", reason="level", chance=1.25e-3)
        assert "P150" in self.looked_at(self.triage([*many, other], control=0), 3)

    def test_it_learns(self) -> None:
        """`calm` is always a false alarm here: after some of them the others wait behind `spike`, which is always right."""
        flags = [raised(p, reason="calm", chance=3e-4) for p in self.IDS[:60]]
        flags += [raised(p, reason="spike", chance=1e-3) for p in self.IDS[60:120]]
        order = self.looked_at(self.triage(flags, control=0), 90, truth=set(self.IDS[60:120]))
        assert sum(p in self.IDS[60:120] for p in order) >= 58

    def test_strong_evidence_that_was_found_well_is_looked_at_once_more(self) -> None:
        """The first answer about P003, whose flag is nearly sure, was a slip: likelier so than that P009's weak flag is right."""
        flags = [raised("P003", "severe", "out of bounds"), raised("P009", "mild", "calm", chance=4e-3)]
        queue = self.triage(flags, control=0, error=0.05)
        assert self.looked_at(queue, 1) == ["P003"]
        assert queue.next() == "P003"
        queue.decide(Decision("P003", True))
        assert (queue.estimate.reviewed, queue.estimate.rejected) == (1, 1)
        rest = Counter(self.looked_at(queue, 150))
        assert rest["P003"] == 0
        assert max(rest.values()) <= 2
        assert self.looked_at(self.triage(flags, control=0), 2) == ["P003", "P009"]

    def test_what_is_always_refuted_earns_no_second_look(self) -> None:
        flags = [raised(p, "severe", "rule mistaken") for p in self.IDS[:40]]
        order = self.looked_at(self.triage(flags, control=0, error=0.05), 100)
        assert len(set(order)) == 100

    def test_flags_that_read_real_patients_are_not_in_the_queue_for_release(self) -> None:
        queue = self.triage([raised("P007", "severe", real=True)], control=0)
        assert queue.flags == {}
        marked = self.triage([raised("P007", "severe", real=True)], real_data=True)
        assert marked.next() == "P007"
        marked.decide(Decision("P007", True))
        assert marked.estimate.saw_real_data
        assert "read real patients" in str(marked.estimate)

    def test_a_marked_decision_marks_the_estimate(self) -> None:
        queue = self.triage([])
        queue.decide(Decision("P001", False))
        assert not queue.estimate.saw_real_data
        queue.decide(Decision("P002", False, saw_real_data=True))
        assert queue.estimate.saw_real_data

    def test_everybody_reviewed_is_known_exactly(self) -> None:
        queue = self.triage([raised("P001")])
        self.looked_at(queue, 200, truth={"P001", "P050"})
        found = queue.estimate
        assert (found.reviewed, found.rejected, found.rate, found.low, found.high) == (200, 2, 0, 0, 0)
        assert str(found).startswith("reviewed 200 of 200, estimated wrong rate 0.0%")
        assert queue.looks_left(0.01) == queue.estimate.looks_left == 0
        assert "more looks" not in str(found)

    def test_fewer_looks_are_left_after_looking(self) -> None:
        queue = self.triage([raised(p) for p in self.IDS[:5]])
        before = queue.looks_left(0.03)
        self.looked_at(queue, 40)
        assert 0 < queue.looks_left(0.03) < before
        assert queue.looks_left(0.3) < queue.looks_left(0.05)

    def test_the_estimate_says_how_many_looks_are_left(self) -> None:
        """At 5 flagged patients nobody looked at, and at as many of 195 others as narrow their interval to 2% of all 200."""
        queue = self.triage([raised(p) for p in self.IDS[:5]])
        left = queue.estimate.looks_left
        assert left == 5 + looks_left(195, 0, 0, 0.02 * 200 / 195)
        assert f"{left} more looks would tell it to within 2%" in str(queue.estimate)
        assert looks_before(self.IDS, [raised(p) for p in self.IDS[:5]]) == left


class TestSampling:
    def test_the_interval_is_the_papers_inequality(self) -> None:
        """Every K by SciPy's hypergeometric; the prior's mixture by summing over all K."""
        total, looked, found = 60, 20, 3
        k = np.arange(total + 1)
        from scipy.stats import betabinom

        prior = betabinom.pmf(k, total, 1, 9)
        likelihood = hypergeom.pmf(found, total, k, looked)
        inside = k[likelihood >= 0.05 * (prior * likelihood).sum()]
        count = wrong_among(total, looked, found)
        assert (count.low, count.high) == (inside.min(), inside.max())
        assert count.value == pytest.approx(3 + 0.15 * 40)

    @pytest.mark.parametrize("bad", [0, 6, 40])
    def test_it_covers_at_every_look_at_once(self, bad: int) -> None:
        """The worst moment of each of 400 walks through 120 patients."""
        rng = np.random.default_rng(bad)
        covered = 0
        for _ in range(400):
            found = np.cumsum(rng.permutation(np.arange(120) < bad))
            counts = [wrong_among(120, n, int(found[n - 1])) for n in range(5, 120, 5)]
            covered += all(c.low <= bad <= c.high for c in counts)
        assert covered / 400 >= 0.95 - 0.02

    def test_looks_left_is_when_it_is_narrow_enough(self) -> None:
        left = looks_left(1000, 50, 2, 0.03)
        rate = 3 / 60
        count = wrong_among(1000, 50 + left, 2 + round(rate * left))
        assert (count.high - count.low) / 2 <= 30
        assert looks_left(1000, 1000, 3, 0.01) == 0

    def test_refusals(self) -> None:
        with pytest.raises(ConfigError, match="found <= looked <= total"):
            wrong_among(10, 5, 6)
        with pytest.raises(ConfigError, match="margin"):
            looks_left(10, 5, 1, 0)
