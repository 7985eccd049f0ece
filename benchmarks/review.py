"""Twenty people at once in the review house, on loopback: time of each answer, errors, and the server's memory over time.

    python benchmarks/review.py --json benchmarks/results/review.json

Twelve specialists decide, four scientists watch, four officers read releases, budgets and the log; each waits about a second
between two requests, which is faster than people are. Then all of them read on, twice, as fast as they can and without changing
anything: what the memory grows by between the two is lost, not kept. Rows {system, setting, metric, value, low, high, n, seeds}.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the finished run and the server of the tests

import finished_run  # noqa: E402
import review_run  # noqa: E402
from review_server import Server  # noqa: E402

from synthgen.review import people  # noqa: E402
from synthgen.review.database import Database  # noqa: E402
from synthgen.simulation import simulate  # noqa: E402
from synthgen.workspace import Workspace  # noqa: E402

PASSWORD = "correct horse battery"
SECONDS, QUICK = 600, 30
PATIENTS = 2000
READS = 50
"""Requests of each person after the time is over, which change nothing."""


class User(threading.Thread):
    """One person at work until the time is over."""

    def __init__(self, address: str, name: str, role: str, review: str, until: float, seed: int) -> None:
        super().__init__()
        self.client = httpx.Client(base_url=address, timeout=60)
        self.role, self.review, self.until, self.rng = role, review, until, random.Random(seed)
        self.times: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []
        self.client.post("/signin", data={"name": name, "password": PASSWORD})
        self.csrf = re.findall('name="csrf" value="([^"]+)', self.client.get("/account").text)[0]

    def ask(self, what: str, method: str, path: str, **fields: Any) -> httpx.Response:
        began = time.perf_counter()
        data = {"data": {"csrf": self.csrf, **fields}} if method == "POST" else {}
        try:
            answer = self.client.request(method, path, **data)
        except httpx.TransportError as error:
            self.errors.append(f"{method} {path} {type(error).__name__}")
            return httpx.Response(599)
        self.times[what].append(time.perf_counter() - began)
        if answer.status_code >= 400:
            self.errors.append(f"{method} {path} {answer.status_code}")
        time.sleep(self.rng.expovariate(1.0))
        return answer

    def run(self) -> None:
        while time.time() < self.until:
            getattr(self, f"as_{self.role}")()

    def read_on(self) -> None:
        """`READS` pages, one after the other."""
        pages = {"specialist": [f"/reviews/{self.review}/look"], "scientist": ["/runs", f"/reviews/{self.review}"]}
        for i in range(READS):
            asked = pages.get(self.role, ["/releases/1", "/privacy/pbc"])
            self.client.get(asked[i % len(asked)])

    def as_specialist(self) -> None:
        page = self.ask("next patient", "GET", f"/reviews/{self.review}/look").text
        found = re.search(r"/looks/([0-9a-f]{24})", page)
        if found is None:
            return
        if self.rng.random() < 0.3:
            self.ask("autosave", "POST", f"/looks/{found[1]}/draft", reason="course", note="a few words")
        answer = {"answer": "reject", "reason": "course"} if self.rng.random() < 0.3 else {"answer": "accept"}
        self.ask("decision", "POST", f"/looks/{found[1]}", **answer)
        if self.rng.random() < 0.05:
            self.ask("undo", "POST", f"/reviews/{self.review}/undo")

    def as_scientist(self) -> None:
        for path in ("/runs", "/reviews", f"/reviews/{self.review}", "/releases"):
            self.ask(path.replace(self.review, "ID"), "GET", path)

    def as_officer(self) -> None:
        for path in ("/releases/1", "/privacy", "/privacy/pbc", "/log", f"/reviews/{self.review}"):
            self.ask(path.replace(f"reviews/{self.review}", "reviews/ID"), "GET", path)


def prepared(folder: Path) -> tuple[Server, list[tuple[str, str]]]:
    """A server over a run of `PATIENTS` flagged synthetic patients, with twenty accounts."""
    place = Workspace(folder / "workspace")
    database = Database(place)
    names = [
        (f"{role}{i}", role) for role, n in (("specialist", 12), ("scientist", 4), ("officer", 4)) for i in range(n)
    ]
    for name, role in names:
        people.add(database, name, role, PASSWORD, "benchmark", temporary=False)
    patients = simulate(finished_run.dictionary(), PATIENTS, np.random.default_rng(0))
    cohort = finished_run.named(patients, [f"SYN-{i:06d}" for i in range(PATIENTS)], "synthetic")
    review_run.finished(place, review_run.flags(PATIENTS), [review_run.INCONCLUSIVE], cohort=cohort)
    return Server(place.root), names


def memory_mb(server: Server) -> float:
    """Resident memory of the server's process."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def processor_seconds(server: Server) -> tuple[float, float]:
    """What the whole machine and what this benchmark with its server have used of the processors so far."""
    assert server.process is not None
    tick = os.sysconf("SC_CLK_TCK")
    user, nice, system = (int(n) for n in Path("/proc/stat").read_text().split()[1:4])
    served = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (user + nice + system) / tick, sum(map(int, served[11:13])) / tick + sum(os.times()[:2])


