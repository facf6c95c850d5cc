"""The pinned root, and what is verified from there."""

from datetime import timedelta

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import DelegatedRole, Delegations, SuccinctRoles, Targets

from wharfinger_daemon.errors import InvalidRequestError, Reason, StartupError
from wharfinger_daemon.signing.ledger import Epoch
from wharfinger_daemon.signing.model import RoleType
from wharfinger_daemon.signing.trust import load_trusted_repository


async def refusal(maker, pin=None):
    with pytest.raises(StartupError) as caught:
        await load_trusted_repository("pypi", pin or maker.pin, maker.source, maker.clock)
    assert Reason.REPOSITORY_INVALID == caught.value.reason
    return caught.value


async def test_whole_chain_is_verified_and_known_by_the_digest_of_root_1(maker):
    repository = await maker.load()
    assert Epoch(maker.pin, 1) == repository.epoch
    assert {"root": 1, "targets": 1, "bins": 1} == repository.versions
    assert maker.clock.now() == repository.verified_at


async def test_authority_over_every_role_comes_from_its_delegator(maker):
    repository = await maker.load()
    online = (maker.online_key.keyid,)
    found = {
        role: (repository.authority(role).role_type, repository.authority(role).keyids)
        for role in ("targets", "snapshot", "timestamp", "bins", "bins-0", "bins-3")
    }
    assert {
        "targets": (RoleType.TARGETS, (maker.targets_signer.public_key.keyid,)),
        "snapshot": (RoleType.SNAPSHOT, online),
        "timestamp": (RoleType.TIMESTAMP, online),
        "bins": (RoleType.TARGETS, (maker.bins_signer.public_key.keyid,)),
        "bins-0": (RoleType.BINS, online),
        "bins-3": (RoleType.BINS, online),
    } == found
    assert 2 == repository.authority("root").threshold


@pytest.mark.parametrize("role", ["bins-4", "bins-00", "bins-+1", "bins-", "bin-0", "Snapshot", "", "../root"])
async def test_roles_that_nothing_delegates_to_are_unknown(maker, role):
    repository = await maker.load()
    with pytest.raises(InvalidRequestError) as caught:
        repository.authority(role)
    assert Reason.UNKNOWN_ROLE == caught.value.reason


@pytest.mark.parametrize("alias", ["bins-0F", "bins-+f", "bins-f_", "bins- f"])
async def test_alias_of_a_bin_that_only_a_lenient_parser_reads_is_unknown(maker, sign_metadata, alias):
    """Each would have a ledger of its own: two payloads for one bin."""
    bins = maker.bins()
    bins.delegations.succinct_roles = SuccinctRoles([maker.online_key.keyid], 1, 8, "bins")
    maker.source.put(sign_metadata(bins, maker.bins_signer), "bins")
    repository = await maker.load()
    assert repository.authority("bins-0f").role_type is RoleType.BINS
    with pytest.raises(InvalidRequestError):
        repository.authority(alias)


async def test_root_that_is_not_the_pinned_one_is_refused_with_both_digests(maker):
    error = await refusal(maker, pin="0" * 64)
    assert "1.root.json" == error.details["file"]
    assert maker.pin in error.message
    assert "0" * 64 in error.message


async def test_missing_root_is_refused(maker):
    pin = maker.pin
    maker.source.files.clear()
    assert "1.root.json" in (await refusal(maker, pin)).message


async def test_root_1_that_its_own_keys_did_not_sign_is_refused(maker):
    maker.put_root(maker.root(), maker.root_signers[:1])
    assert "signatures do not hold" in (await refusal(maker)).message


async def test_newest_root_is_found_by_counting_up(maker):
    for version in (2, 3):
        maker.put_root(maker.root(version))
    assert 3 == (await maker.load()).versions["root"]


async def test_root_rotation_needs_the_old_keys_and_the_new(maker):
    old, new = maker.root_signers, [CryptoSigner.generate_ecdsa() for _ in range(3)]
    maker.root_signers = new
    rotated = maker.root(2)
    maker.put_root(rotated, new[:2])
    assert "2.root.json" == (await refusal(maker)).details["file"]
    maker.put_root(rotated, old[:2])
    assert "2.root.json" == (await refusal(maker)).details["file"]
    maker.put_root(rotated, [*old[:2], *new[:2]])
    assert 2 == (await maker.load()).versions["root"]


