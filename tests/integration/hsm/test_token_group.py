"""Several tokens as one, on SoftHSM: clones that hold the same key, and a signer of securesystemslib beside them."""

import asyncio
import hashlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from wharfinger_hsm.errors import (
    KeyExistsError,
    KeyNotFoundError,
    TokenMissingError,
    TokenUnavailableError,
    UnsupportedItemError,
    WrongPinError,
)
from wharfinger_hsm.group import TokenGroup
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.memory_token import MemoryToken
from wharfinger_hsm.model import (
    Digest,
    KeyAlgorithm,
    KeySource,
    Message,
    SignerKey,
    SignerSettings,
    SigningItem,
    TokenKey,
    TokenSettings,
)
from wharfinger_hsm.supervisor import HsmSupervisor
from wharfinger_hsm.verification import verify

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
LIMITS = SupervisorLimits(allowance=0.3, allowance_per_item=0.0, first_backoff=0.02, longest_backoff=0.2, keys=20.0)


@dataclass
class Twins:
    """Two tokens that hold the same key, as cloned HSMs do."""

    key: TokenKey
    east: TokenSettings
    west: TokenSettings

    @staticmethod
    def directory(settings: TokenSettings) -> Path:
        return Path(settings.environment["SOFTHSM2_CONF"]).parent


@pytest.fixture
async def twins(softhsm: Any, start_supervisor: Any, tmp_path: Path) -> Twins:
    supervisor = await start_supervisor(softhsm.settings)
    key = await supervisor.generate(KeyAlgorithm.ECDSA_P256, "online")
    await supervisor.generate(KeyAlgorithm.ED25519, "canary")
    await supervisor.close()
    home = Twins.directory(softhsm.settings)
    west = tmp_path / "west"
    shutil.copytree(home, west)
    configuration = (west / "softhsm2.conf").read_text().replace(str(home), str(west))
    (west / "softhsm2.conf").write_text(configuration)
    pin_file = shutil.copy(softhsm.pin_file, tmp_path / "west-pin")
    environment = {"SOFTHSM2_CONF": str(west / "softhsm2.conf")}
    return Twins(key, softhsm.settings, replace(softhsm.settings, environment=environment, pin_file=Path(pin_file)))


StartGroup = Callable[..., Awaitable[TokenGroup]]


@pytest.fixture
async def start_group() -> AsyncIterator[StartGroup]:
    groups: list[TokenGroup] = []

    async def start(**sources: KeySource) -> TokenGroup:
        group = TokenGroup({name: HsmSupervisor(source, limits=LIMITS) for name, source in sources.items()})
        groups.append(group)
        await group.start()
        return group

    yield start
    for group in groups:
        await group.close()


def items_for(key: TokenKey, number: int = 1) -> list[SigningItem]:
    return [SigningItem(key.public_key, Digest(index.to_bytes(32, "big"))) for index in range(number)]


async def signs(group: TokenGroup, items: list[SigningItem], seconds: float = 20) -> None:
    for item, signature in zip(items, await group.sign(items, timeout_seconds=seconds), strict=True):
        verify(item, signature)


def worker_of(group: TokenGroup, name: str) -> int:
    worker = group._supervisors[name]._slots[0]._worker
    assert worker is not None
    return worker.process_id


