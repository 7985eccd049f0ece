"""Runs the migrations on the connection that `database.migrate` hands over."""

from alembic import context

from synthgen.review.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