async def test_root_that_says_another_version_than_its_name_is_refused(maker, sign_metadata):
    maker.source.put(sign_metadata(maker.root(3), *maker.root_signers), "root", version=2)
    assert "says that it is version 3" in (await refusal(maker)).message


async def test_garbage_instead_of_metadata_is_refused(maker):
    maker.source.files["targets", 1] = b"garbage"
    assert "1.targets.json" == (await refusal(maker)).details["file"]


async def test_metadata_of_another_type_is_refused(maker, sign_metadata):
    maker.source.put(sign_metadata(maker.snapshot(), maker.targets_signer), "targets")
    assert "snapshot metadata" in (await refusal(maker)).message


@pytest.mark.parametrize("role", ["targets", "bins"])
async def test_offline_metadata_signed_by_a_stranger_is_refused(maker, sign_metadata, role):
    metadata = maker.targets() if role == "targets" else maker.bins()
    maker.source.put(sign_metadata(metadata, CryptoSigner.generate_ecdsa()), role)
    assert f"1.{role}.json" == (await refusal(maker)).details["file"]


async def test_offline_versions_are_counted_up_from_those_that_the_published_snapshot_names(maker, sign_metadata):
    """What was imported after the snapshot is trusted already; what lies behind a gap is not."""
    for version in (3, 4, 6):
        maker.source.put(sign_metadata(maker.bins(version), maker.bins_signer), "bins")
    maker.source.put(sign_metadata(maker.snapshot(7, bins=3)), "snapshot")
    maker.source.put(sign_metadata(maker.timestamp(9, snapshot=7)), "timestamp", version=0)
    assert {"root": 1, "targets": 1, "bins": 4} == (await maker.load()).versions


@pytest.mark.parametrize("role", ["targets", "bins"])
async def test_newer_offline_metadata_that_does_not_verify_is_refused(maker, sign_metadata, role):
    metadata = maker.targets(2) if role == "targets" else maker.bins(2)
    maker.source.put(sign_metadata(metadata, CryptoSigner.generate_ecdsa()), role)
    maker.source.put(sign_metadata(maker.snapshot(7)), "snapshot")
    maker.source.put(sign_metadata(maker.timestamp(9, snapshot=7)), "timestamp", version=0)
    assert f"2.{role}.json" == (await refusal(maker)).details["file"]


async def test_only_the_newest_offline_version_must_verify(maker, sign_metadata):
    """Versions between were signed under roots that are past; nobody reads them any more."""
    maker.source.put(sign_metadata(maker.bins(2), CryptoSigner.generate_ecdsa()), "bins")
    maker.source.put(sign_metadata(maker.bins(3), maker.bins_signer), "bins")
    assert 3 == (await maker.load()).versions["bins"]


async def test_the_epoch_comes_from_the_ledger(maker):
    loaded = await load_trusted_repository("pypi", maker.pin, maker.source, maker.clock, epoch_number=3)
    assert Epoch(maker.pin, 3) == loaded.epoch


async def test_without_a_publication_the_newest_offline_version_counts(maker, sign_metadata):
    for version in (2, 3):
        maker.source.put(sign_metadata(maker.bins(version), maker.bins_signer), "bins")
    assert 3 == (await maker.load()).versions["bins"]


@pytest.mark.parametrize(
    ("missing", "file"), [(("snapshot", 7), "7.snapshot.json"), (("bins", 1), "1.bins.json")], ids=str
)
async def test_file_that_a_published_one_names_must_exist(maker, sign_metadata, missing, file):
    maker.source.put(sign_metadata(maker.snapshot(7)), "snapshot")
    maker.source.put(sign_metadata(maker.timestamp(9, snapshot=7)), "timestamp", version=0)
    del maker.source.files[missing]
    assert file == (await refusal(maker)).details["file"]


