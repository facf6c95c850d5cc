"""Several tokens as one: what one cannot do now, another that holds the same key does.

Example::

    group = TokenGroup({"east": HsmSupervisor(east), "west": HsmSupervisor(west)})
    await group.start()
    (signature,) = await group.sign([SigningItem(public_key, Digest(sha256))], timeout_seconds=5)
    await group.close()

Keys get onto several tokens by the means of their makers (cloned or backed-up HSMs, a key service's replicas); this
package never moves one.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress

from wharfinger_hsm.errors import (
    HsmError,
    KeyExistsError,
    KeyNotFoundError,
    TokenUnavailableError,
    UnsupportedItemError,
    WrongPinError,
)
from wharfinger_hsm.model import Digest, KeyAlgorithm, KeyAttributes, SigningItem, TokenKey, fingerprint
from wharfinger_hsm.supervisor import HsmSupervisor
from wharfinger_hsm.verification import check_readable, digest_of

logger = logging.getLogger(__name__)

_NEXT_MAY_HELP = (TokenUnavailableError, WrongPinError, KeyNotFoundError)
"""What another token that holds the key may not meet."""


class TokenGroup:
    """The tokens of one daemon, by name, in the order in which they are used. For one event loop.

    `unusable` has the tokens that are configured and must not be tried, with the reason.
    """

    def __init__(
        self, supervisors: Mapping[str, HsmSupervisor], unusable: Mapping[str, WrongPinError] | None = None
    ) -> None:
        if not supervisors and not unusable:
            raise ValueError("A group needs at least one token.")
        self._supervisors = dict(supervisors)
        self._unusable = dict(unusable or {})
        self._shown: dict[str, dict[bytes, TokenKey]] = {}

    @property
    def healthy_workers(self) -> int:
        """Workers of all tokens that are logged in and answer, as far as is known."""
        return sum(supervisor.healthy_workers for supervisor in self._supervisors.values())

    @property
    def restarts(self) -> int:
        """Workers of all tokens lost since `start`."""
        return sum(supervisor.restarts for supervisor in self._supervisors.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The tokens that are in use, in order."""
        return tuple(self._supervisors)

    async def start(self) -> None:
        """Opens the tokens one after another. Call it once.

        One that cannot be opened is no error as long as another can: it is logged, and tried again for ever with
        back-off, or never after it refused its PIN. Whether the keys that are needed are there is the caller's to say.

        Raises what the first one met when none can be opened, after ending everything.
        """
        failures: dict[str, HsmError] = dict(self._unusable)
        later: list[HsmSupervisor] = []
        try:
            for name, supervisor in self._supervisors.items():
                try:
                    await supervisor.start()
                except HsmError as error:
                    failures[name] = error
                    later.append(supervisor)
            failures |= await self._look(name for name in self._supervisors if name not in failures)
            if not self._shown:
                # A refused PIN last: whoever restarts for another reason may find that token well again.
                raise min(failures.values(), key=lambda error: isinstance(error, WrongPinError))
        except BaseException:
            await self.close()
            raise
        for name, failure in failures.items():
            logger.error("Token %r is not in use: %s", name, failure)
        for supervisor in later:
            supervisor.start_later("It could not be opened at the start; the log says why.")

    async def keys(self) -> list[TokenKey]:
        """The keys of all tokens, each once, by label.

        A token that does not answer counts with the keys that it showed before, because they are not gone. Raises what
        the first one met when none answers.
        """
        failures = await self._look(self._supervisors)
        if len(failures) == len(self._supervisors):
            raise next(iter(failures.values()))
        union: dict[bytes, TokenKey] = {}
        for name in self._supervisors:
            for public_key, key in self._shown.get(name, {}).items():
                known = union.setdefault(public_key, key)
                if key.takes_messages and not known.takes_messages:
                    union[public_key] = key  # Whoever gives the message serves both kinds.
        return sorted(union.values(), key=lambda key: (key.label, key.public_key))

    def holders(self, public_key: bytes) -> tuple[str, ...]:
        """The tokens that showed this key when they were last asked, in order."""
        return tuple(name for name in self._supervisors if public_key in self._shown.get(name, {}))

    async def generate(self, algorithm: KeyAlgorithm, label: str, token: str | None = None) -> TokenKey:
        """Makes a key pair on the token of that name, which must be given when there are several.

        Raises what `HsmSupervisor.generate` raises; `KeyExistsError` too when another token has the label, and
        `UnsupportedItemError` for a name that no token has.
        """
        name = self._named(token)
        for other, keys in self._shown.items():
            if other != name and any(key.label == label for key in keys.values()):
                raise KeyExistsError(f"Token {other!r} has a key labelled {label!r} already. Choose another label.")
        key = await self._supervisors[name].generate(algorithm, label)
        self._shown.setdefault(name, {})[key.public_key] = key
        return key

    async def sign(self, items: Sequence[SigningItem], *, timeout_seconds: float) -> list[bytes]:
        """Signs all items or none, in their order: see `HsmSupervisor.sign`.

        Each key's items go to the first token that holds it and has a healthy worker; if that cannot, within half of
        the time, to the next. A token that comes back is used again. An item may be a `Message` for any key: a token
        that takes digests is given the digest.

        Raises `KeyNotFoundError` when all tokens answer and none holds a key; otherwise what the first token met.
        """
        if len(self._supervisors) == 1:
            (only,) = self._supervisors.values()
            return await only.sign(items, timeout_seconds=timeout_seconds)
        for item in items:
            check_readable(item)
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        await self._meet_newcomers(timeout_seconds / 4)
        await self._look_for({item.public_key for item in items})
        by_holders: dict[tuple[str, ...], list[int]] = {}
        for index, item in enumerate(items):
            by_holders.setdefault(self._order(item.public_key), []).append(index)
        parts = await _all_or_none(
            self._sign_by_one(holders, [items[index] for index in indices], deadline)
            for holders, indices in by_holders.items()
        )
        signatures = [b""] * len(items)
        for indices, part in zip(by_holders.values(), parts, strict=True):
            for index, signature in zip(indices, part, strict=True):
                signatures[index] = signature
        return signatures

    async def attributes(self, public_key: bytes, token: str | None = None) -> KeyAttributes:
        """What a token tells about a private key: the one of that name, or the first that holds the key and answers.

        Raises `KeyNotFoundError` when none holds it, or what the first one met.
        """
        await self._look_for({public_key})
        first: HsmError | None = None
        for name in self._order(public_key) if token is None else (self._named(token),):
            try:
                return await self._supervisors[name].attributes(public_key)
            except _NEXT_MAY_HELP as error:
                first = first or error
        assert first is not None  # There is at least one holder.
        raise first

    async def destroy(self, public_key: bytes) -> None:
        """Destroys a key pair on every token that holds it, for ever. See `HsmSupervisor.destroy`.

        Nothing is destroyed unless all tokens answer first, so that no copy is forgotten. When it fails half-way, the
        error is that of the token that still holds the key.
        """
        failures = await self._look(self._supervisors) | dict(self._unusable)
        if failures:
            name, error = next(iter(failures.items()))
            raise TokenUnavailableError(
                f"Token {name!r} does not answer, and may hold a copy of the key: nothing was destroyed. {error}"
            ) from error
        holders = self.holders(public_key)
        if not holders:
            raise KeyNotFoundError(f"No token holds the key {fingerprint(public_key)}.")
        for name in holders:
            await self._supervisors[name].destroy(public_key)
            del self._shown[name][public_key]

    async def close(self) -> None:
        """Ends all workers of all tokens."""
        await asyncio.gather(*(supervisor.close() for supervisor in self._supervisors.values()))

    def _named(self, token: str | None) -> str:
        if token is None and len(self._supervisors) == 1:
            return next(iter(self._supervisors))
        if token not in self._supervisors:
            known = ", ".join(map(repr, self._supervisors))
            which = "There are several tokens" if token is None else f"There is no token {token!r}"
            raise UnsupportedItemError(f"{which}: name one of {known}.")
        return token

    async def _look(self, names: Iterable[str]) -> dict[str, HsmError]:
        """Asks tokens for their keys anew; returns the errors of those that do not answer."""

        async def look(name: str) -> HsmError | None:
            try:
                self._shown[name] = _by_value(await self._supervisors[name].keys())
            except HsmError as error:
                return error
            return None

        names = list(names)
        answers = await asyncio.gather(*map(look, names))
        return {name: error for name, error in zip(names, answers, strict=True) if error is not None}

    async def _look_for(self, public_keys: set[bytes]) -> None:
        """Sees to it that each key has a holder. Raises `KeyNotFoundError`, or why a token could not say."""
        if all(map(self.holders, public_keys)):
            return
        failures = await self._look(self._supervisors)
        for public_key in public_keys:
            if not self.holders(public_key):
                missing = KeyNotFoundError(f"No token holds the key {fingerprint(public_key)}.")
                raise next(iter(failures.values()), missing)

    async def _meet_newcomers(self, seconds: float) -> None:
        """Asks tokens that could not be opened at the start, and now are: until then nobody knows what they hold."""
        newcomers = [name for name, one in self._supervisors.items() if name not in self._shown and one.healthy_workers]
        if newcomers:
            with suppress(TimeoutError):  # It is asked again by the next call, and those that are known sign meanwhile.
                async with asyncio.timeout(seconds):
                    await self._look(newcomers)

    def _order(self, public_key: bytes) -> tuple[str, ...]:
        """The holders, those with healthy workers first."""
        return tuple(sorted(self.holders(public_key), key=lambda name: self._supervisors[name].healthy_workers == 0))

    async def _sign_by_one(self, holders: Sequence[str], items: Sequence[SigningItem], deadline: float) -> list[bytes]:
        loop = asyncio.get_running_loop()
        first: HsmError | None = None
        for position, name in enumerate(holders):
            last = position == len(holders) - 1
            left = deadline - loop.time()
            try:
                return await self._supervisors[name].sign(
                    self._for_token(name, items), timeout_seconds=left if last else left / 2
                )
            except _NEXT_MAY_HELP as error:
                first = first or error
                if not last:
                    logger.warning("Token %r cannot sign now, the next one is asked: %s", name, error)
        assert first is not None  # A key has at least one holder.
        raise first

    def _for_token(self, name: str, items: Sequence[SigningItem]) -> Sequence[SigningItem]:
        # While another token was asked, this one may have shown anew what it holds.
        shown = self._shown[name]
        return [_suited(item, shown.get(item.public_key)) for item in items]


async def _all_or_none(parts: Iterable[Coroutine[None, None, list[bytes]]]) -> list[list[bytes]]:
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _by_value(keys: Iterable[TokenKey]) -> dict[bytes, TokenKey]:
    return {key.public_key: key for key in keys}


def _suited(item: SigningItem, key: TokenKey | None) -> SigningItem:
    if key is None or key.takes_messages or isinstance(item.payload, Digest):
        return item
    digest = digest_of(key.algorithm, item.payload.value)
    return item if digest is None else SigningItem(item.public_key, Digest(digest))
