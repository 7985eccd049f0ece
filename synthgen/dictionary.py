"""The data dictionary (`cohort.yaml`): what is *public* about a cohort, written down without looking at its data.

A job learns types, bounds and categories here and nowhere else. `knowledge` entries are what the literature says of the
disease, each with its source; a generator may be pretrained on them at epsilon 0. A dictionary with none is *vague*.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from privacy.errors import ConfigError

TABLES = ("patients", "visits", "events", "phenotypes", "variants", "notes", "images")
"""The tables a cohort may have. `patients` has one row each; the others point at it by `patient_id`."""

LINKED = ("images", "notes")
"""Tables that follow from the record of their patient; a job may leave them out."""

NUMERIC = ("continuous", "integer")


def _word(value: Any) -> Any:
    """YAML reads yes, no, 1 and 2 as booleans and numbers; categories are words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int | float) else value


Word = Annotated[str, BeforeValidator(_word)]
Model = TypeVar("Model", bound=BaseModel)


class Entry(BaseModel):
    """A part of a dictionary: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Knowledge(Entry):
    """What is publicly known of one column. Numbers are on the column's own scale: for `scale: log`, `typical` is in the
    column's unit, `spread`, `within` and `change_per_year` are in natural-log units (0.1 = about 10%)."""

    source: str
    """Where it is written: a paper, a guideline, a public cohort."""
    typical: float | None = None
    """The median patient at the first visit."""
    spread: float | None = Field(default=None, gt=0)
    """Standard deviation between patients at the first visit."""
    within: float | None = Field(default=None, gt=0)
    """Standard deviation of one patient's values around their own trend."""
    change_per_year: float | None = None
    """Mean change per year."""
    change_spread: float | None = Field(default=None, gt=0)
    """Standard deviation between patients of the change per year."""
    frequencies: dict[Word, float] | None = None
    """Share of patients in each category at the first visit."""
    severity: float | None = Field(default=None, ge=-1, le=1)
    """Correlation with how severe the patient's disease is (its hidden severity)."""
    missing: float | None = Field(default=None, ge=0, lt=1)
    """Share of visits at which it is not recorded."""


