"""Alembic's environment. ``wharfinger db upgrade`` and ``storage.migrate`` hand in the connection."""

from alembic import context

from wharfinger_daemon.storage.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
