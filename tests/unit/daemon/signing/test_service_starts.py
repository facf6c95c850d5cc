"""What the service checks before the daemon starts, and which keys it lists."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import DelegatedRole, Delegations, Targets

from wharfinger_daemon.errors import NotFoundError, Reason, StartupError, UnavailableError
from wharfinger_daemon.signing.ledger import Requester, Reservation
from wharfinger_daemon.signing.model import ClaimedVersions
from wharfinger_daemon.signing.service import SigningService
from wharfinger_daemon.signing.standing import Standing


async def test_token_with_the_online_key_passes(bench):
    await bench.service.verify_keys_held()


async def test_token_without_the_online_key_is_refused_with_the_keyids(bench_of, maker):
    bench = await bench_of(maker, private_keys=[ec.generate_private_key(ec.SECP256R1())])
    with pytest.raises(StartupError) as caught:
        await bench.service.verify_keys_held()
    assert Reason.KEY_MISMATCH == caught.value.reason
    assert maker.online_key.keyid == caught.value.details["keyids"]
    for what in ("timestamp", "snapshot", "bins-*", maker.online_key.keyid, "[hsm]"):
        assert what in caught.value.message


async def test_token_that_lacks_the_key_of_the_bins_alone_is_refused(bench_of, maker, sign_metadata):
    other = SSlibKey.from_crypto(ec.generate_private_key(ec.SECP256R1()).public_key())
    maker.source.put(sign_metadata(maker.bins(keys=[other]), maker.bins_signer), "bins")
    bench = await bench_of(maker)
    with pytest.raises(StartupError, match=r"may sign bins-\* of") as caught:
        await bench.service.verify_keys_held()
    assert other.keyid == caught.value.details["keyids"]


async def test_one_of_two_authorised_keys_is_enough(bench_of, maker, sign_metadata):
    other = SSlibKey.from_crypto(ec.generate_private_key(ec.SECP256R1()).public_key())
    maker.source.put(sign_metadata(maker.bins(keys=[other, maker.online_key]), maker.bins_signer), "bins")
    await (await bench_of(maker)).service.verify_keys_held()


async def test_token_that_is_away_is_told_apart_from_a_token_without_the_key(bench):
    bench.keys.available = False
    with pytest.raises(UnavailableError):
        await bench.service.verify_keys_held()


async def test_nothing_published_needs_no_ledger(bench):
    await bench.service.verify_ledger("pypi", {})


async def test_ledger_that_knows_all_that_was_published_passes(bench):
    maker = bench.maker
    await bench.sign(
        bench.item(maker.bin("bins-0"), "bins-0"),
        bench.item(maker.snapshot(1, bins_0=1)),
        bench.item(maker.timestamp(1)),
        bench.item(maker.timestamp(2)),
    )
    await bench.service.verify_ledger("pypi", {"timestamp": 1, "snapshot": 1, "bins-0": 1, "targets": 1, "bins": 1})


async def test_missing_ledger_is_refused(bench):
    with pytest.raises(StartupError) as caught:
        await bench.service.verify_ledger("pypi", {"timestamp": 3, "snapshot": 2, "bins-0": 9})
    assert (Reason.LEDGER_MISSING, "3") == (caught.value.reason, caught.value.details["roles_behind"])
    assert "version 3 of 'timestamp'" in caught.value.message
    assert "Restore the newest copy of the database" in caught.value.message


async def test_ledger_of_a_restored_backup_is_refused(bench):
    await bench.sign(bench.item(bench.maker.timestamp(1)))
    with pytest.raises(StartupError) as caught:
        await bench.service.verify_ledger("pypi", {"timestamp": 2})
    assert Reason.LEDGER_BEHIND == caught.value.reason
    assert "ends at version 1" in caught.value.message


async def test_version_that_a_snapshot_only_named_is_not_one_that_was_signed(bench):
    """Else another payload could be signed for it."""
    await bench.sign(bench.item(bench.maker.snapshot(1, bins_0=1)))
    with pytest.raises(StartupError) as caught:
        await bench.service.verify_ledger("pypi", {"snapshot": 1, "bins-0": 1})
    assert (Reason.LEDGER_BEHIND, "bins-0") == (caught.value.reason, caught.value.details["role"])


@pytest.mark.parametrize("role", ["targets", "bins"])
async def test_offline_metadata_older_than_a_signed_snapshot_named_is_refused(bench, role):
    """Whoever can write the metadata directory could otherwise bring revoked keys back."""
    named = {"targets": 1, "bins": 1} | {role: 2}
    reservation = Reservation(bench.repository.epoch, "snapshot", 1, b"d" * 32, "key", named)
    now = bench.maker.clock.now()
    await bench.ledger.reserve([reservation], Requester("warehouse", "request"), max_version_jump=10, at=now)
    with pytest.raises(StartupError) as caught:
        await bench.service.verify_ledger("pypi", {"snapshot": 1})
    assert (Reason.REPOSITORY_INVALID, f"1.{role}.json") == (caught.value.reason, caught.value.details["file"])


async def test_ledger_of_another_repository_of_the_same_name_does_not_count(bench, bench_of, maker):
    """A repository is known by its trusted root, not by its name."""
    await bench.sign(bench.item(maker.timestamp(1)))
    maker.put_root(maker.root(), maker.root_signers)
    other = await maker.load()
    service = SigningService(Standing([other]), bench.ledger, bench.keys, bench.policy, maker.clock)
    with pytest.raises(StartupError) as caught:
        await service.verify_ledger("pypi", {"timestamp": 1})
    assert Reason.LEDGER_MISSING == caught.value.reason


async def test_service_without_an_observer_tells_nobody(bench, maker):
    service = SigningService(Standing([bench.repository]), bench.ledger, bench.keys, bench.policy, maker.clock)
    item = bench.item(maker.snapshot())
    assert 1 == len(await service.sign([item], caller=bench.caller, request_id="", timeout_seconds=10))
    with pytest.raises(NotFoundError):
        await service.sign(
            [bench.item(maker.snapshot(), repository="x")], caller=bench.caller, request_id="", timeout_seconds=10
        )


async def test_keys_are_listed_with_all_that_they_may_sign(bench):
    [key] = await bench.service.signing_keys("pypi")
    online = bench.maker.online_key
    assert (online.keyid, "ecdsa", "ecdsa-sha2-nistp256") == (key.keyid, key.keytype, key.scheme)
    assert ["bins-*", "snapshot", "timestamp"] == sorted(key.roles)
    assert online.keyval["public"].strip() == key.public_key_pem.strip()
    assert bench.maker.clock.now() == key.verified_at


async def test_keys_that_the_token_does_not_hold_are_not_listed(bench_of, maker):
    bench = await bench_of(maker, private_keys=[])
    assert [] == await bench.service.signing_keys("pypi")


async def test_keys_of_an_unknown_repository_are_refused(bench):
    with pytest.raises(NotFoundError):
        await bench.service.signing_keys("other")


def prefixed(maker, keys_by_digit):
    keys = {key.keyid: key for key in keys_by_digit.values()}
    roles = {
        f"bins-{digit}": DelegatedRole(f"bins-{digit}", [key.keyid], 1, True, path_hash_prefixes=[digit])
        for digit, key in keys_by_digit.items()
    }
    return Targets(expires=maker.expires(days=365), delegations=Delegations(keys, roles=roles))


async def test_bins_by_hash_prefix_are_listed_as_one_where_the_key_may_sign_all(bench_of, maker, sign_metadata):
    delegator = prefixed(maker, dict.fromkeys("01234567", maker.online_key))
    maker.source.put(sign_metadata(delegator, maker.bins_signer), "bins")
    [key] = await (await bench_of(maker)).service.signing_keys("pypi")
    assert ["bins-*", "snapshot", "timestamp"] == sorted(key.roles)


async def test_bins_by_hash_prefix_are_listed_each_where_the_key_may_not_sign_all(bench_of, maker, sign_metadata):
    other = SSlibKey.from_crypto(ec.generate_private_key(ec.SECP256R1()).public_key())
    delegator = prefixed(maker, {"0": maker.online_key, "1": other, "2": maker.online_key})
    maker.source.put(sign_metadata(delegator, maker.bins_signer), "bins")
    [key] = await (await bench_of(maker)).service.signing_keys("pypi")
    assert ["bins-0", "bins-2", "snapshot", "timestamp"] == sorted(key.roles)


async def test_taken_versions_are_what_was_signed_and_what_was_named(bench, maker):
    """A publisher that must choose free versions asks for them."""
    await bench.sign(bench.item(maker.bin("bins-0", 4), "bins-0"), bench.item(maker.snapshot(3, bins_0=4, bins_1=7)))
    claimed = await bench.service.claimed_versions("pypi")
    assert {
        "bins-0": ClaimedVersions(signed=4, named=4),
        "bins-1": ClaimedVersions(signed=0, named=7),
        "snapshot": ClaimedVersions(signed=3, named=0),
        "targets": ClaimedVersions(signed=0, named=1),
        "bins": ClaimedVersions(signed=0, named=1),
    } == claimed
    with pytest.raises(NotFoundError):
        await bench.service.claimed_versions("elsewhere")
