"""What may be a target."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger_daemon.errors import InvalidRequestError, Reason
from wharfinger_daemon.metadata.targets import MAX_LENGTH, MAX_PATH_LENGTH, Target, require_target_path

SHA256 = {"sha256": "0" * 64}


@pytest.mark.parametrize(
    "path",
    [
        "packages/ab/cd/sample-1.0.tar.gz",
        "simple/sample/index.html",
        "a",
        "..a/b..",
        "file with spaces.zip",
        "~[]{}%?#&+=;:@!$*'(),^`|<>",
        "a" * MAX_PATH_LENGTH,
    ],
)
def test_paths_of_printable_ascii_are_targets(path: str) -> None:
    assert path == Target(path, 0, SHA256).path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        "a\\b",
        'a"b',
        "a\nb",
        "a\x00b",
        "a\x7fb",
        "naïve",
        "a\ud800",
        "a" * (MAX_PATH_LENGTH + 1),
    ],
)
def test_other_paths_are_refused_and_named(path: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        Target(path, 0, SHA256)
    assert Reason.TARGET_PATH_INVALID == refused.value.reason
    assert refused.value.details["path"].isascii() and len(refused.value.details["path"]) <= 200


@pytest.mark.parametrize(
    ("length", "hashes"),
    [
        (-1, SHA256),
        (MAX_LENGTH + 1, SHA256),
        (True, SHA256),
        (1, {}),
        (1, {"blake2b-256": "0" * 64}),
        (1, {"sha256": "0" * 63}),
        (1, {"sha256": "A" * 64}),
        (1, {"sha256": "0" * 63 + "\n"}),
        (1, {**SHA256, "md5": "0" * 32}),
        (1, {"sha512": "0" * 64}),
    ],
)
def test_lengths_and_hashes_that_no_client_accepts_are_refused(length: int, hashes: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        Target("a", length, hashes)
    assert (Reason.TARGET_INVALID, "a") == (refused.value.reason, refused.value.details["path"])


@pytest.mark.parametrize("hashes", [SHA256, {"sha512": "f" * 128}, {**SHA256, "blake2b-256": "1" * 64}])
def test_one_strong_hash_is_enough(hashes: dict[str, str]) -> None:
    assert hashes == Target("a", MAX_LENGTH, hashes).hashes


@given(st.text())
def test_whatever_the_path_nothing_but_a_refusal_comes_out(path: str) -> None:
    try:
        require_target_path(path)
    except InvalidRequestError:
        return
    assert path.isascii() and path.isprintable() and not {'"', "\\"} & set(path)
