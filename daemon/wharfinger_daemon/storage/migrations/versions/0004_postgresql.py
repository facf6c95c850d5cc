"""PostgreSQL: turns to write, and text in the order of its bytes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# They are compared and ordered: everywhere alike, and whatever the locale of the server.
_ORDERED = (("targets", "path", 1024), ("targets", "bin", 255), ("metadata_roles", "role", 255))


def upgrade() -> None:
    op.create_table(
        "writing_turns",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
    )
    op.execute("INSERT INTO writing_turns (number, token) VALUES (0, 0)")
    if op.get_bind().dialect.name == "postgresql":
        for table, column, length in _ORDERED:
            op.alter_column(table, column, type_=sa.String(length, collation="C"))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, column, length in _ORDERED:
            op.alter_column(table, column, type_=sa.String(length, collation="default"))
    op.drop_table("writing_turns")
