"""Whatever happened before, ``lint`` of an item says exactly what ``sign`` of it then does."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from wharfinger_daemon.clock import FixedClock
from wharfinger_daemon.errors import Reason, WharfingerError
from wharfinger_daemon.signing.model import Caller, Rate, RoleType, SigningGrant, SigningPolicy, VersionJumps
from wharfinger_daemon.signing.standing import KeyState

EVERYTHING = SigningGrant(("pypi",), ("*",))
CALLERS = (
    Caller("free", (EVERYTHING,)),
    Caller("slow", (EVERYTHING,), Rate(1, 1)),
    Caller("narrow", (EVERYTHING, SigningGrant(("pypi",), ("bins-*",), Rate(0.5, 1)))),
    Caller("snapshots", (SigningGrant(("pypi",), ("snapshot",)),)),
    Caller("elsewhere", (SigningGrant(("other",), ("*",)),)),
)
POLICY = SigningPolicy(max_version_jump=3, version_jumps=VersionJumps(((RoleType.SNAPSHOT, 2),), (("bins-1", 1),)))


def mostly(usual, *others):
    """Draws what lets an item pass far more often than what refuses it: else no item would get far."""
    return st.sampled_from([usual] * 6 + list(others))


items = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["bin"] * 4 + ["snapshot"] * 3 + ["timestamp"] * 2 + ["root", "garbage", "broken"]),
        "bin": st.sampled_from(["bins-0", "bins-1"]),
        "version": st.sampled_from([1, 1, 2, 2, 3, 4, 9, 2**63 - 1]),
        "named": mostly(1, 2, 3, 9),
        "hours": mostly(24, 1, 100),
        "role": mostly("right", "wrong", "none", "unknown"),
        "keyid": mostly("", "right", "right", "foreign", "unknown"),
        "repository": mostly("pypi", "other"),
        "caller": st.sampled_from([*CALLERS, *CALLERS[:3] * 2]),
    }
)
events = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1, 3600 * 30])),
    st.tuples(st.just("suspend"), st.sampled_from([True, False, False, False])),
    st.tuples(st.just("key"), st.sampled_from([None, *KeyState, *[KeyState.ACTIVE] * 6])),
    st.tuples(st.just("hold"), st.sampled_from([True, True, True, False])),
)
steps = st.lists(st.one_of(*[st.tuples(st.just("ask"), items)] * 6, events), min_size=4, max_size=14)


def content(bench, item):
    maker = bench.maker
    expires = maker.expires(hours=item["hours"])
    if item["kind"] == "garbage":
        return b"{"
    if item["kind"] == "broken":
        return b'{"_type":"snapshot"}'
    if item["kind"] == "root":
        return maker.root(item["version"])
    if item["kind"] == "bin":
        return maker.bin(item["bin"], item["version"], expires=expires)
    if item["kind"] == "snapshot":
        metadata = maker.snapshot(item["version"], bins_0=item["named"])
    else:
        metadata = maker.timestamp(item["version"], item["named"])
    metadata.expires = expires
    return metadata


def asked(bench, item):
    right = item["bin"] if item["kind"] == "bin" else item["kind"]
    role = {"right": right, "wrong": "bins-2", "none": "", "unknown": "bins-9"}[item["role"]]
    keyids = {"right": bench.maker.online_key.keyid, "foreign": bench.maker.targets_signer.public_key.keyid}
    keyid = keyids.get(item["keyid"], "0" * 64 if item["keyid"] else "")
    return bench.item(content(bench, item), role, keyid, item["repository"])


async def happen(bench, kind, value):
    if kind == "wait":
        bench.maker.clock.advance(timedelta(seconds=value))
    elif kind == "suspend":
        bench.standing.suspend("pypi", "A drill.") if value else bench.standing.resume("pypi")
    elif kind == "key":
        bench.standing.set_key_states("pypi", {bench.maker.online_key.keyid: value} if value else {})
    else:
        bench.standing.hold(await bench.keys.public_keys() if value else frozenset())


async def compare(bench, item):
    wanted = asked(bench, item)
    [linted] = await bench.lint(wanted, caller=item["caller"])
    [again] = await bench.lint(wanted, caller=item["caller"])
    assert linted == again, "lint changed something"
    event(linted.reason or ("replayed" if linted.already_signed else "signed"))
    try:
        [signature] = await bench.sign(wanted, caller=item["caller"])
    except WharfingerError as error:
        assert (error.reason, error.message) == (linted.reason, linted.message)
        # A rate is no property of an item, and a batch that exceeds it is not refused for one.
        if error.reason != Reason.RATE_LIMITED:
            told = (error.details.get("role", wanted.role), int(error.details.get("version", "0")))
            assert told == (linted.role, linted.version)
    else:
        assert ("", "") == (linted.reason, linted.message)
        assert (signature.keyid, signature.role, signature.version, signature.replayed) == (
            linted.keyid,
            linted.role,
            linted.version,
            linted.already_signed,
        )


async def walk(maker, bench_of, taken):
    bench = await bench_of(replace(maker, clock=FixedClock(maker.clock.now())), policy=POLICY)
    await bench.service.refresh_held_keys()
    for step, value in taken:
        if step == "ask":
            await compare(bench, value)
        else:
            await happen(bench, step, value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_lint_says_what_sign_does(maker, bench_of, taken):
    asyncio.run(walk(maker, bench_of, taken))


async def in_one_batch(maker, bench_of, before, together, caller):
    bench = await bench_of(replace(maker, clock=FixedClock(maker.clock.now())), policy=POLICY)
    for item in before:
        with suppress(WharfingerError):
            await bench.sign(asked(bench, item), caller=item["caller"])
    wanted = [asked(bench, item) for item in together]
    linted = await bench.lint(*wanted, caller=caller)
    try:
        signatures = await bench.sign(*wanted, caller=caller)
    except WharfingerError:
        assert any(one.reason for one in linted)
    else:
        assert [(one.role, one.version, "") for one in signatures] == [
            (one.role, one.version, one.reason) for one in linted
        ]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(items, max_size=4), st.lists(items, min_size=1, max_size=4), st.sampled_from(CALLERS))
def test_a_batch_is_signed_if_and_only_if_lint_accepts_every_item(maker, bench_of, before, together, caller):
    asyncio.run(in_one_batch(maker, bench_of, before, together, caller))
