"""What the JSON API takes: unknown keys, NaN and NUL are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from synthgen.review.access import printable

Text = Annotated[str, StringConstraints(max_length=2000), AfterValidator(printable)]


class Body(BaseModel):
    """One JSON object."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class SignIn(Body):
    """Who asks for a token."""

    name: Text
    password: Text


class NewJob(Body):
    """A job of the jobs folder; what is left out stays as in the file."""

    job: Text
    epsilon: float | None = Field(default=None, gt=0, le=1e6)
    patients: int | None = Field(default=None, ge=1, le=10_000_000)
    seed: int | None = Field(default=None, ge=0, lt=2**63)


class NewReview(Body):
    """How a review is made up."""

    run: Text
    looks: int = Field(default=2, ge=1, le=5)
    most: int = Field(default=100, ge=0, le=2000)
    random: int = Field(default=10, ge=0, le=500)
    planted: int = Field(default=5, ge=0, le=50)
    real_data: bool = False


class Decision(Body):
    """An answer to a look."""

    answer: Literal["accept", "reject"]
    reason: Text = ""
    note: Text = ""


class Imported(Body):
    """One decision made elsewhere."""

    patient_id: Text
    answer: Literal["accept", "reject"]
    reason: Text = ""
    note: Text = ""
    saw_real_data: bool = False


class Imports(Body):
    """Decisions made elsewhere."""

    rows: list[Imported] = Field(min_length=1, max_length=5000)
    source: Text = "api"


class Proposal(Body):
    """A run to be released, and what for."""

    run: Text
    purpose: Text


class Acceptance(Body):
    """An inconclusive finding, by its name."""

    finding: Text
    reason: Text


class Verdict(Body):
    """A decision of an officer."""

    reason: Text
    password: Text


class Approval(Verdict):
    """An approval, for some days."""

    days: int = Field(default=365, ge=1, le=1825)
    seen: Text = ""
    """`seen` of the proposal as it was looked at: nothing is signed when it has changed since."""


class Cap(Body):
    """The most that may be spent."""

    cap: float = Field(gt=0, le=1000)
    password: Text


class Reauthenticated(Body):
    """What needs the password once more."""

    password: Text


class Consent(Reauthenticated):
    """Consent was withdrawn; the reason does not name the patient."""

    reason: Text


class Retention(Reauthenticated):
    """Runs begun more than so many days ago."""

    days: int = Field(ge=0, le=36_500)


class Draft(Body):
    """What was chosen and written so far."""

    reason: Text = ""
    note: Text = ""


class Active(Body):
    """Whether an account is open."""

    active: bool


class NewPassword(Body):
    """One's own password."""

    old: Text
    new: Text


class Root(Body):
    """A root kept earlier, or nothing."""

    root: Text = ""


class NewPerson(Body):
    """A new account."""

    name: Text
    role: Text
    password: Text
