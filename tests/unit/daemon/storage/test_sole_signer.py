"""No two processes sign with one database: each would go by what it alone has heard of."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wharfinger_daemon.errors import Reason, StartupError, UnavailableError
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.sole_signer import sole_signer


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path / 'wharfinger.db'}")) as database:
        yield database


def test_a_second_signer_is_refused_until_the_first_is_done(database: Database, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "wharfinger.db")
    with closing(Database(f"sqlite:///{link}")) as second:
        with sole_signer(database), pytest.raises(StartupError) as refused, sole_signer(second):
            pass
        assert Reason.PUBLISHER_RUNNING == refused.value.reason
        with sole_signer(second):
            pass


def test_databases_in_memory_are_nobody_elses() -> None:
    with closing(Database("sqlite://")) as first, closing(Database("sqlite://")) as second:
        with sole_signer(first), sole_signer(second):
            pass


def test_a_link_in_the_place_of_the_lock_is_not_followed(database: Database, tmp_path: Path) -> None:
    (tmp_path / "wharfinger.db.signer").symlink_to(tmp_path / "victim")
    with pytest.raises(UnavailableError) as refused, sole_signer(database):
        pass
    assert Reason.DATABASE_UNAVAILABLE == refused.value.reason
    assert not (tmp_path / "victim").exists()


def test_a_file_system_without_locks_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuses)
    with pytest.raises(UnavailableError, match="No locks available"), sole_signer(database):
        pass
