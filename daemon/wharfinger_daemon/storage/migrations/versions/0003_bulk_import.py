"""Rows of targets in the order in which bins list them, and rows that come in bulk, before they are published."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("targets", "targets_by_path")
    op.create_table(
        "targets",
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("bin", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.Text(), nullable=False),
        # Names of constraints are unique in PostgreSQL, and the table that goes has the usual one.
        sa.PrimaryKeyConstraint("repository", "bin", "path", name=op.f("pk_targets_by_bin")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO targets (repository, bin, path, length, hashes) "
        "SELECT repository, bin, path, length, hashes FROM targets_by_path ORDER BY repository, bin, path"
    )
    op.drop_table("targets_by_path")
    op.create_table(
        "unpublished_bins",
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("repository", "role", name=op.f("pk_unpublished_bins")),
    )
    op.create_table(
        "target_imports",
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("added", sa.BigInteger(), nullable=False),
        sa.Column("replaced", sa.BigInteger(), nullable=False),
        sa.Column("unchanged", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository", name=op.f("pk_target_imports")),
    )


def downgrade() -> None:
    op.drop_table("target_imports")
    op.drop_table("unpublished_bins")
    op.rename_table("targets", "targets_by_bin")
    op.create_table(
        "targets",
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("bin", sa.String(length=255), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("repository", "path", name=op.f("pk_targets")),
    )
    op.create_index(op.f("ix_targets_repository_bin_path"), "targets", ["repository", "bin", "path"])
    op.execute(
        "INSERT INTO targets (repository, path, bin, length, hashes) "
        "SELECT repository, path, bin, length, hashes FROM targets_by_bin"
    )
    op.drop_table("targets_by_bin")
