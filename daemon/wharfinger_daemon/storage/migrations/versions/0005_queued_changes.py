"""Changes that a daemon takes that does not publish."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wharfinger_daemon.storage.column_types import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queued_changes",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_queued_changes")),
    )
    op.create_index(op.f("ix_queued_changes_repository_settled_at"), "queued_changes", ["repository", "settled_at"])


def downgrade() -> None:
    op.drop_table("queued_changes")
