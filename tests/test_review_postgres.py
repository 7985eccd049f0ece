"""The review house on PostgreSQL: the same tests, file by file, with every workspace's database there.

Run with SYNTHGEN_TEST_POSTGRES set to the URL of a server on which databases can be made (CI starts one from Debian's package),
else skipped loudly. One file by hand: `SYNTHGEN_REVIEW_POSTGRES=URL pytest tests/test_review_triage.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SERVER = os.environ.get("SYNTHGEN_TEST_POSTGRES")
HERE = Path(__file__).parent
LOOKS_ALONE = {"test_review_pages.py", "test_review_injection.py", "test_review_pictures.py"}
"""About what a browser makes of a page, whatever database it came from."""
FILES = sorted({p.name for p in HERE.glob("test_review_*.py")} - LOOKS_ALONE - {Path(__file__).name})


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_the_same_tests_pass_on_postgresql(name):
    if SERVER is None:
        pytest.skip("NOT TESTED ON POSTGRESQL: set SYNTHGEN_TEST_POSTGRES to the URL of a server")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(HERE / name)]
    environment = os.environ | {
        "SYNTHGEN_REVIEW_POSTGRES": SERVER,
        "SYNTHGEN_API_CASES": "30",
        "SYNTHGEN_KILLED_DECISIONS": "40",
    }
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:]
