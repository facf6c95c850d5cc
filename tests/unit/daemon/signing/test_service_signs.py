"""The path that every signature takes."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import Signature as TufSignature
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Delegations, SuccinctRoles

from wharfinger_daemon.errors import (
    DeadlineError,
    InvalidRequestError,
    NotFoundError,
    NotGrantedError,
    Reason,
    RefusedError,
    UnavailableError,
    WharfingerError,
)
from wharfinger_daemon.signing.keys import AuthorisedKey
from wharfinger_daemon.signing.model import Caller, ExpiryCeilings, RoleType, SigningGrant, SigningPolicy

NOBODY = Caller("nobody", ())


async def refusal(bench, *items, kind=WharfingerError, **how):
    """The error of a batch that is refused, which must leave nothing behind."""
    before = bench.reservations()
    with pytest.raises(kind) as caught:
        await bench.sign(*items, **how)
    assert before == bench.reservations()
    assert [] == bench.keys.batches
    assert [caught.value.reason] == bench.observer.reasons
    return caught.value


async def test_signatures_are_those_that_a_client_verifies(bench):
    maker = bench.maker
    signed = [maker.bin("bins-0"), maker.bin("bins-1"), maker.snapshot(), maker.timestamp()]
    roles = ["bins-0", "bins-1", "snapshot", "timestamp"]
    items = [bench.item(one, role) for one, role in zip(signed, roles, strict=True)]
    signatures = await bench.sign(*items)
    assert [(role, 1, False) for role in roles] == [(one.role, one.version, one.replayed) for one in signatures]
    for item, signature in zip(items, signatures, strict=True):
        made = TufSignature(signature.keyid, signature.signature.hex())
        maker.online_key.verify_signature(made, item.signed)


async def test_token_is_asked_once_for_a_batch(bench):
    await bench.sign(*(bench.item(bench.maker.bin(f"bins-{number}"), f"bins-{number}") for number in range(4)))
    assert [4] == bench.keys.batches


async def test_role_may_be_left_out_where_the_type_tells(bench):
    [signature] = await bench.sign(bench.item(bench.maker.snapshot()))
    assert "snapshot" == signature.role


async def test_same_bytes_return_the_same_signature_without_the_token(bench):
    item = bench.item(bench.maker.snapshot())
    [first] = await bench.sign(item)
    [second] = await bench.sign(item)
    assert (first.signature, True) == (second.signature, second.replayed)
    assert [1] == bench.keys.batches


async def test_same_item_twice_in_a_batch_is_signed_once(bench):
    item = bench.item(bench.maker.snapshot())
    first, second = await bench.sign(item, item)
    assert first == second
    assert [1] == bench.keys.batches


async def test_other_bytes_for_a_used_version_are_refused(bench):
    await bench.sign(bench.item(bench.maker.timestamp()))
    bench.keys.batches.clear()
    bench.maker.clock.advance(timedelta(seconds=1))
    error = await refusal(bench, bench.item(bench.maker.timestamp()), kind=RefusedError)
    assert (Reason.VERSION_EQUIVOCATION, "0") == (error.reason, error.details["item"])


async def test_one_refused_item_refuses_the_whole_batch(bench):
    good = bench.item(bench.maker.bin("bins-0"), "bins-0")
    bad = bench.item(bench.maker.bin("bins-1"), "bins-2")
    error = await refusal(bench, good, good, bad, good)
    assert (Reason.TARGET_OUTSIDE_BIN, "2") == (error.reason, error.details["item"])
    assert {"role": "bins-2", "version": "1"}.items() <= error.details.items()


async def test_ledger_refuses_the_whole_batch(bench):
    first = bench.item(bench.maker.bin("bins-0"), "bins-0")
    second = bench.item(bench.maker.bin("bins-0", expires=bench.maker.expires(hours=1)), "bins-0")
    error = await refusal(bench, first, second)
    assert (Reason.VERSION_EQUIVOCATION, "1") == (error.reason, error.details["item"])


async def test_batch_must_have_items(bench):
    assert Reason.EMPTY_BATCH == (await refusal(bench, kind=InvalidRequestError)).reason


async def test_batch_may_not_be_larger_than_allowed(bench_of, maker):
    bench = await bench_of(maker, policy=SigningPolicy(max_batch=2))
    item = bench.item(maker.snapshot())
    assert Reason.BATCH_TOO_LARGE == (await refusal(bench, item, item, item)).reason


async def test_unknown_repository_is_refused(bench):
    item = bench.item(bench.maker.snapshot(), repository="other")
    assert Reason.UNKNOWN_REPOSITORY == (await refusal(bench, item, kind=NotFoundError)).reason


@pytest.mark.parametrize("signed", [b"", b"garbage", b"\x00" * 100, b'{"a": 1}', b"[" * 100_000])
async def test_garbage_is_refused(bench, signed):
    await refusal(bench, bench.item(signed, "snapshot"), kind=InvalidRequestError)


async def test_bytes_that_are_not_canonical_are_refused(bench, to_canonical):
    error = await refusal(bench, bench.item(to_canonical(bench.maker.snapshot()) + b"\n"))
    assert Reason.NOT_CANONICAL_JSON == error.reason


async def test_role_that_nobody_delegated_to_is_refused(bench):
    error = await refusal(bench, bench.item(bench.maker.bin(), "bins-7"), kind=InvalidRequestError)
    assert Reason.UNKNOWN_ROLE == error.reason


@pytest.mark.parametrize("role_type", list(RoleType))
async def test_expiry_has_an_upper_bound_for_each_type(bench_of, maker, role_type):
    hour = {one.value: timedelta(hours=1) for one in RoleType}
    bench = await bench_of(maker, policy=SigningPolicy(expiry_ceilings=ExpiryCeilings(**hour)))
    metadata = {
        RoleType.ROOT: maker.root(2),
        RoleType.TARGETS: maker.targets(2),
        RoleType.BINS: maker.bin("bins-0"),
        RoleType.SNAPSHOT: maker.snapshot(),
        RoleType.TIMESTAMP: maker.timestamp(),
    }[role_type]
    role = "bins-0" if role_type is RoleType.BINS else role_type.value
    metadata.expires = maker.expires(hours=1, seconds=1)
    error = await refusal(bench, bench.item(metadata, role), kind=InvalidRequestError)
    assert Reason.EXPIRY_BEYOND_CEILING == error.reason
    metadata.expires = maker.expires(hours=1)
    [lint] = await bench.lint(bench.item(metadata, role))
    online = role_type not in (RoleType.ROOT, RoleType.TARGETS)
    assert ("" if online else Reason.KEY_NOT_HELD) == lint.reason


async def test_what_has_expired_already_may_be_signed_again(bench):
    item = bench.item(bench.maker.snapshot())
    [first] = await bench.sign(item)
    bench.maker.clock.advance(timedelta(days=3))
    assert [first.signature] == [one.signature for one in await bench.sign(item)]


async def test_target_of_another_bin_is_refused(bench, path_of):
    metadata = bench.maker.bin("bins-0", paths=[path_of("bins-0"), path_of("bins-3")])
    error = await refusal(bench, bench.item(metadata, "bins-0"), kind=InvalidRequestError)
    assert Reason.TARGET_OUTSIDE_BIN == error.reason
    assert path_of("bins-3") in error.message


async def test_bin_may_not_hand_its_targets_to_another_key(bench):
    metadata = bench.maker.bin("bins-0")
    key = bench.maker.bins_signer.public_key
    metadata.delegations = Delegations({key.keyid: key}, succinct_roles=SuccinctRoles([key.keyid], 1, 1, "stolen"))
    error = await refusal(bench, bench.item(metadata, "bins-0"), kind=InvalidRequestError)
    assert Reason.DELEGATION_IN_BIN == error.reason


async def test_key_of_an_offline_role_is_not_held(bench):
    """Root, targets and bins are signed in a ceremony, and never here."""
    for metadata, role in ((bench.maker.root(2), "root"), (bench.maker.targets(2), "targets")):
        bench.observer.reasons.clear()
        error = await refusal(bench, bench.item(metadata, role), kind=RefusedError)
        assert Reason.KEY_NOT_HELD == error.reason
    keyid = bench.maker.bins_signer.public_key.keyid
    bench.observer.reasons.clear()
    error = await refusal(bench, bench.item(bench.maker.bins(2), "bins", keyid), kind=RefusedError)
    assert Reason.KEY_NOT_HELD == error.reason


async def test_key_that_is_known_but_not_authorised_for_the_role_is_refused(bench):
    item = bench.item(bench.maker.snapshot(), keyid=bench.maker.targets_signer.public_key.keyid)
    assert Reason.KEY_NOT_AUTHORISED == (await refusal(bench, item, kind=RefusedError)).reason


async def test_unknown_key_is_refused(bench):
    item = bench.item(bench.maker.snapshot(), keyid="f" * 64)
    assert Reason.KEY_UNKNOWN == (await refusal(bench, item, kind=RefusedError)).reason


async def test_authorised_key_that_a_token_cannot_hold_is_refused(bench_of, maker):
    key = SSlibKey.from_crypto(ec.generate_private_key(ec.SECP521R1()).public_key())
    root = maker.root()
    root.add_key(key, "snapshot")
    maker.put_root(root)
    bench = await bench_of(maker)
    item = bench.item(maker.snapshot(), keyid=key.keyid)
    assert Reason.KEY_NOT_HELD == (await refusal(bench, item, kind=RefusedError)).reason


async def test_key_must_be_named_where_the_token_holds_two(bench_of, maker):
    second = ec.generate_private_key(ec.SECP256R1())
    key = SSlibKey.from_crypto(second.public_key())
    root = maker.root()
    root.add_key(key, "snapshot")
    maker.put_root(root)
    bench = await bench_of(maker, private_keys=[maker.online, second])
    item = bench.item(maker.snapshot())
    assert Reason.KEYID_REQUIRED == (await refusal(bench, item, kind=InvalidRequestError)).reason
    both = [bench.item(maker.snapshot(), keyid=keyid) for keyid in (maker.online_key.keyid, key.keyid)]
    signatures = await bench.sign(*both)
    assert [item.keyid for item in both] == [signature.keyid for signature in signatures]
    assert 1 == bench.reservations()


@pytest.mark.parametrize(
    ("grants", "reason"),
    [
        ((), Reason.REPOSITORY_NOT_GRANTED),
        ((SigningGrant(("other",), ("*",)),), Reason.REPOSITORY_NOT_GRANTED),
        ((SigningGrant(("pypi",), ()),), Reason.ROLE_NOT_GRANTED),
        ((SigningGrant(("pypi",), ("bins-*", "timestamp")),), Reason.ROLE_NOT_GRANTED),
    ],
)
async def test_caller_needs_a_grant_for_the_role(bench, grants, reason):
    item = bench.item(bench.maker.snapshot())
    error = await refusal(bench, item, kind=NotGrantedError, caller=Caller("warehouse", grants))
    assert reason == error.reason


async def test_token_that_is_away_fails_the_batch_which_may_be_sent_again(bench):
    """The version is on record already; the same bytes may still be signed, and others may not."""
    item = bench.item(bench.maker.snapshot())
    await bench.service.verify_keys_held()
    bench.keys.available = False
    with pytest.raises(UnavailableError) as caught:
        await bench.sign(item)
    assert Reason.TOKEN_UNAVAILABLE == caught.value.reason
    bench.keys.available = True
    other = bench.item(bench.maker.snapshot(targets=2))
    with pytest.raises(RefusedError):
        await bench.sign(other)
    [signature] = await bench.sign(item)
    assert not signature.replayed


async def test_of_two_callers_at_once_both_get_the_signature_on_record(bench, monkeypatch):
    item = bench.item(bench.maker.snapshot())
    good = bench.keys.sign
    inner = []

    async def sign_while_another_does(requests, *, timeout_seconds):
        monkeypatch.setattr(bench.keys, "sign", good)
        inner.extend(await bench.sign(item))
        return await good(requests, timeout_seconds=timeout_seconds)

    monkeypatch.setattr(bench.keys, "sign", sign_while_another_does)
    [outer] = await bench.sign(item)
    assert [outer.signature] == [one.signature for one in inner]
    assert [1, 1] == bench.keys.batches


async def test_no_time_left_refuses_before_anything_is_written(bench):
    error = await refusal(bench, bench.item(bench.maker.snapshot()), kind=DeadlineError, timeout_seconds=0)
    assert Reason.DEADLINE_TOO_SHORT == error.reason


async def test_signatures_are_counted_by_type_and_replay(bench):
    snapshot = bench.item(bench.maker.snapshot())
    await bench.sign(snapshot)
    await bench.sign(snapshot, *(bench.item(bench.maker.bin(f"bins-{n}"), f"bins-{n}") for n in range(2)))
    expected = [(RoleType.SNAPSHOT, 1, False), (RoleType.SNAPSHOT, 1, True), (RoleType.BINS, 2, False)]
    assert expected == bench.observer.given


async def test_snapshot_that_would_roll_back_is_refused(bench):
    await bench.sign(bench.item(bench.maker.snapshot(1, bins_0=2)))
    bench.keys.batches.clear()
    error = await refusal(bench, bench.item(bench.maker.snapshot(2, bins_0=1)), kind=RefusedError)
    assert Reason.META_ROLLBACK == error.reason


async def test_empty_bin_is_signed_too(bench):
    metadata = bench.maker.bin("bins-0")
    metadata.targets = {}
    [signature] = await bench.sign(bench.item(metadata, "bins-0"))
    assert "bins-0" == signature.role


async def test_any_scheme_of_the_token_signs(bench_of, maker, sign_metadata):
    """ECDSA P-384, for one, whose digest is not the ledger's."""
    maker.online = ec.generate_private_key(ec.SECP384R1())
    maker.put_offline()
    bench = await bench_of(maker)
    item = bench.item(maker.snapshot())
    [signature] = await bench.sign(item)
    key = AuthorisedKey(maker.online_key)
    assert "ecdsa-sha2-nistp384" == key.scheme
    maker.online_key.verify_signature(TufSignature(signature.keyid, signature.signature.hex()), item.signed)


