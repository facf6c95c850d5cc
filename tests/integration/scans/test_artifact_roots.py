"""Paths beneath the artifact roots: nothing outside can be reached."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from wharfinger_daemon.errors import (
    InvalidRequestError,
    NotFoundError,
    NotGrantedError,
    Reason,
    UnavailableError,
    WharfingerError,
)
from wharfinger_daemon.scanning.model import ArtifactPath, ArtifactUrl
from wharfinger_daemon.storage import beneath
from wharfinger_daemon.storage.artifact_sources import ArtifactRoots, ArtifactSources
from wharfinger_daemon.storage.artifact_urls import ArtifactUrls


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a file, next to a secret, with every kind of way from one to the other."""
    root = tmp_path / "root"
    (root / "ab" / "cd").mkdir(parents=True)
    (root / "ab" / "cd" / "file.whl").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "absolute-link").symlink_to(tmp_path / "secret")
    (root / "relative-link").symlink_to("../secret")
    (root / "inner-link").symlink_to("ab/cd/file.whl")
    (root / "directory-link").symlink_to("..")
    (root / "proc-link").symlink_to("/proc/self")
    (root / "magic-link").symlink_to("/proc/self/root/etc/passwd")
    os.mkfifo(root / "fifo")
    return root


@pytest.fixture(params=["openat2", "walk"])
def resolution(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system call, and as on a kernel without it."""
    if request.param == "walk":

        def absent(directory: int, path: str) -> int:
            raise OSError(errno.ENOSYS, "not there")

        monkeypatch.setattr(beneath, "_openat2", absent)


async def content(source: ArtifactRoots, path: str) -> bytes:
    reference = ArtifactPath(path)
    await source.check(reference)
    return b"".join([chunk async for chunk in source.chunks(reference)])


@pytest.mark.usefixtures("resolution")
class TestPaths:
    """All rules hold with both ways to resolve a path."""

    @pytest.mark.parametrize("path", ["ab/cd/file.whl", "./ab//cd/file.whl"])
    async def test_a_file_beneath_a_root_is_read(self, root: Path, path: str) -> None:
        assert b"content" == await content(ArtifactRoots([root]), path)

    async def test_the_first_root_that_has_the_path_is_used(self, root: Path, tmp_path: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        assert b"content" == await content(ArtifactRoots([empty, tmp_path / "missing", root]), "ab/cd/file.whl")

    @pytest.mark.parametrize(
        "path",
        [
            "../secret",
            "ab/../../secret",
            "ab/cd/../../../secret",
            "..",
            "/etc/passwd",
            "/proc/self/environ",
            "absolute-link",
            "relative-link",
            "inner-link",
            "directory-link/secret",
            "directory-link/root/ab/cd/file.whl",
            "proc-link/environ",
            "magic-link",
        ],
    )
    async def test_what_leads_outside_or_through_a_link_is_refused(self, root: Path, path: str) -> None:
        source = ArtifactRoots([root])
        with pytest.raises(NotGrantedError) as caught:
            await content(source, path)
        assert Reason.ARTIFACT_OUTSIDE_ROOTS == caught.value.reason
        with pytest.raises(NotGrantedError):
            async for _ in source.chunks(ArtifactPath(path)):
                pytest.fail("Something was read.")

    @pytest.mark.parametrize("path", ["fifo", "ab", "ab/cd", "."])
    async def test_only_regular_files_are_read_and_a_fifo_blocks_nobody(self, root: Path, path: str) -> None:
        with pytest.raises(NotGrantedError) as caught:
            await content(ArtifactRoots([root]), path)
        assert Reason.ARTIFACT_OUTSIDE_ROOTS == caught.value.reason

    @pytest.mark.parametrize("path", ["missing", "ab/missing", "missing/file", "ab/cd/file.whl/below"])
    async def test_what_is_not_there_is_not_found(self, root: Path, path: str) -> None:
        with pytest.raises(NotFoundError) as caught:
            await content(ArtifactRoots([root]), path)
        assert Reason.ARTIFACT_NOT_FOUND == caught.value.reason

    async def test_a_name_that_is_too_long_for_the_file_system_is_an_error_of_ours(self, root: Path) -> None:
        with pytest.raises(UnavailableError):
            await content(ArtifactRoots([root]), "x" * 300)

    async def test_a_directory_that_becomes_a_link_meanwhile_never_lets_anything_out(self, root: Path) -> None:
        """Somebody exchanges a directory for a link to the outside, again and again, while paths are opened."""
        (root.parent / "outside").mkdir()
        (root.parent / "outside" / "file.whl").write_bytes(b"secret")
        (root / "inside").mkdir()
        (root / "inside" / "file.whl").write_bytes(b"content")
        stop = threading.Event()

        def exchange() -> None:
            while not stop.is_set():
                (root / "inside").rename(root / "aside")
                (root / "inside").symlink_to(root.parent / "outside")
                (root / "inside").unlink()
                (root / "aside").rename(root / "inside")

        racer = threading.Thread(target=exchange)
        racer.start()
        try:
            for _ in range(300):
                try:
                    assert b"content" == await content(ArtifactRoots([root]), "inside/file.whl")
                except WharfingerError:
                    continue
        finally:
            stop.set()
            racer.join()


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000])
async def test_malformed_paths_are_refused(root: Path, path: str) -> None:
    with pytest.raises(InvalidRequestError):
        await content(ArtifactRoots([root]), path)


async def test_without_roots_everything_is_refused() -> None:
    with pytest.raises(NotGrantedError) as caught:
        await content(ArtifactRoots([]), "file.whl")
    assert Reason.ARTIFACT_OUTSIDE_ROOTS == caught.value.reason


async def test_a_file_that_cannot_be_read_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, length: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("wharfinger_daemon.storage.artifact_sources.os.read", broken)
    with pytest.raises(UnavailableError) as caught:
        await content(ArtifactRoots([root]), "ab/cd/file.whl")
    assert Reason.FETCH_FAILED == caught.value.reason


def test_walking_refuses_what_the_kernel_would_refuse(root: Path) -> None:
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for path in ("/etc/passwd", "ab/../../secret", ".."):
            with pytest.raises(OSError, match="cross-device") as caught:
                beneath.walk(directory, path)
            assert errno.EXDEV == caught.value.errno
    finally:
        os.close(directory)


async def test_paths_and_urls_go_to_their_own_source(root: Path) -> None:
    sources = ArtifactSources(ArtifactRoots([root]), ArtifactUrls([]))
    reference = ArtifactPath("ab/cd/file.whl")
    await sources.check(reference)
    assert b"content" == b"".join([chunk async for chunk in sources.chunks(reference)])
    with pytest.raises(NotGrantedError) as caught:
        await sources.check(ArtifactUrl("https://example.com/a.whl"))
    assert Reason.HOST_NOT_ALLOWED == caught.value.reason
