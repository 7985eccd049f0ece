"""Jobs queued in the browser and run by workers: progress, cancel, resume, a dead worker's job, and two runs side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import review_house
import review_run
import yaml
from conftest import ROOT
from review_house import Asker

from privacy.errors import BudgetExceeded
from synthgen.review import jobs
from synthgen.review.app import create_app
from synthgen.review.tables import JOBS
from synthgen.review.worker import Worker

FAST = {"pretrain_patients": 600, "pretrain_epochs": 3, "populations": 8, "gradient_steps": 8}


@pytest.fixture
def app(tmp_path):
    folder = tmp_path / "jobs"
    folder.mkdir()
    job = yaml.safe_load((ROOT / "configs/pbc.yaml").read_text())
    job |= {"cohort": str(ROOT / "configs/pbc/cohort.yaml"), "generators": {"ehr": FAST}}
    (folder / "pbc.yaml").write_text(yaml.safe_dump(job))
    (folder / "broken.yaml").write_text("name: [")
    return create_app(review_house.workspace(tmp_path), jobs=folder)


@pytest.fixture
def worker(app, database):
    return Worker(app.state.house.workspace, database)


def queued(app, name: str = "sam", **fields) -> int:
    answer = Asker(app, name).post("/jobs", job="pbc", **fields)
    assert answer.status_code == 303, answer.text
    return int(answer.headers["location"].rsplit("/", 1)[1])


def job(database, number: int) -> jobs.Queued:
    with database.read() as connection:
        return jobs.find(connection, number)


@pytest.fixture
def stages(monkeypatch):
    """A pipeline of three stages that do what a test says; each leaves its name in the list."""
    from synthgen import pipeline

    done: list[str] = []

    def stage(name):
        def run(work):
            work.progress("steps", 1, 2)
            deeds.get(name, lambda _: None)(work)
            done.append(name)

        return run

    deeds: dict[str, object] = {}
    monkeypatch.setattr(pipeline, "STAGES", {name: stage(name) for name in ("read", "train", "report")})
    return done, deeds


def test_a_queued_job_is_run_and_its_progress_is_seen(app, database, worker, stages):
    done, deeds = stages
    seen = []
    number = queued(app, seed="7")
    sam = Asker(app, "sam")
    deeds["train"] = lambda work: seen.append(sam.get(f"/jobs/{number}/progress").text)
    assert "waits for a worker" in sam.get(f"/jobs/{number}").text
    assert worker.work_once()
    assert not worker.work_once()
    assert done == ["read", "train", "report"]
    assert 'class="now" aria-current="step">train' in seen[0]
    assert 'hx-trigger="every 2s"' in seen[0]
    now = job(database, number)
    assert (now.state, now.job.seed) == ("finished", 7)
    page = sam.get(f"/jobs/{number}/progress").text
    assert "hx-get" not in page  # nothing more to ask for
    assert now.run in page


def test_the_log_of_a_job_says_what_became_of_it(app, database, worker, stages):
    def fails(_work) -> None:
        raise BudgetExceeded("the cap is passed")

    stages[1]["train"] = fails
    number = queued(app)
    worker.work_once()
    del stages[1]["train"]
    sam = Asker(app, "sam")
    sam.post(f"/jobs/{number}/resume")
    worker.work_once()
    told = [line["text"] for line in sam.call("GET", f"/jobs/{number}").json()["history"]]
    run = job(database, number).run
    assert told == [
        "queued by sam", f"started by {worker.name}", f"run {run}", "stage read", "stage train", "failed: the cap is passed",
        "resumed by sam", f"started by {worker.name}", "stage train", "stage report", "finished",
    ]  # fmt: skip
    page = sam.get(f"/jobs/{number}").text
    assert all(line in page for line in told)


def test_only_jobs_of_the_folder_can_be_queued_and_nonsense_is_refused(app):
    sam = Asker(app, "sam")
    assert "broken" not in sam.get("/runs").text
    for name in ("broken", "../pbc", "nothing", "/etc/passwd"):
        assert sam.post("/jobs", job=name).status_code == 400
    for fields in (
        {"epsilon": "-1"},
        {"epsilon": "nan"},
        {"epsilon": "x"},
        {"patients": "0"},
        {"seed": "-1"},
    ):
        assert sam.post("/jobs", job="pbc", **fields).status_code == 400, fields


def test_a_job_that_fails_says_why_and_goes_on_when_mended(app, database, worker, stages):
    done, deeds = stages
    number = queued(app)

    def refuse(_):
        raise BudgetExceeded("pbc: above the cap of 10")

    deeds["train"] = refuse
    worker.work_once()
    assert (job(database, number).state, job(database, number).message) == ("failed", "pbc: above the cap of 10")
    deeds.clear()
    run = job(database, number).run
    assert Asker(app, "sam").post(f"/jobs/{number}/resume").status_code == 303
    worker.work_once()
    assert job(database, number).state == "finished"
    assert job(database, number).run == run
    assert done == ["read", "train", "report"]


def test_a_job_that_cannot_work_fails_with_the_plans_reasons_and_leaves_no_run(app, database, worker):
    number = queued(app, epsilon="0.0001")
    worker.work_once()
    assert job(database, number).state == "failed"
    assert "the output would be the public prior alone" in job(database, number).message
    assert app.state.house.workspace.runs() == []


def test_a_fault_of_ours_is_kept_without_its_message(app, database, worker, stages):
    _, deeds = stages
    number = queued(app)

    def crash(_):
        raise ValueError("patient MRN-770001 has bilirubin 3.14")

    deeds["train"] = crash
    worker.work_once()
    message = job(database, number).message
    assert "ValueError" in message
    assert "MRN" not in message


def test_cancelling_stops_at_the_next_sign_of_life(app, database, worker, stages):
    done, deeds = stages
    number = queued(app)
    sam = Asker(app, "sam")
    deeds["read"] = lambda work: sam.post(f"/jobs/{number}/cancel")
    worker.work_once()
    assert job(database, number).state == "cancelled"
    assert done == ["read"]
    assert sam.post(f"/jobs/{number}/cancel").status_code == 400
    sam.post(f"/jobs/{number}/resume")
    worker.work_once()
    assert done == ["read", "train", "report"]


def test_a_waiting_job_is_cancelled_at_once(app, database, worker):
    number = queued(app)
    Asker(app, "sam").post(f"/jobs/{number}/cancel")
    assert job(database, number).state == "cancelled"
    assert not worker.work_once()


def test_another_scientist_may_watch_but_not_stop_or_resume(app, database):
    number = queued(app)
    sue = Asker(app, "sue")
    assert sue.get(f"/jobs/{number}").status_code == 200
    assert "Cancel" not in sue.get(f"/jobs/{number}").text.replace("Cancelling", "")
    assert sue.post(f"/jobs/{number}/cancel").status_code == 400
    assert sue.post(f"/jobs/{number}/resume").status_code == 400
    assert job(database, number).state == "queued"


def test_two_workers_never_take_one_job(app, database):
    first, second = queued(app), queued(app)
    with database.write() as write:
        a = jobs.claim(write, "a")
    with database.write() as write:
        b = jobs.claim(write, "b")
    with database.write() as write:
        c = jobs.claim(write, "c")
    assert (a.id, b.id, c) == (first, second, None)


def test_a_dead_workers_job_is_taken_over_and_the_dead_one_must_stop(app, database, worker, stages):
    done, _ = stages
    number = queued(app)
    with database.write() as write:
        jobs.claim(write, "dead")
    assert not worker.work_once()  # its lease still holds
    with database.write() as write:
        write.connection.execute(JOBS.update().values(leased_until=write.now - 1))
    assert worker.work_once()
    assert done == ["read", "train", "report"]
    with database.write() as write:
        assert not jobs.beat(write, number, "dead")
        jobs.end(write, number, "dead", "failed")
    assert job(database, number).state == "finished"
    assert "job taken over" in [e.content["kind"] for e in database.chain.read()]


@pytest.mark.usefixtures("stages")
def test_a_run_that_a_dying_process_still_holds_is_tried_again(app, database, worker):
    number = queued(app)
    house = app.state.house
    wanted = job(database, number).job
    from synthgen.planning import plan

    run = house.workspace.new_run(wanted, wanted.dictionary, plan(wanted, wanted.dictionary))
    with database.write() as write:
        write.connection.execute(JOBS.update().values(run=run.id))
    with run.locked():
        worker.work_once()
    assert job(database, number).state == "running"
    with database.write() as write:
        write.connection.execute(JOBS.update().values(leased_until=write.now - 1))
    worker.work_once()
    assert job(database, number).state == "finished"


def test_two_runs_side_by_side_and_the_report_to_take_along(app):
    place = app.state.house.workspace
    first = review_run.finished(place, [], [])
    changed = replace(review_run.INCONCLUSIVE, verdict="pass", value=0.51)
    second = review_run.finished(place, [], [changed])
    sam = Asker(app, "sam")
    page = sam.get(f"/compare?a={first.id}&b={second.id}").text
    assert "subgroup/worst_auc" in page
    assert "The same in everything." in page
    report = sam.get(f"/runs/{first.id}/report")
    assert report.headers["content-disposition"].startswith("attachment")
    assert "INTERNAL" in report.text
    assert sam.get("/compare?a=nothing&b=none").status_code == 404
    assert sam.get("/runs/..%2f..").status_code == 404
    kinds = [e.content["kind"] for e in app.state.house.database.chain.read()]
    assert "runs compared" in kinds
    assert "report taken" in kinds


SLOW_TRAINING = """
import sys, time
from synthgen import pipeline