async def test_the_keys_are_the_union_each_once(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(east=twins.east, west=twins.west)
    made = await group.generate(KeyAlgorithm.ECDSA_P384, "western", "west")

    assert ["canary", "online", "western"] == [key.label for key in await group.keys()]
    assert (("east", "west"), ("west",)) == (group.holders(twins.key.public_key), group.holders(made.public_key))
    assert (("east", "west"), 2, 0) == (group.names, group.healthy_workers, group.restarts)


async def test_each_key_signs_where_it_is(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(east=twins.east, west=twins.west)
    eastern = await group.generate(KeyAlgorithm.ECDSA_P256, "eastern", "east")
    western = await group.generate(KeyAlgorithm.ECDSA_P256, "western", "west")

    await signs(
        group, [item for pair in zip(items_for(western, 5), items_for(eastern, 5), strict=True) for item in pair]
    )
    await signs(group, [])


async def test_another_token_signs_while_the_first_is_away_and_stops_when_it_is_back(
    twins: Twins, start_group: StartGroup, eventually: Eventually
) -> None:
    group = await start_group(east=twins.east, west=twins.west)
    tokens = twins.directory(twins.east) / "tokens"
    away = tokens.rename(tokens.with_name("away"))

    for number in range(1, 6):
        await signs(group, items_for(twins.key, number))
    assert twins.key in await group.keys()  # What does not answer is not gone.

    away.rename(tokens)
    await eventually(lambda: group._supervisors["east"].healthy_workers == 1)
    os.kill(worker_of(group, "west"), signal.SIGSTOP)
    await signs(group, items_for(twins.key), seconds=5)


async def test_a_token_that_hangs_leaves_time_for_the_next(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(east=twins.east, west=twins.west)
    os.kill(worker_of(group, "east"), signal.SIGSTOP)

    await signs(group, items_for(twins.key), seconds=4)


async def test_when_no_token_can_the_first_ones_trouble_is_told(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(east=twins.east, west=twins.west)
    for settings in (twins.east, twins.west):
        tokens = twins.directory(settings) / "tokens"
        tokens.rename(tokens.with_name("away"))

    with pytest.raises(TokenUnavailableError):
        await group.sign(items_for(twins.key), timeout_seconds=5)
    with pytest.raises(TokenUnavailableError):
        await group.keys()
    with pytest.raises(TokenUnavailableError):
        await group.attributes(twins.key.public_key)


async def test_a_key_that_no_token_holds_is_not_found(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(east=twins.east, west=twins.west)
    stranger = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "elsewhere")

    for use in (group.sign(items_for(stranger), timeout_seconds=5), group.attributes(stranger.public_key)):
        with pytest.raises(KeyNotFoundError, match="No token holds"):
            await use
    with pytest.raises(KeyNotFoundError, match="No token holds"):
        await group.destroy(stranger.public_key)


async def test_a_key_is_not_missing_while_a_token_cannot_say(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(east=twins.east, west=twins.west)
    stranger = MemoryToken().generate(KeyAlgorithm.ECDSA_P256, "elsewhere")
    tokens = twins.directory(twins.east) / "tokens"
    tokens.rename(tokens.with_name("away"))

    with pytest.raises(TokenUnavailableError):
        await group.sign(items_for(stranger), timeout_seconds=5)


async def test_a_token_that_is_absent_at_the_start_joins_later(
    twins: Twins, start_group: StartGroup, eventually: Eventually, caplog: Any
) -> None:
    tokens = twins.directory(twins.east) / "tokens"
    away = tokens.rename(tokens.with_name("away"))

    group = await start_group(east=twins.east, west=twins.west)

    assert "Token 'east' is not in use" in caplog.text
    await signs(group, items_for(twins.key))
    with pytest.raises(TokenUnavailableError, match="could not be opened at the start"):
        await group._supervisors["east"].keys()
    away.rename(tokens)
    await eventually(lambda: group.healthy_workers == 2)
    await group.keys()
    assert ("east", "west") == group.holders(twins.key.public_key)


async def test_a_token_that_was_absent_at_the_start_signs_when_the_other_goes(
    twins: Twins, start_group: StartGroup, eventually: Eventually
) -> None:
    """Nobody has asked it for its keys by then."""
    tokens = twins.directory(twins.east) / "tokens"
    away = tokens.rename(tokens.with_name("away"))
    group = await start_group(east=twins.east, west=twins.west)
    away.rename(tokens)
    await eventually(lambda: group.healthy_workers == 2)
    os.kill(worker_of(group, "west"), signal.SIGSTOP)

    await signs(group, items_for(twins.key), seconds=8)

    assert ("east", "west") == group.holders(twins.key.public_key)


async def test_a_refused_pin_leaves_one_token_out_and_is_not_tried_again(
    twins: Twins, start_group: StartGroup, caplog: Any
) -> None:
    twins.east.pin_file.write_text("wrong-1234")

    group = await start_group(east=twins.east, west=twins.west)
    twins.east.pin_file.write_text("integration-1234")

    await signs(group, items_for(twins.key))
    with pytest.raises(WrongPinError):
        await group._supervisors["east"].keys()
    assert 1 == group.healthy_workers
    assert "wrong-1234" not in caplog.text


@pytest.mark.parametrize(
    ("east", "west", "error"),
    [
        ("wrong", "wrong", WrongPinError),
        ("wrong", "absent", TokenMissingError),
        ("absent", "wrong", TokenMissingError),
    ],
)
async def test_without_any_token_the_start_fails_and_a_refused_pin_is_told_last(
    twins: Twins, start_group: StartGroup, east: str, west: str, error: type[Exception]
) -> None:
    """What a restart may cure must not look as if it could not."""
    settings = {}
    for name, state, twin in (("east", east, twins.east), ("west", west, twins.west)):
        twin.pin_file.write_text("wrong-1234")
        settings[name] = replace(twin, token_label="another") if state == "absent" else twin

    with pytest.raises(error):
        await start_group(**settings)


async def test_what_is_unusable_is_not_tried(twins: Twins) -> None:
    marked = WrongPinError("refused before")
    group = TokenGroup({"west": HsmSupervisor(twins.west, limits=LIMITS)}, {"east": marked})
    await group.start()

    await signs(group, items_for(twins.key))
    with pytest.raises(TokenUnavailableError, match="may hold a copy of the key: nothing was destroyed"):
        await group.destroy(twins.key.public_key)
    await group.close()
    with pytest.raises(ValueError, match="at least one token"):
        TokenGroup({})


async def test_generating_names_the_token(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(east=twins.east, west=twins.west)

    with pytest.raises(UnsupportedItemError, match="several tokens: name one of 'east', 'west'"):
        await group.generate(KeyAlgorithm.ECDSA_P256, "new")
    with pytest.raises(UnsupportedItemError, match="no token 'north': name one of"):
        await group.generate(KeyAlgorithm.ECDSA_P256, "new", "north")
    await group.generate(KeyAlgorithm.ECDSA_P256, "new", "east")
    with pytest.raises(KeyExistsError, match="Token 'east' has a key labelled 'new'"):
        await group.generate(KeyAlgorithm.ECDSA_P256, "new", "west")


async def test_one_token_needs_no_name(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(token=twins.east)

    key = await group.generate(KeyAlgorithm.ECDSA_P256, "new")

    await signs(group, items_for(key))
    assert key.public_key == (await group.attributes(key.public_key)).public_key


async def test_attributes_come_from_the_first_token_that_answers(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(east=twins.east, west=twins.west)
    tokens = twins.directory(twins.east) / "tokens"
    tokens.rename(tokens.with_name("away"))

    assert (await group.attributes(twins.key.public_key)).never_extractable
    assert (await group.attributes(twins.key.public_key, "west")).never_extractable
    with pytest.raises(TokenUnavailableError):
        await group.attributes(twins.key.public_key, "east")


async def test_a_key_is_destroyed_on_every_token(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(east=twins.east, west=twins.west)

    await group.destroy(twins.key.public_key)

    assert ["canary"] == [key.label for key in await group.keys()]
    assert () == group.holders(twins.key.public_key)


async def test_nothing_is_destroyed_while_a_copy_may_be_out_of_reach(twins: Twins, start_group: StartGroup) -> None:
    group = await start_group(east=twins.east, west=twins.west)
    tokens = twins.directory(twins.east) / "tokens"
    tokens.rename(tokens.with_name("away"))

    with pytest.raises(TokenUnavailableError, match="Token 'east' does not answer, and may hold a copy"):
        await group.destroy(twins.key.public_key)

    assert twins.key in await group._supervisors["west"].keys()


@pytest.fixture
def signer(tmp_path: Path) -> SignerSettings:
    """A key file, as a key service would keep the key."""
    private_key = ec.generate_private_key(ec.SECP256R1())
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key").write_bytes(pem)
    (tmp_path / "key.pem").write_bytes(
        private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return SignerSettings((SignerKey(f"file2:{tmp_path / 'key'}", tmp_path / "key.pem", "cloud"),))


async def test_signers_and_tokens_sign_side_by_side(
    twins: Twins, start_group: StartGroup, signer: SignerSettings
) -> None:
    """A message serves both: a token that takes digests is given the digest."""
    group = await start_group(east=twins.east, cloud=signer)
    keys = {key.label: key for key in await group.keys()}
    assert (True, False) == (keys["cloud"].takes_messages, keys["online"].takes_messages)

    await signs(
        group, [SigningItem(keys[label].public_key, Message(b"message")) for label in ("cloud", "online", "canary")]
    )
    digest = Digest(hashlib.sha256(b"message").digest())
    with pytest.raises(UnsupportedItemError, match="signs a whole message"):
        await group.sign([SigningItem(keys["cloud"].public_key, digest)], timeout_seconds=5)


async def test_a_signer_that_hangs_costs_its_worker_and_nothing_else(
    script: Any, tmp_path: Path, signer: SignerSettings, start_supervisor: Any, eventually: Eventually
) -> None:
    """No SDK's idea of a time-out holds the daemon."""
    hanging = replace(signer, signers=(replace(signer.signers[0], uri=f"hanging:{tmp_path / 'key'}"),))
    supervisor = await start_supervisor(hanging, worker_command=script("hanging-signer").command)
    (key,) = await supervisor.keys()
    hang, message = (SigningItem(key.public_key, Message(value)) for value in (b"hang", b"message"))

    with pytest.raises(TokenUnavailableError, match="did not answer"):
        await supervisor.sign([hang], timeout_seconds=0.5)
    await eventually(lambda: supervisor.restarts == 1 and supervisor.healthy_workers == 1)

    verify(message, (await supervisor.sign([message], timeout_seconds=20))[0])


async def test_a_group_that_is_cancelled_at_its_start_leaves_no_worker(twins: Twins, eventually: Eventually) -> None:
    supervisors = {name: HsmSupervisor(getattr(twins, name), limits=LIMITS) for name in ("east", "west")}
    start = asyncio.create_task(TokenGroup(supervisors).start())
    await eventually(lambda: supervisors["east"].healthy_workers == 1)
    pid = supervisors["east"]._slots[0]._worker.process_id  # type: ignore[union-attr]

    start.cancel()

    with pytest.raises(asyncio.CancelledError):
        await start
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