class Column(Entry):
    """One column: what may stand in it."""

    type: Literal["continuous", "integer", "categorical", "ordinal", "text", "image", "file", "id"]
    """What the cells are; ordinal categories have an order; `image` is a picture, read from a path in the cohort's folder;
    `file` is any other path in it."""
    role: (
        Literal[
            "id", "time", "static", "measurement", "outcome", "code", "stop", "dose", "hpo", "disease", "gene", "hgvs"
        ]
        | None
    ) = None
    """What the column is for: `time` (days), `stop` and `dose` of an event, its `code`; `static` in patients, `measurement` in
    visits, `outcome` of the two that end follow-up.
    `hpo`, `disease` (OMIM or ORPHA), `gene` (HGNC symbol) and `hgvs` say which vocabulary the cells are of."""
    label: str | None = None
    """The name that readers see."""
    unit: str | None = None
    """Unit of bounds and values."""
    bounds: tuple[float, float] | None = None
    """Public lower and upper bound: a value outside is a breach, and no synthetic value lies outside."""
    categories: tuple[Word, ...] | None = None
    """Every category; of an ordinal column in ascending order."""
    reference: tuple[float, float] | None = None
    """The range of healthy people."""
    scale: Literal["linear", "log"] = "linear"
    """`log` for what spreads over orders of magnitude; it needs a lower bound above 0."""
    decimals: int | None = Field(default=None, ge=0, le=12)
    """Digits after the point in the files."""
    size: int | None = Field(default=None, ge=8, le=1024)
    """Of an image: the side in pixels to which every picture is brought when it is read."""
    channels: Literal[1, 3] = 1
    """Of an image: 1 is grey, 3 is red, green and blue."""
    code: str | None = None
    """LOINC:..., HP:..., ORPHA:..."""
    missing: bool = False
    """Whether a value may be missing."""
    sensitive: bool = False
    """What an attacker would like to learn of a patient: the attribute inference attack tries to."""
    quasi_identifier: bool = False
    """What an attacker may know of a patient beforehand: the audit counts how few share it (k-map)."""
    knowledge: Knowledge | None = None
    """What is publicly known of its values."""
    unreviewed: str | None = None
    """Set by `synthgen init` on what it read from the data; a job refuses it until a person has replaced the bound by a
    public one and removed this mark."""
    source: str | None = None
    """The column's name in the file, where that differs."""
    recode: dict[Word, Word] | None = None
    """Spellings in the file -> categories here."""
    multiply: float | None = None
    """Factor from the file's unit to this one (365.25 for years to days)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type in NUMERIC:
            if self.bounds is None:
                raise ValueError("a numeric column needs public bounds: [low, high]")
            low, high = self.bounds
            if not low < high:
                raise ValueError("bounds need low < high")
            if self.scale == "log" and low <= 0:
                raise ValueError("scale: log needs a lower bound above 0")
        if self.type == "image" and self.size is None:
            raise ValueError("an image column needs size: the side in pixels that every picture is brought to")
        if self.type != "image" and (self.size is not None or self.channels != 1):
            raise ValueError("size and channels belong to columns of type: image")
        if self.type in ("categorical", "ordinal"):
            single = self.role in ("code", "outcome")  # one kind of event; follow-up that only ends
            if not self.categories or len(self.categories) < (1 if single else 2):
                wanted = "one category" if single else "two categories"
                raise ValueError(f"a categorical or ordinal column needs at least {wanted}")
            if len(set(self.categories)) != len(self.categories):
                raise ValueError("categories must differ from each other")
            known = self.knowledge.frequencies if self.knowledge else None
            if known and set(known) != set(self.categories):
                raise ValueError("knowledge.frequencies needs exactly one share for each category")
            if known and (min(known.values()) < 0 or not math.isclose(sum(known.values()), 1, abs_tol=0.02)):
                raise ValueError("knowledge.frequencies need shares >= 0 that sum to 1")
        if self.role in ("time", "stop", "dose") and self.type not in NUMERIC:
            kind = "continuous or integer" if self.role == "dose" else "integer (days since the first event)"
            raise ValueError(f"role: {self.role} needs a numeric column: write type: {kind}, or take the role out")
        if self.role == "stop" and self.bounds and self.bounds[0] != 0:
            raise ValueError("role: stop needs bounds from 0, the patient's first event: write bounds: [0, high]")
        if self.type in NUMERIC and self.knowledge and self.knowledge.typical is not None:
            assert self.bounds is not None
            if not self.bounds[0] <= self.knowledge.typical <= self.bounds[1]:
                raise ValueError("knowledge.typical lies outside the bounds")
        return self

    @property
    def numeric(self) -> bool:
        return self.type in NUMERIC

    @property
    def discrete(self) -> bool:
        return self.type in ("categorical", "ordinal")


class Table(Entry):
    """One table: the file it is read from (without ending, when named as the table itself) and its columns."""

    file: str | None = None
    """The file's name without ending, where it is not the table's."""
    columns: dict[str, Column]
    """Name -> column."""
    ignore: tuple[str, ...] = ()
    """Columns of the file that are left out on purpose; any other undeclared column is a breach."""


class Outcome(Entry):
    """Time to event: two columns of `patients`. Follow-up ends at the first event; nothing is recorded after it."""

    time: str
    """Days from the first visit to the event or the end of follow-up."""
    status: str
    """What ended follow-up: one category is `censored`, every other is an event."""
    censored: Word
    """The category that is no event."""


class EventRate(Entry):
    """What is publicly known of one event of the outcome, or one code of the `events` table."""

    source: str
    """Where it is written."""
    per_year: float = Field(ge=0)
    """Rate of the typical patient."""
    severity: float = 0.0
    """Log rate ratio per standard deviation of the patient's hidden severity."""
    duration_days: float | None = Field(default=None, gt=0)
    """Typical time from start to stop."""
    dose: float | None = None
    """Typical dose, in the unit of the dose column."""