async def test_bins_must_exist_where_targets_delegates_to_it(maker):
    del maker.source.files["bins", 1]
    assert "1.bins.json" == (await refusal(maker)).details["file"]


async def test_repository_without_targets_has_top_level_roles_only(maker):
    del maker.source.files["targets", 1]
    repository = await maker.load()
    assert {"root": 1} == repository.versions
    assert ["root", "snapshot", "targets", "timestamp"] == sorted(one.pattern for one in repository.authorities())


async def test_repository_without_delegations_is_accepted(maker, sign_metadata):
    maker.source.put(sign_metadata(Targets(expires=maker.expires(days=365)), maker.targets_signer), "targets")
    assert {"root": 1, "targets": 1} == (await maker.load()).versions


async def test_bins_may_be_delegated_by_targets_directly(maker, sign_metadata, path_of):
    maker.source.put(sign_metadata(maker.bins(), maker.targets_signer), "targets")
    authority = (await maker.load()).authority("bins-1")
    assert authority.delegates("bins-1", path_of("bins-1"))
    assert not authority.delegates("bins-2", path_of("bins-1"))


async def test_bins_may_be_delegated_by_hash_prefix(maker, sign_metadata, path_of):
    key = maker.online_key
    roles = {
        f"bins-{digit}": DelegatedRole(f"bins-{digit}", [key.keyid], 1, True, path_hash_prefixes=[digit])
        for digit in "0123456789abcdef"
    }
    delegations = Delegations({key.keyid: key}, roles=roles)
    bins = Targets(expires=maker.expires(days=365), delegations=delegations)
    maker.source.put(sign_metadata(bins, maker.bins_signer), "bins")
    repository = await maker.load()
    path = path_of("bins-0")  # The first of four bins by two bits holds the prefixes 0 to 3.
    owners = [role for role in roles if repository.authority(role).delegates(role, path)]
    assert RoleType.BINS is repository.authority("bins-0").role_type
    assert 1 == len(owners)
    assert owners[0] in ("bins-0", "bins-1", "bins-2", "bins-3")


async def test_role_delegated_by_path_lasts_as_long_as_targets(maker, sign_metadata):
    key = maker.bins_signer.public_key
    role = DelegatedRole("claimed", [key.keyid], 1, False, paths=["packages/*"])
    targets = Targets(
        expires=maker.expires(days=365), delegations=Delegations({key.keyid: key}, roles={"claimed": role})
    )
    maker.source.put(sign_metadata(targets, maker.targets_signer), "targets")
    authority = (await maker.load()).authority("claimed")
    assert RoleType.TARGETS is authority.role_type
    assert authority.delegates("claimed", "packages/a")
    assert not authority.delegates("claimed", "elsewhere/a")


async def test_one_key_under_two_keyids_is_refused(maker):
    """It would count twice towards the threshold."""
    root = maker.root()
    key = maker.root_signers[0].public_key
    root.add_key(SSlibKey("another", key.keytype, key.scheme, key.keyval), "root")
    maker.put_root(root)
    assert "one key under two keyids" in (await refusal(maker)).message


async def test_key_that_does_not_load_is_refused(maker):
    root = maker.root()
    root.add_key(SSlibKey("broken", "ecdsa", "ecdsa-sha2-nistp256", {"public": "no PEM"}), "snapshot")
    maker.put_root(root)
    assert "a delegation cannot be used" in (await refusal(maker)).message


async def test_keyid_without_a_key_authorises_nothing(maker):
    root = maker.root()
    root.roles["snapshot"].keyids.append("absent")
    maker.put_root(root)
    authority = (await maker.load()).authority("snapshot")
    assert (maker.online_key.keyid, "absent") == authority.keyids
    assert [maker.online_key.keyid] == list(authority.keys)


async def test_expired_offline_metadata_is_accepted_and_told(maker):
    """A repository whose root has run out must still be able to renew the rest."""
    repository = await maker.load()
    assert [] == repository.expired_at(maker.clock.now())
    assert ["root", "targets", "bins"] == repository.expired_at(maker.clock.now() + timedelta(days=365))
