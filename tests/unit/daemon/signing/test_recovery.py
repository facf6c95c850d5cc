"""What is published tells the least that was signed; a new epoch needs a root that revokes the old keys."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile, Timestamp

from wharfinger_daemon.errors import InvalidRequestError, Reason, RefusedError, StartupError
from wharfinger_daemon.signing.model import ClaimedVersions
from wharfinger_daemon.signing.recovery import require_revoked, starts_of_epoch, verify_publication

BINS = {"bins-0": 4, "bins-1": 2, "bins-2": 7, "bins-3": 1}


@pytest.fixture
def publish(maker, sign_metadata):
    """Puts a whole publication into the store."""

    def publish(snapshot=9, timestamp=12, **bins):
        online = CryptoSigner(maker.online)
        for role, version in {**BINS, **bins}.items():
            maker.source.put(sign_metadata(maker.bin(role, version), online), role)
        named = {role.replace("-", "_"): version for role, version in BINS.items()}
        maker.source.put(sign_metadata(maker.snapshot(snapshot, **named), online), "snapshot")
        content = maker.source.files["snapshot", snapshot]
        described = MetaFile(snapshot, len(content), {"sha256": hashlib.sha256(content).hexdigest()})
        signed = Timestamp(version=timestamp, expires=maker.expires(hours=24), snapshot_meta=described)
        maker.source.put(sign_metadata(signed, online), "timestamp", 0)

    return publish


@pytest.fixture
def verified(maker):
    async def verified(told=lambda done, total: None):
        return await verify_publication(await maker.load(), maker.source, told)

    return verified


async def test_everything_that_the_timestamp_leads_to_is_verified(publish, verified, maker):
    publish()
    steps = []
    found = await verified(lambda done, total: steps.append((done, total)))
    assert {"timestamp": 12, "snapshot": 9, "targets": 1, "bins": 1, **BINS} == found.versions
    assert {"timestamp", "snapshot", *BINS} == found.online
    assert [(done, 6) for done in range(1, 7)] == steps
    assert hashlib.sha256(maker.source.files["timestamp", 0]).hexdigest() == found.timestamp_sha256


async def test_floors_are_above_what_is_published_by_the_margin_and_by_what_the_operator_knows(publish, verified):
    publish()
    floors = (await verified()).floors({"bins-*": 6, "timestamp": 500}, 3)
    assert {"timestamp": 500, "snapshot": 9} == floors["timestamp"]
    assert {"snapshot": 12, "targets": 1, "bins": 1, **BINS} == floors["snapshot"]
    assert [{"bins-0": 7}, {"bins-1": 6}, {"bins-2": 10}, {"bins-3": 6}] == [floors[role] for role in sorted(BINS)]
    assert {"targets", "bins"}.isdisjoint(floors), "they are signed elsewhere"


def test_epoch_goes_on_above_what_is_published_or_higher_where_the_operator_says():
    claimed = {
        "timestamp": ClaimedVersions(900, 0),
        "snapshot": ClaimedVersions(800, 700),
        "bins-0": ClaimedVersions(4, 4),
        "targets": ClaimedVersions(0, 1),
    }
    published = {"timestamp": 12, "snapshot": 9, "targets": 1}
    assert {"timestamp": 15, "snapshot": 9, "bins-0": 0} == starts_of_epoch(claimed, published, {"timestamp": 15})
    with pytest.raises(InvalidRequestError):
        starts_of_epoch(claimed, published, {"targets": 1})
    with pytest.raises(RefusedError, match="version 12 is published") as caught:
        starts_of_epoch(claimed, published, {"timestamp": 11})
    assert Reason.EPOCH_REFUSED == caught.value.reason


@pytest.mark.parametrize(
    ("declared", "margin", "reason"),
    [
        ({"bin-*": 3}, 0, Reason.UNKNOWN_ROLE),
        ({"targets": 3}, 0, Reason.UNKNOWN_ROLE),
        ({"timestamp": 0}, 0, Reason.MALFORMED_REQUEST),
        ({"timestamp": 2**63}, 0, Reason.MALFORMED_REQUEST),
        ({}, -1, Reason.MALFORMED_REQUEST),
    ],
)
async def test_nonsense_of_the_operator_is_refused(publish, verified, declared, margin, reason):
    publish()
    found = await verified()
    with pytest.raises(InvalidRequestError) as caught:
        found.floors(declared, margin)
    assert reason == caught.value.reason


@pytest.mark.parametrize("lost", [("timestamp", 0), ("snapshot", 9), ("bins-2", 7)])
async def test_publication_that_is_not_whole_is_not_relied_on(publish, verified, maker, lost):
    publish()
    del maker.source.files[lost]
    with pytest.raises(StartupError) as caught:
        await verified()
    assert Reason.REPOSITORY_INVALID == caught.value.reason


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "bins-1"])
async def test_file_that_somebody_else_signed_is_not_relied_on(publish, verified, maker, sign_metadata, role):
    """Whoever can write the store could otherwise lower the floors of the rebuilt ledger."""
    publish()
    stranger = CryptoSigner(ec.generate_private_key(ec.SECP256R1()))
    forged = {"timestamp": maker.timestamp(3, 9), "snapshot": maker.snapshot(9), "bins-1": maker.bin("bins-1", 2)}[role]
    version = 0 if role == "timestamp" else None
    maker.source.put(sign_metadata(forged, stranger), role, version)
    with pytest.raises(StartupError) as caught:
        await verified()
    assert role in caught.value.details["file"]


async def test_older_file_under_a_newer_name_is_not_relied_on(publish, verified, maker, sign_metadata):
    publish()
    maker.source.put(sign_metadata(maker.bin("bins-1", 1), CryptoSigner(maker.online)), "bins-1", 2)
    with pytest.raises(StartupError, match="says that it is version 1"):
        await verified()


async def test_snapshot_that_is_not_the_one_of_the_timestamp_is_not_relied_on(publish, verified, maker, sign_metadata):
    publish()
    other = maker.snapshot(9, **{role.replace("-", "_"): version for role, version in BINS.items()})
    other.expires = maker.expires(hours=20)
    maker.source.put(sign_metadata(other, CryptoSigner(maker.online)), "snapshot")
    with pytest.raises(StartupError, match=r"9\.snapshot\.json"):
        await verified()


async def test_file_of_another_type_is_not_relied_on(publish, verified, maker, sign_metadata):
    publish()
    maker.source.put(sign_metadata(maker.timestamp(2), CryptoSigner(maker.online)), "bins-1")
    with pytest.raises(StartupError, match=r"timestamp metadata"):
        await verified()


async def test_role_without_a_delegation_is_not_relied_on(publish, verified, maker, sign_metadata):
    publish()
    online = CryptoSigner(maker.online)
    maker.source.put(sign_metadata(maker.snapshot(9, stray=1), online), "snapshot")
    maker.source.put(sign_metadata(maker.timestamp(12, 9), online), "timestamp", 0)
    with pytest.raises(StartupError, match="nothing delegates"):
        await verified()


class TestEpochs:
    """``require_revoked``: what old keys could sign, clients must no longer accept."""

    @pytest.fixture
    def roots(self, maker):
        def roots(*online):
            """Roots 1, 2, …, each with these keys for timestamp and snapshot."""
            made = []
            for version, keys in enumerate(online, 1):
                root = maker.root(version)
                for role in ("timestamp", "snapshot"):
                    root.roles[role].keyids = list(keys)
                made.append(root)
            return made

        return roots

    def test_root_that_revokes_all_keys_opens_an_epoch(self, roots):
        require_revoked(roots("a", "a", "b"), 1)
        require_revoked(roots("a", "b", "c"), 2)

    @pytest.mark.parametrize(
        ("online", "opened_with"),
        [
            (("a",), 1),  # no newer root
            (("a", "b"), 2),  # the present epoch was opened with the newest one
            (("a", "ab"), 1),  # an overlap
            (("a", "b", "a"), 1),  # a revoked key is back
            (("a", "ab", "b"), 1),  # its key could sign in this epoch, in the overlap
        ],
    )
    def test_no_other_root_does(self, roots, online, opened_with):
        with pytest.raises(RefusedError) as caught:
            require_revoked(roots(*online), opened_with)
        assert Reason.EPOCH_REFUSED == caught.value.reason

    def test_key_that_is_left_for_one_of_the_two_roles_is_enough_to_refuse(self, roots):
        made = roots("a", "b")
        made[1].roles["snapshot"].keyids = ["a"]
        with pytest.raises(RefusedError, match="still lists a "):
            require_revoked(made, 1)