class Schedule(Entry):
    """When patients are seen, in days."""

    source: str
    """Where it is written."""
    days: tuple[float, ...] = (0.0,)
    """The planned first visits."""
    every: float = Field(default=365.0, gt=0)
    """The planned gap after those."""
    jitter: float = Field(default=30.0, ge=0)
    """Standard deviation of a visit's day around its plan."""
    missed: float = Field(default=0.1, ge=0, lt=1)
    """Share of planned visits that do not happen."""
    follow_up: tuple[float, float] = (365.0, 3650.0)
    """Earliest and latest administrative end of follow-up."""


class MendelianDisease(Entry):
    """What is publicly known of one disease of a phenotype cohort: its entry in OMIM or Orphanet."""

    label: str
    """The disease's name."""
    gene: Word | None = None
    """HGNC symbol of the gene that defines it."""
    hgnc: str | None = None
    """HGNC:..."""
    inheritance: Literal["dominant", "recessive", "x-linked"] | None = None
    """Default: as HPO's annotations say, else dominant."""


class DiseaseKnowledge(Entry):
    """What is publicly known of the disease beyond single columns."""

    schedule: Schedule | None = None
    """When patients are seen."""
    outcome: dict[Word, EventRate] = {}
    """One entry for each event category of the outcome's status."""
    events: dict[Word, EventRate] = {}
    """One entry for each code of the `events` table."""
    diseases: dict[Word, MendelianDisease] = {}
    """One entry for each category of the column whose role is `disease`."""


class Rule(Entry):
    """A clinical rule: an expression over the columns of one table that must hold in every row."""

    name: str
    """Short name, for reports."""
    table: str = "visits"
    """The table whose rows it holds for."""
    expression: str
    """For example `ascites == "yes" implies albumin < 4` is written `albumin < 4 or ascites == "no"`. The values of the
    patient's own row of `patients` are in scope; `previous(x)` is the same patient's value at the visit before."""
    severity: Literal["hard", "severe", "moderate", "mild"] = "moderate"
    """How bad a row that breaks it is; `hard` cannot happen at all."""
    category: Literal["conformance", "completeness", "plausibility"] = "plausibility"
    """Kahn's category (2016, eGEMs 4:1244): does the value keep to its form, is it there, is it believable?"""
    text: str
    """The rule in a clinician's words."""
    source: str | None = None
    """Where it is written."""


class Task(Entry):
    """A prediction that users of the data will want, from what is known at a landmark."""

    name: str
    """Short name, for reports."""
    kind: Literal["event", "survival", "classification", "regression"] = "event"
    """`event`: whether it comes by the horizon; `survival`: when it comes; `classification` and `regression`: the first
    value of `target` that is recorded on the horizon or later."""
    event: tuple[Word, ...] = ()
    """Outcome categories that count as the event."""
    target: str | None = None
    """The measurement that is predicted, where that is no event."""
    horizon_days: float = Field(gt=0)
    """Days from the first visit by which the event counts, or from which the target is read."""
    landmark_days: float = Field(default=0.0, ge=0)
    """Predictors are the visits up to here; only patients still at risk here take part."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.landmark_days >= self.horizon_days:
            raise ValueError(f"task {self.name}: landmark_days needs to lie before horizon_days")
        if self.of_outcome and (not self.event or self.target):
            raise ValueError(f"task {self.name}: kind: {self.kind} needs event: [category, ...], and no target")
        if not self.of_outcome and (self.event or not self.target):
            raise ValueError(f"task {self.name}: kind: {self.kind} needs target: a measurement, and no event")
        return self

    @property
    def of_outcome(self) -> bool:
        """Whether it predicts the outcome's event, and no measurement."""
        return self.kind in ("event", "survival")


class Edge(Entry):
    """One arrow of the disease's causal graph, as the literature has it."""

    cause: str
    """A column of patients or visits; the outcome's status stands for time to the first event."""
    effect: str
    """What it acts on."""
    source: str | None = None
    """Where it is written."""


class Independence(Entry):
    """Two columns that tell nothing of each other once others are known (those who were randomised, for instance)."""

    between: tuple[str, str]
    """The two columns."""
    given: tuple[str, ...] = ()
    """What has to be known."""
    source: str | None = None
    """Where it is written."""