def measured(seconds: float) -> list[dict[str, Any]]:
    """The rows of one run of the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        server, names = prepared(Path(folder))
        server.start()
        until = time.time() + seconds + 30  # time to sign in
        first = User(server.address, "scientist0", "scientist", "1", until, 0)
        run = re.findall("<option>([^<]+)", first.client.get("/reviews").text)[0]
        wish = {"csrf": first.csrf, "run": run, "looks": "5", "most": "2000", "random": "0", "planted": "0"}
        first.client.post("/reviews", data=wish)
        first.client.post("/releases", data={"csrf": first.csrf, "run": run, "purpose": "benchmark"})
        users = [User(server.address, name, role, "1", until, i) for i, (name, role) in enumerate(names)]
        before, began = processor_seconds(server), time.time()
        for user in users:
            user.until = time.time() + seconds
            user.start()
        memory = []
        while any(user.is_alive() for user in users):
            memory.append(memory_mb(server))
            time.sleep(1)
        after = processor_seconds(server)
        beside = (after[0] - before[0] - (after[1] - before[1])) / ((time.time() - began) * (os.cpu_count() or 1))
        reading = []
        for _ in range(2):  # the first time fills what is kept
            together(users)
            reading.append(memory_mb(server))
        for user in users:
            user.client.close()
        first.client.close()
        server.kill()
    return rows(users, memory, reading, beside, seconds)


def together(users: list[User]) -> None:
    """All of them read on at once."""
    threads = [threading.Thread(target=user.read_on) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def rows(
    users: list[User], memory: list[float], reading: list[float], beside: float, seconds: float
) -> list[dict[str, Any]]:
    times: dict[str, list[float]] = defaultdict(list)
    for user in users:
        for what, taken in user.times.items():
            times[what] += taken
    times["all"] = [t for taken in times.values() for t in taken]
    common = {
        "system": "review house",
        "setting": f"20 users, {seconds:.0f} s, {os.cpu_count()} cores",
        "seeds": [0],
        "low": None,
        "high": None,
    }
    found = []
    for what, taken in times.items():
        for name, share in (("p50 ms", 0.5), ("p95 ms", 0.95)):
            value = round(1000 * float(np.quantile(taken, share)), 1)
            found.append(common | {"metric": f"{what}/{name}", "value": value, "n": len(taken)})
    third = max(1, len(memory) // 3)
    errors = [e for user in users for e in user.errors]
    read = READS * len(users)
    for metric, value, n in (
        ("errors", len(errors), len(times["all"])),
        ("memory MB, first third", round(float(np.mean(memory[:third])), 1), third),
        ("memory MB, second third", round(float(np.mean(memory[third : 2 * third])), 1), third),
        ("memory MB, last third", round(float(np.mean(memory[2 * third :])), 1), third),
        ("memory MB, once all have read on", round(reading[0], 1), read),
        ("memory MB, once all have read on again", round(reading[1], 1), read),
        ("share of the processors that others took", round(beside, 2), 1),
    ):
        found.append(common | {"metric": metric, "value": value, "n": n})
    for error in errors[:10]:
        print(error, file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} seconds instead of {SECONDS}")
    arguments = parser.parse_args()
    results = measured(QUICK if arguments.quick else SECONDS)
    print("\n".join(f"{r['metric']:<44}{r['value']:>10}  n {r['n']}" for r in results))
    if arguments.json:
        command = "python " + " ".join(sys.argv)
        arguments.json.write_text(json.dumps({"command": command, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
