"""Decisions in the review house reach the order of the queue and what a release states."""

from __future__ import annotations

import pytest
import review_house
import review_run
from review_house import Asker
from test_review_triage import decide, look_at, opened, state

from synthgen.flags import Flag
from synthgen.review import learning, reviews

FLAGGED = 40


def flags() -> list[Flag]:
    """Forty patients by turns flagged for one of two reasons, all equally likely wrong."""
    reasons = ("calm", "spike")
    return [
        Flag(f"SYN-{i:06d}", reasons[i % 2], "moderate", "Odd.", False, {"chance": 1e-3}, 0.5) for i in range(FLAGGED)
    ]


@pytest.fixture
def app(tmp_path):
    from synthgen.review.app import create_app

    place = review_house.workspace(tmp_path)
    review_run.finished(place, flags())
    return create_app(place)


def of_review(app, review: int):
    with app.state.house.database.read() as connection:
        found = reviews.find(connection, review)
        run = app.state.house.workspace.run()
        return (
            learning.decisions(connection, found),
            learning.estimate(connection, found, [str(p) for p in run.synthetic.ids], run.flags),
        )


def test_after_twenty_decisions_the_likelier_reason_is_shown_first(app) -> None:
    """`calm` is always accepted, `spike` always rejected; patients come in the order of the queue until there are twenty."""
    review, ana = opened(app, looks=1), Asker(app, "ana")
    order = []
    while (now := look_at(ana, review)) is not None:
        calm = int(now[1][4:]) % 2 == 0
        order.append(now[1])
        answer = {"answer": "accept"} if calm else {"answer": "reject", "reason": "values"}
        assert decide(ana, now[0], **answer).status_code == 303
    assert order[:20] == [f"SYN-{i:06d}" for i in range(20)]
    assert all(int(p[4:]) % 2 for p in order[20:30])  # the ten spikes that are left
    assert len(order) == FLAGGED


def test_decisions_and_their_statement(app) -> None:
    review, ana = opened(app, looks=1, random=3, planted=1), Asker(app, "ana")
    for _ in range(44):
        now = look_at(ana, review)
        assert now is not None
        decide(ana, now[0], "reject" if now[1] == "SYN-000004" else "accept", reason="values")
    _, items, _ = state(app, review)
    found, estimate = of_review(app, review)
    shown = [i.patient_id for i in items if not i.planted]
    assert sorted(d.patient_id for d in found) == sorted(shown)  # no answer about a spoiled copy
    assert [d.patient_id for d in found if d.wrong] == ["SYN-000004"]
    assert (estimate.reviewed, estimate.rejected) == (FLAGGED + 3, 1)
    assert estimate.low == 0 < estimate.high
    assert not estimate.saw_real_data
    assert str(estimate).startswith(f"reviewed {FLAGGED + 3} of ")