def train(work):
    work.progress("steps", 1, 2)
    if not work.run.path("answers").joinpath("1").exists():
        work.run.path("answers").joinpath("1").touch()
        time.sleep(60)

real = {name: pipeline.STAGES[name] for name in ("read", "split", "charge")}
pipeline.STAGES = real | {"train": train}
from synthgen.cli import main
main()
"""


def _worker_process(app) -> subprocess.Popen[bytes]:
    root = str(app.state.house.workspace.root)
    command = [sys.executable, "-c", SLOW_TRAINING, "worker", "--once", "--workspace", root]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_job_survives_kill_9_of_its_worker_and_is_charged_once(app, database):
    """The worker dies while it trains; another process goes on, charges nothing again, and the run is finished."""
    number = queued(app)
    dying = _worker_process(app)
    deadline = time.monotonic() + 120
    while job(database, number).stage != "train" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert job(database, number).stage == "train"
    os.kill(dying.pid, signal.SIGKILL)
    dying.wait()
    with database.write() as write:
        write.connection.execute(JOBS.update().values(leased_until=write.now - 1))
    assert _worker_process(app).wait(timeout=120) == 0
    now = job(database, number)
    assert (now.state, now.message) == ("finished", None)
    assert app.state.house.workspace.ledger().spent("pbc").runs == (now.run,)
    assert 2.9 < now.epsilon <= 3
