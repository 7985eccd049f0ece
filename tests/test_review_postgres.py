"""The review house on PostgreSQL: the tests of accounts, triage, releases and runs once more, on a schema of their own.

Run with SYNTHGEN_TEST_POSTGRES set to the URL of a database in which schemas can be made, else skipped loudly.
"""

from __future__ import annotations

import os

import pytest
import review_house
import review_run
import sqlalchemy as sa
import yaml
from conftest import ROOT
from review_house import PASSWORD, PEOPLE
from test_review_accounts import (  # noqa: F401
    test_a_change_without_the_token_of_the_session_is_refused,
    test_a_new_password_ends_all_sessions_and_keeps_the_signing_key,
    test_everyone_signs_in_and_lands_on_their_own_first_page,
    test_sessions_rotate_at_sign_in_and_the_old_token_is_worth_nothing,
    test_signing_out_and_closing_an_account_end_its_sessions,
    test_the_migrations_make_the_tables_that_the_code_expects,
    test_the_sixth_wrong_password_waits_even_for_the_right_one_and_others_do_not,
    test_what_fails_leaves_neither_change_nor_entry,
)
from test_review_releases import (  # noqa: F401
    test_an_open_review_is_in_the_way_until_it_is_closed_and_rejected_patients_are_left_out,
    test_the_officer_sets_the_cap_and_sees_every_run_in_the_history,
    test_withdrawing_ends_it_and_the_run_can_be_proposed_again_and_compared,
)
from test_review_runs import (  # noqa: F401
    stages,
    test_a_dead_workers_job_is_taken_over_and_the_dead_one_must_stop,
    test_cancelling_stops_at_the_next_sign_of_life,
    test_two_workers_never_take_one_job,
    worker,
)
from test_review_triage import (  # noqa: F401
    test_a_lease_that_ran_out_is_given_to_the_next,
    test_a_second_opinion_adds_one_look_once,
    test_autosave_keeps_reason_and_note_and_the_same_patient_comes_back,
    test_conflicts_are_settled_by_a_specialist_who_did_not_look,
    test_deciding_twice_changes_nothing,
    test_decisions_and_the_log_say_the_same,
    test_the_last_ten_decisions_can_be_undone_and_no_more,
    test_two_reviewers_work_side_by_side_and_blind,
)

from synthgen.flags import Flag
from synthgen.review import passwords, people
from synthgen.review.app import create_app
from synthgen.workspace import DATABASE, Workspace

FAST = {"pretrain_patients": 600, "pretrain_epochs": 3, "populations": 8, "gradient_steps": 8}


@pytest.fixture
def app(tmp_path, monkeypatch):
    """A house whose database is a fresh schema, with two runs and a jobs folder."""
    base = os.environ.get("SYNTHGEN_TEST_POSTGRES")
    if not base:
        pytest.skip("NOT TESTED ON POSTGRESQL: set SYNTHGEN_TEST_POSTGRES to the URL of a database")
    schema = f"review_{os.urandom(6).hex()}"
    place = sa.make_url(base).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(place, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    url = place.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    monkeypatch.setenv(DATABASE, url)
    yield _house(tmp_path, monkeypatch)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def database(app):
    return app.state.house.database


def _house(folder, monkeypatch):
    jobs = folder / "jobs"
    jobs.mkdir()
    job = yaml.safe_load((ROOT / "configs/pbc.yaml").read_text())
    job |= {"cohort": str(ROOT / "configs/pbc/cohort.yaml"), "generators": {"ehr": FAST}}
    (jobs / "pbc.yaml").write_text(yaml.safe_dump(job))
    place = Workspace(folder / "workspace")
    app = create_app(place, jobs=jobs)
    with monkeypatch.context() as quick:
        quick.setattr(passwords, "hashed", review_house.quickly)
        for name, role in PEOPLE.items():
            people.add(app.state.house.database, name, role, PASSWORD, "test", temporary=False)
    review_run.finished(
        place, [Flag("SYN-000050", "near_copy", "severe", "Very near.", True)], [review_run.INCONCLUSIVE]
    )
    review_run.finished(place, review_run.flags(12), [review_run.INCONCLUSIVE])
    return app