@pytest.mark.parametrize("place", [0, 25, 50])
async def test_every_target_is_checked(bench, path_of, place):
    paths = [path_of("bins-0", number) for number in range(50)]
    paths.insert(place, path_of("bins-1"))
    error = await refusal(bench, bench.item(bench.maker.bin("bins-0", paths=paths), "bins-0"), kind=InvalidRequestError)
    assert Reason.TARGET_OUTSIDE_BIN == error.reason


async def test_targets_may_be_online_in_a_repository_without_bins(bench_of, maker, sign_metadata):
    """As other software keeps it: one online key for all but root, and any path in targets."""
    root = maker.root()
    root.add_key(maker.online_key, "targets")
    maker.put_root(root)
    del maker.source.files["targets", 1]
    bench = await bench_of(maker)
    [signature] = await bench.sign(bench.item(maker.bin(paths=["any/path", "another"]), "targets"))
    assert ("targets", maker.online_key.keyid) == (signature.role, signature.keyid)


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"targets": 2}, Reason.META_NOT_VERIFIED),
        ({"bins": 2}, Reason.META_NOT_VERIFIED),
        ({"root": 1}, Reason.NOT_TUF_METADATA),
        ({"bins_ffff": 1}, Reason.UNKNOWN_ROLE),
    ],
)
async def test_snapshot_that_names_what_no_later_one_could_name_is_refused(bench, maker, named, reason):
    """What a snapshot names once, every later one must name, no version lower: this one would be the last."""
    with pytest.raises(WharfingerError) as caught:
        await bench.sign(bench.item(maker.snapshot(1, **named)))
    assert reason == caught.value.reason
