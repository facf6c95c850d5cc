"""A development home for clients that do not know TAP 15."""

from __future__ import annotations

from pathlib import Path

from tuf.api.metadata import Metadata, Targets

from tests.support.daemon_process import run_cli
from tests.support.ngclient_directory import client_of


def test_init_delegates_to_bins_by_path_hash_prefixes_if_told_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    options = ("--bins", "2", "--delegation", "path_hash_prefixes")
    made = run_cli("init", "--development", "--home", str(home), *options)
    assert 0 == made.returncode, made.stderr
    bins: Metadata[Targets] = Metadata.from_file(str(home / "metadata" / "1.bins.json"))
    assert bins.signed.delegations is not None and bins.signed.delegations.roles is not None
    assert ["bins-0", "bins-1"] == list(bins.signed.delegations.roles)
    assert client_of(home / "metadata", tmp_path / "cache").get_targetinfo("packages/absent.whl") is None
