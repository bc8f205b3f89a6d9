"""What alembic runs: the migrations, on the connection that `shared.registry.migrate` holds its lock on."""

from alembic import context

from shared.registry.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
