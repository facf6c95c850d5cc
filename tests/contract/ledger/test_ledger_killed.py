"""A process that signs is killed at any moment, again and again."""

import random
import select
import subprocess
import sys
import time
from contextlib import closing

import pytest
from sqlalchemy import text

from wharfinger_daemon.storage.database import Database

# Signs ever higher versions, and tells of each signature once it is on record. It goes on with the version after the
# highest on record, with content of its own: what it meets half done, it must leave as it is.
SIGNER = """
import asyncio, hashlib, os, sys
from datetime import UTC, datetime
from wharfinger_daemon.signing.ledger import Epoch, Requester, Reservation
from wharfinger_daemon.storage.database import Database
from wharfinger_daemon.storage.journal import Journal
from wharfinger_daemon.storage.ledger import SqlLedger

EPOCH = Epoch("a" * 64)
AT = datetime(2030, 1, 1, tzinfo=UTC)

async def main():
    ledger = SqlLedger(Journal(Database(sys.argv[1])))
    version = (await ledger.floors(EPOCH)).get("bins-0", {}).get("bins-0", 0)
    print("ready", flush=True)
    while True:
        version += 1
        digests = [hashlib.sha256(os.urandom(8)).digest() for _ in range(3)]
        batch = [Reservation(EPOCH, f"bins-{n}", version, digest, "key") for n, digest in enumerate(digests)]
        entered = await ledger.reserve(batch, Requester("caller", "request"), max_version_jump=1, at=AT)
        print("reserved", version, *(digest.hex() for digest in digests), flush=True)
        signatures = [b"signature of " + digest for digest in digests]
        made = zip((recorded.leaf for recorded in entered), signatures)
        await ledger.record(list(made), synced=False)
        print("recorded", version, *(signature.hex() for signature in signatures), flush=True)

asyncio.run(main())
"""

PROMISED = "SELECT role, version, digest FROM ledger_entries"
SIGNED = (
    "SELECT role, version, signature FROM ledger_signatures JOIN ledger_entries ON entry = ledger_entries.leaf"
    " WHERE signature IS NOT NULL"
)


def run_and_kill(url, seconds):
    """Everything that a signer told before it was killed."""
    signer = subprocess.Popen([sys.executable, "-c", SIGNER, url], stdout=subprocess.PIPE)
    try:
        assert select.select([signer.stdout], [], [], 60)[0], "the signer did not start"
        assert b"ready\n" == signer.stdout.readline()
        time.sleep(seconds)  # This is the random moment of the kill, not a wait for something.
    finally:
        signer.kill()
        told = signer.stdout.read()
        signer.stdout.close()
        signer.wait()
    # The last line may have been cut off by the kill.
    return [line.split() for line in told.decode().split("\n")[:-1]]


@pytest.mark.parametrize("seed", range(3))
def test_no_version_has_two_digests_and_nothing_that_was_told_is_lost(database_url, seed):
    moments = random.Random(seed)
    reserved, recorded = {}, {}
    for _ in range(3):
        for kind, version, *values in run_and_kill(database_url, moments.uniform(0.01, 0.25)):
            told = reserved if kind == "reserved" else recorded
            for number, value in enumerate(values):
                assert value == told.setdefault((f"bins-{number}", int(version)), value)
    with closing(Database(database_url)) as database, database.reading() as connection:
        promised = {(role, version): digest.hex() for role, version, digest in connection.execute(text(PROMISED))}
        signed = {(role, version): signature.hex() for role, version, signature in connection.execute(text(SIGNED))}
        rows = connection.execute(text("SELECT count(*) FROM ledger_entries")).scalar_one()
    assert rows == len(promised), "one digest for each version"
    assert reserved, "the signer was never killed before it signed anything"
    assert reserved.items() <= promised.items()
    assert recorded.items() <= signed.items()
    versions = {role: sorted(version for of, version in promised if of == role) for role, _ in promised}
    assert 1 == len({tuple(numbers) for numbers in versions.values()}), "a batch is on record as a whole"
