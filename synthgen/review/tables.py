"""The tables of the review house. Times are seconds since 1970, UTC. Migrations make them (`migrations/`); a test compares."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

PEOPLE = sa.Table(
    "people",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(32), nullable=False, unique=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("public_key", sa.String(64)),  # Ed25519, hex; officers only
    sa.Column("sealed_key", sa.Text),  # the private key, sealed with the officer's password
    sa.Column("temporary", sa.Boolean, nullable=False, server_default=sa.false()),  # somebody else chose the password
)

SESSIONS = sa.Table(
    "sessions",
    METADATA,
    sa.Column("token", sa.String(64), primary_key=True),  # SHA-256 of what the browser holds
    sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id"), nullable=False, index=True),
    sa.Column("kind", sa.String(8), nullable=False),  # browser (cookie and CSRF token) or api (bearer)
    sa.Column("csrf", sa.String(64), nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
)

FAILURES = sa.Table(
    "signin_failures",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, index=True),
    sa.Column("address", sa.String(64), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
)

MIRROR = sa.Table(
    "log_mirror",  # how far the log has taken over the ledger's entries
    METADATA,
    sa.Column("chain", sa.String(16), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
)

REVIEWS = sa.Table(
    "reviews",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String(120), nullable=False, index=True),
    sa.Column("opened_by", sa.Integer, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("opened_at", sa.Float, nullable=False),
    sa.Column("closed_at", sa.Float),
    sa.Column("looks", sa.Integer, nullable=False),  # blind looks wanted for each patient
    sa.Column("real_data", sa.Boolean, nullable=False),  # whether its queue or its flags depend on real patients
)

ITEMS = sa.Table(
    "review_items",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("review_id", sa.Integer, sa.ForeignKey("reviews.id"), nullable=False, index=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("patient_id", sa.String(64), nullable=False),
    sa.Column("flags", sa.Text, nullable=False),  # JSON, as they stood when the review was opened
    sa.Column("planted", sa.Boolean, nullable=False),  # a spoiled copy that should be rejected: a hidden gold item
    sa.Column("wanted", sa.Integer, nullable=False),  # looks; a second opinion adds one
    sa.Column("verdict", sa.String(8)),  # accept or reject, once its looks agree or a conflict was adjudicated
    sa.UniqueConstraint("review_id", "position"),
)

LOOKS = sa.Table(
    "looks",  # a lease until it is answered, a decision after
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("item_id", sa.Integer, sa.ForeignKey("review_items.id"), nullable=False, index=True),
    sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id"), nullable=False, index=True),
    sa.Column("opened_at", sa.Float, nullable=False),
    sa.Column("leased_until", sa.Float, nullable=False),
    sa.Column("skipped_at", sa.Float),
    sa.Column("opinion", sa.Boolean, nullable=False),  # whether it asked for a second one
    sa.Column("answer", sa.String(8)),
    sa.Column("reason", sa.String(24)),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("answered_at", sa.Float),
    sa.Column("seconds", sa.Float),
    sa.Column("undone_at", sa.Float),
    sa.Column("adjudicates", sa.Boolean, nullable=False),
    sa.Column("saw_real_data", sa.Boolean, nullable=False),
    sa.Column("imported_from", sa.String(80)),
    sa.Index(
        "one_live_look",
        "item_id",
        "person_id",
        "adjudicates",
        unique=True,
        sqlite_where=sa.text("undone_at IS NULL"),
        postgresql_where=sa.text("undone_at IS NULL"),
    ),
)

RELEASES = sa.Table(
    "releases",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String(120), nullable=False, index=True),
    sa.Column("state", sa.String(12), nullable=False),  # proposed, approved, refused, withdrawn
    sa.Column("proposed_by", sa.Integer, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("proposed_at", sa.Float, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Integer, sa.ForeignKey("people.id")),
    sa.Column("decided_at", sa.Float),
    sa.Column("reason", sa.Text),
    sa.Column("expires_at", sa.Float),
    sa.Column("approval", sa.Text),  # the signed statement, JSON
)

ACCEPTANCES = sa.Table(
    "acceptances",  # inconclusive findings that an officer accepted by name
    METADATA,
    sa.Column("release_id", sa.Integer, sa.ForeignKey("releases.id"), primary_key=True),
    sa.Column("finding", sa.String(200), primary_key=True),
    sa.Column("person_id", sa.Integer, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("config", sa.Text, nullable=False),  # the job's YAML file
    sa.Column("run", sa.String(120)),
    sa.Column("state", sa.String(12), nullable=False, index=True),  # queued, running, finished, failed, cancelled
    sa.Column("queued_by", sa.Integer, sa.ForeignKey("people.id"), nullable=False),
    sa.Column("queued_at", sa.Float, nullable=False),
    sa.Column("worker", sa.String(80)),
    sa.Column("leased_until", sa.Float),
    sa.Column("cancel", sa.Boolean, nullable=False),
    sa.Column("stage", sa.String(16)),
    sa.Column("what", sa.String(80)),
    sa.Column("done", sa.Integer),
    sa.Column("total", sa.Integer),
    sa.Column("epsilon", sa.Float),
    sa.Column("message", sa.Text),
    sa.Column("ended_at", sa.Float),
)

JOB_LOG = sa.Table(
    "job_log",  # what became of a job, line by line; no value of a patient
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id"), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)
