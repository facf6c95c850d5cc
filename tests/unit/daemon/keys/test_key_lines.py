"""Lines cover roles, and never the same ones; what does not fit the verified metadata stops the start."""

import pytest

from tests.support.key_repositories import ListedRepository, OnlineKey
from wharfinger_daemon.errors import NotFoundError, Reason, StartupError
from wharfinger_daemon.keys.lines import KeyLine, KeyLines

FIRST, SECOND = OnlineKey(), OnlineKey()
TIMES = KeyLine("times", "pypi", ("timestamp", "snapshot"))
BINS = KeyLine("bins", "pypi", ("bins-*",), "ed25519")


async def trusted(*keys, **roles):
    repository = ListedRepository()
    repository.list(*keys, **roles)
    return await repository.trusted()


def patterns(line, repository):
    return {authority.pattern for authority in line.authorities(repository)}


async def test_repository_without_lines_has_one_for_its_online_roles():
    (line,) = KeyLines([], ["pypi"])
    assert ("online", "ecdsa-p256") == (line.name, line.algorithm)
    assert {"timestamp", "snapshot", "bins-*"} == patterns(line, await trusted(FIRST))


async def test_configured_lines_take_the_place_of_the_one_without_a_name():
    lines = KeyLines([TIMES, BINS], ["pypi", "other"])
    assert [TIMES, BINS] == lines.of("pypi")
    assert ["online"] == [line.name for line in lines.of("other")]
    assert {"timestamp", "snapshot"} == patterns(TIMES, await trusted(FIRST))


async def test_key_is_missing_where_its_value_or_its_keyid_is_another():
    repository = await trusted(timestamp=[FIRST], snapshot=[FIRST], bins=[FIRST, SECOND])
    line = KeyLine("online", "pypi")
    assert () == line.missing(repository, FIRST.keyid, FIRST.der)
    assert {"timestamp", "snapshot"} == set(line.missing(repository, SECOND.keyid, SECOND.der))
    assert 3 == len(line.missing(repository, FIRST.keyid, SECOND.der))
    assert ("mirrors",) == KeyLine("new", "pypi", ("mirrors",)).missing(repository, FIRST.keyid, FIRST.der)


def test_line_is_found_by_its_name_where_there_is_one():
    lines = KeyLines([TIMES], ["pypi", "one", "two"])
    assert TIMES == lines.named("times")
    assert "one" == lines.named("online", "one").repository
    assert lines.find("pypi", "times") == TIMES and lines.find("pypi", "online") is None
    for name in ("online", "absent"):
        with pytest.raises(NotFoundError) as caught:
            lines.named(name)
        assert Reason.KEY_LINE_UNKNOWN == caught.value.reason


@pytest.mark.parametrize("name", ["canary", "log"])
def test_line_cannot_have_the_name_of_another_purpose(name):
    with pytest.raises(StartupError) as caught:
        KeyLines([KeyLine(name, "pypi", ("timestamp",))], ["pypi"])
    assert Reason.CONFIGURATION_INVALID == caught.value.reason


async def test_lines_that_fit_are_accepted():
    repository = await trusted(timestamp=[FIRST], snapshot=[FIRST], bins=[SECOND])
    KeyLines([TIMES, BINS], ["pypi"]).require_fit(repository, frozenset())
    KeyLines([], ["pypi"]).require_fit(repository, frozenset({b"canary"}))


@pytest.mark.parametrize(
    ("lines", "reserved", "problem"),
    [
        ([TIMES, KeyLine("mirrors", "pypi", ("mirrors-*",))], (), "there is no such role"),
        ([TIMES, KeyLine("all", "pypi", ("*",))], (), "is in several lines: times, all"),
        ([TIMES, BINS], (), "is listed for roles of several lines: times, bins"),
        ([], (FIRST.der,), "which is the canary's or the log's"),
    ],
)
async def test_lines_that_do_not_fit_stop_the_start(lines, reserved, problem):
    with pytest.raises(StartupError) as caught:
        KeyLines(lines, ["pypi"]).require_fit(await trusted(FIRST), frozenset(reserved))
    assert Reason.CONFIGURATION_INVALID == caught.value.reason
    assert problem in caught.value.message
