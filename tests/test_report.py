"""The report: says what it must, keeps what it must, and stands on its own."""

from __future__ import annotations

import html
import json
import math
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from finished_run import BUDGET, PLANTED, REAL_IDS, context, dictionary, make_run
from scipy.stats import spearmanr

from privacy.errors import WorkspaceError
from synthgen.claim import NO_GUARANTEE, claim
from synthgen.cohort import concatenate
from synthgen.findings import Finding
from synthgen.flags import Flag
from synthgen.report import ReportContext, Spending, write_report
from synthgen.report.curves import SMALL_CELL, bands, correlations, survival, time_grid
from synthgen.report.page import as_dict, as_html, breakable, code, duration, number

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
FETCHED = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "background", "formaction"}


class Page(HTMLParser):
    """Parses a page and keeps what a reader of it would fetch, run or point at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.words = ""
        self.feed(text)
        self.faults += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.links += [value or "" for name, value in attrs if name in FETCHED]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.faults += [f"{name} would run a script" for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@cache
def internal() -> str:
    return as_html(context(), "internal")


@cache
def released() -> str:
    return as_html(context().for_release(), "release")


def spellings(value: float) -> set[str]:
    """How a value may stand in a text: in full, and rounded to where it is still one of a kind."""
    spelt = {repr(value), f"{value:.6f}", f"{value:.4f}", f"{value:.5g}"}
    return {s for s in spelt if len(s) >= 6}


def leaks(text: str) -> list[str]:
    """What of the planted patients stands in a text, whatever its escapes; a number that starts within another is not it."""
    text = html.unescape(text)
    found = [identity for identity in REAL_IDS if identity in text]
    planted = {s for values in PLANTED.values() for v in values for s in spellings(v)}
    return found + [s for s in planted if re.search(rf"(?<!\d){re.escape(s)}", text)]


def test_planted_values_are_there_to_be_found():
    """Thirty values and all ids are in the cohort the charts are drawn from, and would be found in a text."""
    train = context().train
    assert sum(train.visits[name].isin(values).sum() for name, values in PLANTED.items()) == 30
    for name, values in PLANTED.items():
        assert not context().synthetic.visits[name].isin(values).any()
    assert leaks(f"x {PLANTED['albumin'][3]!r} y {REAL_IDS[5]} &#77;RN-770007") != []
    assert len(leaks(train.visits.to_csv())) >= 30


@pytest.mark.parametrize("text", ["internal", "json", "release", "release json"])
def test_no_real_value_and_no_real_id(text):
    made = context()
    texts = {
        "internal": internal,
        "json": lambda: json.dumps(as_dict(made, "internal")),
        "release": released,
        "release json": lambda: json.dumps(as_dict(made.for_release(), "release")),
    }
    assert leaks(texts[text]()) == []


def test_charts_hold_no_real_value_even_as_coordinates():
    """What the charts are drawn from differs from every value of the patients."""
    real = concatenate([context().train, context().holdout])
    edges = time_grid(context().synthetic)
    for name in PLANTED:
        drawn = bands(real, name, edges).quantiles
        values = real.visits[name].dropna().to_numpy()
        assert np.isfinite(drawn).any()
        assert not np.isin(drawn[np.isfinite(drawn)], values).any()
        assert np.nanmin(drawn) > values.min()
        assert np.nanmax(drawn) < values.max()


@pytest.mark.parametrize("page", [internal, released])
class TestPage:
    def test_is_well_formed(self, page):
        parsed = Page(page())
        assert parsed.faults == []
        assert [i for i, count in Counter(parsed.ids).items() if count > 1] == []

    def test_fetches_and_runs_nothing(self, page):
        parsed = Page(page())
        assert [link for link in parsed.links if not link.startswith("#")] == []
        assert set(parsed.links) <= {f"#{i}" for i in parsed.ids}
        assert parsed.tags["script"] + parsed.tags["link"] + parsed.tags["iframe"] + parsed.tags["object"] == 0
        assert re.findall(r"url\((?!\"?#)", page()) == []
        assert "@import" not in page()
        assert "http://" not in page()
        assert "https://" not in page()
        assert "default-src 'none'" in page()

    def test_can_be_read_with_a_screen_reader(self, page):
        parsed = Page(page())
        assert '<html lang="en">' in page()
        assert parsed.tags["h1"] == 1
        assert parsed.tags["svg"] == parsed.tags["figure"] == parsed.tags["figcaption"] > 0
        assert page().count('<svg role="img" aria-label="') == parsed.tags["svg"]
        assert parsed.tags["table"] == parsed.tags["caption"] == parsed.tags["thead"]
        assert len(re.findall(r"<th(?! scope)[ >]", page())) == 0

    def test_is_the_same_every_time(self, page):
        again = as_html(context(), "internal") if page is internal else as_html(context().for_release(), "release")
        assert again == page()


def test_sections_in_the_order_an_officer_reads():
    assert Page(internal()).headings == [
        context().claim.headline, "Verdict", "The cohort in pictures", "Scorecard", "Budget", "Utility", "Fidelity", "Audit",
        "Flags", "Outside the guarantee", "Time and memory",
    ]  # fmt: skip
    assert Page(released()).headings == [
        context().claim.headline, "The cohort in pictures", "Scorecard", "Budget", "Fidelity", "Flags", "Outside the guarantee",
    ]  # fmt: skip


def test_internal_says_so_and_holds_all():
    words = Page(internal()).words
    assert words.count("INTERNAL: reads real data") >= 2
    for sentence in (*context().claim.sentences, *context().claim.outside):
        assert sentence in words
    for finding in context().findings:
        assert finding.text in words
    for part in (
        "SYN-000003",
        "Nothing moves.",
        "2 min 10 s",
        "1,250 MB",
        "Nothing that was measured stands against a release",
        "would tell the rate of wrong patients to within 2%.",
    ):
        assert part in words


def test_release_holds_nothing_from_inside():
    flagged = replace(
        context(),
        flags=(
            *context().flags,
            Flag("SYN-000009", "close", "severe", "Close to one patient.", True, {"distance": 0.0123}, 1),
        ),
    )
    page, record = as_html(flagged.for_release(), "release"), json.dumps(as_dict(flagged.for_release(), "release"))
    for text in (html.unescape(page), record):
        assert "SYNTHETIC DATA" in text
        assert "SYN-000003" in text
        assert "No hard rule is broken." in text
        for inside in (
            "0.934",
            "0.881733",
            "0.511",
            "guessing.",
            "Trained on",
            "SYN-000009",
            "Close to one",
            "130.3",
            "1,250",
        ):
            assert inside not in text
        assert "INTERNAL" not in text


@pytest.mark.parametrize(("budget", "marks"), [(None, ()), (BUDGET, ("seeded",)), (BUDGET, ("revealed",))])
def test_a_run_without_guarantee_shouts(budget, marks):
    made = replace(context(), claim=claim((), budget, dictionary(), marks=marks), spending=None)
    page = as_html(made, "internal")
    assert Page(page).headings[0] == NO_GUARANTEE
    assert 'class="claim none"' in page
    assert 'class="claim holds"' not in page
    assert "there is no privacy guarantee" in Page(page).words
    assert as_dict(made, "internal")["claim"]["guarantee"] is None


def test_verdicts_are_counted_and_objections_told():
    findings = (
        Finding("a", "m", 1.0, "fail", "A is bad.", better="lower"),
        Finding("b", "m", 1.0, "inconclusive", "B cannot be told."),
        Finding("c", "m", 1.0, "inconclusive", "C cannot be told."),
        Finding("d", "m", 1.0, "information", "D is so."),
    )
    made = replace(context(), findings=findings)
    assert as_dict(made, "internal")["verdicts"] == {"pass": 0, "fail": 1, "inconclusive": 2, "information": 1}
    page = as_html(made, "internal")
    assert "The gate refuses a release of this run, for 3 reasons" in Page(page).words
    assert "<code>--accept b/m --by PERSON</code>" in page


def test_text_is_escaped():
    nasty = '<script>alert(1)</script> & "x"'
    flags = (Flag("SYN-000001", nasty, "mild", nasty, False),)
    made = replace(context(), findings=(Finding("x", "m", 1.0, "pass", nasty, column=nasty),), flags=flags, job=nasty)
    parsed = Page(as_html(made, "internal"))
    assert parsed.tags["script"] == 0
    assert parsed.faults == []
    assert parsed.words.count("<script>alert(1)</script>") >= 4


def test_charts_escape_names():
    odd = Finding("<b>", "x & y", 0.5, "pass", "Odd name.", "audit", 0.4, 0.6, column="auc")
    named_auc = replace(odd, metric="auc <b>")
    page = as_html(replace(context(), findings=(named_auc,)), "internal")
    assert Page(page).faults == []
    assert "<b>&" not in page


@pytest.mark.parametrize("missing", ["outcome", "visits", "findings", "spending"])
def test_a_report_of_less(missing):
    """No outcome, no visits, no findings, no budget: the sections go, the report stays."""
    made = context()
    if missing == "outcome":
        bare = made.dictionary.model_copy(update={"outcome": None, "tasks": ()})
        made = replace(made, dictionary=bare)
    elif missing == "visits":
        tables = {"patients": made.dictionary.tables["patients"]}
        bare = made.dictionary.model_copy(update={"tables": tables})
        halves = {k: replace(getattr(made, k), visits=None) for k in ("train", "holdout", "synthetic")}
        made = replace(made, dictionary=bare, **halves)
    elif missing == "findings":
        made = replace(made, findings=(), flags=(), stages=())
    else:
        made = replace(made, spending=None)
    assert Page(as_html(made, "internal")).faults == []


def test_other_runs_and_the_cap_are_drawn():
    over = as_html(replace(context(), spending=Spending(3.0, 2.98, 12.5, 10.0, 1e-4)), "internal")
    assert "other runs" in Page(over).words
    assert "above the cap of 10" in Page(over).words
    assert "other runs" not in Page(internal()).words.replace("other runs on", "")


def test_files_are_written_whole(tmp_path):
    made = make_run(tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == as_html(made, "internal")
    record = json.loads((tmp_path / "report.json").read_text())
    assert record["claim"]["guarantee"]["epsilon"] == made.claim.guarantee.epsilon
    assert {"plan.json", "report.html", "models/ehr/000000.safetensors"} <= set(record["artefacts"])
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_folder_that_is_no_folder(tmp_path):
    with pytest.raises(WorkspaceError, match=r"report\.html"):
        write_report(tmp_path / "nowhere", context())


class TestCurves:
    def test_bands_are_quantiles_of_one_value_a_patient(self):
        """Against NumPy on many patients, where Harrell-Davis and the sample quantile agree."""
        rng = np.random.default_rng(0)
        values = rng.normal(size=4000)
        visits = pd.DataFrame({"patient_id": [f"p{i}" for i in range(4000)], "day": 10, "x": values})
        often = pd.concat([visits, *[visits.iloc[:1]] * 3000])
        made = replace(context().synthetic, visits=often)
        drawn = bands(made, "x", np.array([0.0, 100.0, 200.0]))
        assert drawn.quantiles[0] == pytest.approx(np.quantile(values, (0.1, 0.5, 0.9)), abs=0.03)
        assert np.isnan(drawn.quantiles[1]).all()

    @pytest.mark.parametrize(("patients", "shown"), [(SMALL_CELL - 1, False), (SMALL_CELL, True)])
    def test_small_cells_are_suppressed(self, patients, shown):
        rows = [(f"p{i}", day, float(i)) for i in range(patients) for day in (0, 1, 2)]
        made = replace(context().synthetic, visits=pd.DataFrame(rows, columns=["patient_id", "day", "x"]))
        assert np.isfinite(bands(made, "x", np.array([0.0, 10.0])).quantiles).all() == shown

    def test_kaplan_meier_by_hand(self):
        """Twenty patients: an event at day 1, 2 and 2, one leaves at day 2, the others at day 5."""
        table = pd.DataFrame(
            {
                "patient_id": [f"p{i}" for i in range(20)],
                "followup_days": [1, 2, 2, 2] + [5] * 16,
                "status": ["dead", "dead", "transplanted", "alive"] + ["alive"] * 16,
            }
        )
        made = replace(context().synthetic, patients=table)
        curve = survival(made, dictionary().outcome, np.array([0.0, 1.0, 1.5, 2.0, 4.0, 5.0, 6.0]))
        assert curve.days.tolist() == [0, 1, 1.5, 2, 4, 5]
        steps = [1, 19 / 20, 19 / 20, 19 / 20 * 17 / 19, 17 / 20, 17 / 20]
        assert curve.free == pytest.approx(steps)
        greenwood = 1 / (20 * 19) + 2 / (19 * 17)
        half = 1.96 * math.sqrt(greenwood) / abs(math.log(17 / 20))
        assert curve.low[-1] == pytest.approx((17 / 20) ** math.exp(half))
        assert curve.high[-1] == pytest.approx((17 / 20) ** math.exp(-half))
        assert (curve.low[0], curve.high[0]) == (1, 1)

    def test_curve_ends_where_few_are_at_risk(self):
        table = pd.DataFrame(
            {"patient_id": [f"p{i}" for i in range(20)], "followup_days": range(20), "status": ["alive"] * 20}
        )
        curve = survival(replace(context().synthetic, patients=table), dictionary().outcome, np.arange(20.0))
        assert curve.days.max() == 20 - SMALL_CELL

    def test_everybody_dies(self):
        table = pd.DataFrame({"patient_id": [f"p{i}" for i in range(20)], "followup_days": 5, "status": "dead"})
        curve = survival(replace(context().synthetic, patients=table), dictionary().outcome, np.array([0.0, 5.0]))
        assert curve.free == pytest.approx([1.0, 0.0], abs=1e-9)
        assert np.isfinite([curve.low, curve.high]).all()

    def test_correlations_agree_with_scipy(self):
        made = correlations(context().synthetic, dictionary())
        patients, visits = context().synthetic.patients, context().synthetic.visits
        first = visits.drop_duplicates("patient_id").set_index("patient_id")["albumin"].reindex(patients["patient_id"])
        expected = spearmanr(patients["age"], first, nan_policy="omit").statistic
        assert made.loc["age", "albumin"] == pytest.approx(expected)
        assert {"sex", "edema"} <= set(made)


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive", "information", "muted", "ink"])
def test_colours_can_be_told_from_white(verdict):
    """WCAG AA: contrast of at least 4.5 for text, white on red included."""
    css = (ROOT / "synthgen" / "report" / "report.css").read_text()
    [colour] = re.findall(rf"--{verdict}: #([0-9a-f]{{6}})", css)
    light = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in light]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    assert 1.05 / (luminance + 0.05) >= 4.5


def test_words_for_numbers():
    assert [number(v) for v in (None, 0.12345, 12345.6, -0.5, 0.0)] == ["–", "0.123", "12,346", "-0.5", "0"]
    assert [duration(s) for s in (0.05, 99.94, 130.3)] == ["0.1 s", "99.9 s", "2 min 10 s"]
    assert str(code("run `a <b>` now")) == "run <code>a &lt;b&gt;</code> now"
    assert str(breakable("a/b_<c>")) == "a/<wbr>b_<wbr>&lt;c&gt;"


def test_context_for_release_is_idempotent():
    once = context().for_release()
    assert isinstance(once, ReportContext)
    assert once.for_release() == once


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("Albumin in serum", "Albumin in serum"),
        ("Aspartate aminotransferase in serum (SGOT)", "Aspartate aminotransferase"),
        ("A stage of the latest biopsy that nobody reads", "stage_x"),
        (None, "stage_x"),
    ],
)
def test_a_long_label_is_cut_where_it_says_where(label, shown):
    from synthgen.dictionary import Column
    from synthgen.report.cohort_charts import _label

    column = Column(type="continuous", bounds=(0, 1), label=label)
    assert _label("stage_x", column) == shown.replace("_", " ")