class Graph(Entry):
    """What is declared of cause and effect. It need not be complete: what is not declared is not tested."""

    edges: tuple[Edge, ...] = ()
    """Each is tested as a partial correlation of cause and effect, given the effect's other declared causes."""
    independences: tuple[Independence, ...] = ()
    """Each is tested as a partial correlation that should be 0."""

    @model_validator(mode="after")
    def _acyclic(self) -> Self:
        causes = {e.effect: {x.cause for x in self.edges if x.effect == e.effect} for e in self.edges}
        while causes:
            free = [effect for effect, of in causes.items() if not of & set(causes)]
            if not free:
                raise ValueError(f"graph: its edges run in a circle through {', '.join(sorted(causes))}")
            causes = {effect: of for effect, of in causes.items() if effect not in free}
        return self

    def causes(self, effect: str) -> tuple[str, ...]:
        """The declared causes of a column."""
        return tuple(edge.cause for edge in self.edges if edge.effect == effect)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column it names."""
        named = [c for e in self.edges for c in (e.cause, e.effect)]
        named += [c for i in self.independences for c in (*i.between, *i.given)]
        return tuple(dict.fromkeys(named))


class Estimand(Entry):
    """A quantity that a trialist would estimate from the data, and whose interval has to be right."""

    name: str
    """Short name, for reports."""
    kind: Literal["hazard_ratio", "mean_difference"]
    """`hazard_ratio`: Cox regression of the outcome, on the log scale; `mean_difference`: linear regression of `response`."""
    exposure: str
    """A column at the first visit: a number in `per` units of its own scale, or a category by its place in the list (0, 1,
    ...)."""
    per: float = Field(default=1.0, gt=0)
    """For which difference of the exposure the estimate is stated."""
    event: tuple[Word, ...] = ()
    """Of a hazard ratio: the outcome categories that count; other ends censor. All events by default."""
    response: str | None = None
    """Of a mean difference: the measurement, on its own scale."""
    at_days: float = Field(default=0.0, ge=0)
    """Of a mean difference: the first value recorded on this day or later is the response."""
    adjust: tuple[str, ...] = ()
    """Columns at the first visit that stand beside the exposure in the regression."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.kind == "mean_difference") != (self.response is not None):
            raise ValueError(f"estimand {self.name}: response belongs to a mean_difference, which needs one")
        return self


