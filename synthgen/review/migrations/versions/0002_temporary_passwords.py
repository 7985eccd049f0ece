"""A password that somebody else chose is good for choosing one's own, and for nothing else."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("people", sa.Column("temporary", sa.Boolean, nullable=False, server_default=sa.false()))