class Dictionary(Entry):
    """The data dictionary of one cohort.

    Raises:
        ConfigError: on reading one that contradicts itself; every fault with its place.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """The cohort's name in the ledger: a corrected or re-exported file keeps it, and keeps what was spent."""
    title: str
    """What the cohort is, in words."""
    disease: str | None = None
    """The disease and its code."""
    declared_patients: int = Field(ge=2)
    """The public size of the cohort; rates and normalisers come from it, never from the data. The claim publishes it."""
    provenance: str | None = None
    """Where the cohort comes from."""
    licence: str | None = None
    """On what terms the real data may be used."""
    publications: tuple[Word, ...] = ()
    """References (PMID:...) in which patients of this cohort were described. Public annotations that cite them were counted
    in these very patients: they are no public knowledge here, and every prior leaves them out."""
    tables: dict[str, Table]
    """Name -> table; `patients` is required."""
    ignore: tuple[str, ...] = ()
    """Tables in the cohort's folder that are left out on purpose; any other undeclared table is a breach."""
    outcome: Outcome | None = None
    """How follow-up ends, if that is known."""
    rules: tuple[Rule, ...] = ()
    """Clinical rules that every patient keeps."""
    rule_packs: tuple[str, ...] = ()
    """Packs of rules that apply by code and unit (`configs/rules/`, or a file NAME.yaml beside this one or in `rules/`)."""
    tasks: tuple[Task, ...] = ()
    """Predictions to judge the synthetic cohort by."""
    subgroups: dict[str, tuple[float, ...]] = {}
    """Static columns whose groups must each be right: numbers with their cut points (`age: [50]`), categories with none
    (`sex: []`)."""
    graph: Graph = Graph()
    """What is declared of cause and effect."""
    estimands: tuple[Estimand, ...] = ()
    """Quantities whose estimates and intervals the synthetic cohort has to keep."""
    knowledge: DiseaseKnowledge = DiseaseKnowledge()
    """What is publicly known of the disease."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unknown = sorted(set(self.tables) - set(TABLES))
        if unknown:
            raise ValueError(f"unknown table {unknown[0]}; a cohort may have {', '.join(TABLES)}")
        if "patients" not in self.tables:
            raise ValueError("a cohort needs the table patients")
        for name, table in self.tables.items():
            if "patient_id" not in table.columns or table.columns["patient_id"].type != "id":
                raise ValueError(f"table {name} needs the column patient_id (type: id)")
            day = table.columns.get("day")
            if (day is None and name in ("visits", "events")) or (day and day.type != "integer"):
                raise ValueError(
                    f"table {name} needs the column day (type: integer): days since the patient's first event"
                )
            if day and day.bounds and day.bounds[0] != 0:
                raise ValueError(f"table {name}: the bounds of day start at 0, the patient's first event")
        if self.outcome:
            columns = self.tables["patients"].columns
            for role in ("time", "status"):
                if getattr(self.outcome, role) not in columns:
                    raise ValueError(f"outcome.{role} names no column of patients")
            if not columns[self.outcome.time].numeric:
                raise ValueError("outcome.time needs a numeric column: days, never a date")
            if (bounds := columns[self.outcome.time].bounds) and bounds[0] != 0:
                raise ValueError(
                    "outcome.time needs bounds from 0, the patient's first event: in patients, write "
                    f"{self.outcome.time}: bounds: [0, {bounds[1]:g}]"
                )
            status = columns[self.outcome.status]
            if not status.categories or self.outcome.censored not in status.categories:
                raise ValueError("outcome.censored is not a category of the status column")
            if extra := sorted(set(self.knowledge.outcome) - set(status.categories)):
                raise ValueError(f"knowledge.outcome names {extra[0]}, which is no category of the status column")
        elif any(task.of_outcome for task in self.tasks) or self.knowledge.outcome:
            raise ValueError("tasks and knowledge.outcome need an outcome")
        for rule in self.rules:
            if rule.table not in self.tables:
                raise ValueError(f"rule {rule.name}: the cohort has no table {rule.table}")
        for task in self.tasks:
            if extra := sorted(set(task.event) - set(self.outcome_events)):
                raise ValueError(f"task {task.name}: {extra[0]} is no event of the outcome")
            kind = None if task.target is None else self.measurements.get(task.target)
            if task.target and (kind is None or kind.numeric != (task.kind == "regression")):
                kinds = "a number" if task.kind == "regression" else "a categorical or ordinal column"
                raise ValueError(f"task {task.name}: target needs to be {kinds} of visits")
        for place, name in self._named():
            if name not in self.static and name not in self.measurements:
                raise ValueError(f"{place}: {name} is no column of patients or visits that has values")
        for name, cuts in self.subgroups.items():
            if name not in self.static or self.static[name].numeric != bool(cuts) or sorted(set(cuts)) != list(cuts):
                raise ValueError(
                    f"subgroups.{name}: needs a static column; of a number its cut points in ascending order, of a category []"
                )
        for estimand in self.estimands:
            if estimand.kind == "hazard_ratio" and not self.outcome:
                raise ValueError(f"estimand {estimand.name}: a hazard ratio needs an outcome")
            if extra := sorted(set(estimand.event) - set(self.outcome_events)):
                raise ValueError(f"estimand {estimand.name}: {extra[0]} is no event of the outcome")
            if estimand.response and not ((of := self.measurements.get(estimand.response)) and of.numeric):
                raise ValueError(f"estimand {estimand.name}: response needs to be a number of visits")
        return self

    def _named(self) -> Iterable[tuple[str, str]]:
        """(place, column) of what graph and estimands name; the outcome's status is a node of the graph."""
        status = self.outcome.status if self.outcome else None
        yield from (("graph", name) for name in self.graph.columns if name != status)
        for estimand in self.estimands:
            yield from ((f"estimand {estimand.name}", name) for name in (estimand.exposure, *estimand.adjust))

    @property
    def outcome_events(self) -> tuple[str, ...]:
        """The categories of the outcome's status that are events."""
        if self.outcome is None:
            return ()
        categories = self.tables["patients"].columns[self.outcome.status].categories or ()
        return tuple(c for c in categories if c != self.outcome.censored)

    @property
    def static(self) -> dict[str, Column]:
        """The columns of `patients` that describe a patient at the first visit."""
        outcome = (self.outcome.time, self.outcome.status) if self.outcome else ()
        return {
            name: column
            for name, column in self.tables["patients"].columns.items()
            if (column.numeric or column.discrete) and name not in outcome
        }

    @property
    def measurements(self) -> dict[str, Column]:
        """The columns of `visits` that are measured."""
        visits = self.tables.get("visits")
        return (
            {}
            if visits is None
            else {name: c for name, c in visits.columns.items() if (c.numeric or c.discrete) and name != "day"}
        )

    def without(self, tables: Iterable[str]) -> Dictionary:
        """The same dictionary without these tables, whose files it leaves alone, and without their rules."""
        gone = set(tables)
        return self.model_copy(
            update={
                "tables": {name: table for name, table in self.tables.items() if name not in gone},
                "ignore": (*self.ignore, *sorted(gone & set(self.tables))),
                "rules": tuple(rule for rule in self.rules if rule.table not in gone),
            }
        )

    @property
    def is_vague(self) -> bool:
        """Whether it holds no public knowledge beyond bounds, categories, units and scales."""
        return self == self.vague()

    def vague(self) -> Dictionary:
        """The same dictionary without its public knowledge."""
        bare = {
            name: table.model_copy(
                update={"columns": {k: c.model_copy(update={"knowledge": None}) for k, c in table.columns.items()}}
            )
            for name, table in self.tables.items()
        }
        return self.model_copy(update={"tables": bare, "knowledge": DiseaseKnowledge()})

    @property
    def unreviewed(self) -> list[str]:
        """Columns whose bounds were read from the data and not yet replaced by public ones: `table.column`."""
        return [
            f"{t}.{c}" for t, table in self.tables.items() for c, column in table.columns.items() if column.unreviewed
        ]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all of it."""
        return hashlib.sha256(
            json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True).encode()
        ).hexdigest()


def parse(model: type[Model], data: Any, place: str) -> Model:
    """`data` as a `model`, or one ConfigError that lists every fault with its place in the file (and no value)."""
    if not isinstance(data, dict):
        raise ConfigError(f"{place}: needs keys and values at the top; see docs/configuration.md")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [
            f"{place}: {'.'.join(str(part) for part in e['loc']) or 'top level'}: {_fault(model, e['type'], e['loc'], e['msg'])}"
            for e in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigError("\n".join(faults)) from None


def _fault(model: type[BaseModel], kind: str, place: tuple[int | str, ...], message: str) -> str:
    if kind != "extra_forbidden":
        return message.removeprefix("Value error, ")
    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        model = (field and _model_in(field.annotation)) or model
    near = difflib.get_close_matches(str(place[-1]), model.model_fields, 1)
    return (
        f"unknown key; did you mean {near[0]}?" if near else "unknown key; docs/configuration.md lists those there are"
    )


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The part of a dictionary that an annotation holds: Table of dict[str, Table]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


class _UniqueKeys(yaml.SafeLoader):
    """YAML takes the last of two equal keys in silence; here that is a fault."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key, _ in node.value:
            if (name := self.construct_object(key, deep=True)) in seen:
                raise yaml.constructor.ConstructorError(None, None, "one key stands twice", key.start_mark)
            seen.append(name)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises ConfigError naming file and line when it is not YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_UniqueKeys)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({type(error).__name__})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}:{where} is not valid YAML ({getattr(error, 'problem', 'syntax')})") from None


def read_dictionary(path: str | Path) -> Dictionary:
    """The dictionary in a `cohort.yaml`, its rule packs' rules among its own.

    Raises:
        ConfigError: with every fault and its place; for a rule pack that is not there.
    """
    from synthgen.rule_packs import with_packs

    return with_packs(parse(Dictionary, read_yaml(Path(path)), str(path)), Path(path).resolve().parent)
