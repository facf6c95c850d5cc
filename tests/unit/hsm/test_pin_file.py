"""What a PIN file may be."""

from pathlib import Path

import pytest

from wharfinger_hsm.errors import PinFileError
from wharfinger_hsm.pin_file import read_pin


@pytest.fixture
def pin_file(tmp_path: Path) -> Path:
    path = tmp_path / "pin"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize(
    ("content", "pin"),
    [
        (b"1234", "1234"),
        (b"1234\n", "1234"),
        (b"1234\r\n", "1234"),
        (b" spaces are part of it \n", " spaces are part of it "),
        ("grün\n".encode(), "grün"),
        (b"9" * 255 + b"\r\n", "9" * 255),
    ],
)
def test_the_pin_is_the_one_line_without_its_ending(pin_file: Path, content: bytes, pin: str) -> None:
    pin_file.write_bytes(content)

    assert pin == read_pin(pin_file)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"1234\n\n", b"1234\n5678\n", b"9" * 256, b"9" * 100_000], ids=lambda value: str(len(value))
)
def test_anything_but_one_line_is_refused(pin_file: Path, content: bytes) -> None:
    pin_file.write_bytes(content)

    with pytest.raises(PinFileError, match="one line"):
        read_pin(pin_file)


def test_bytes_that_are_not_utf8_are_refused_without_being_quoted(pin_file: Path) -> None:
    pin_file.write_bytes(b"secret\xff")

    with pytest.raises(PinFileError, match="UTF-8") as raised:
        read_pin(pin_file)

    assert raised.value.__cause__ is None
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666, 0o602, 0o601])
def test_a_file_open_to_every_user_is_refused(pin_file: Path, mode: int) -> None:
    pin_file.write_text("1234")
    pin_file.chmod(mode)

    with pytest.raises(PinFileError, match=f"mode {mode:04o}.*chmod 600"):
        read_pin(pin_file)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_a_group_may_read_it(pin_file: Path, mode: int) -> None:
    """Service managers and orchestrators hand out secrets that way."""
    pin_file.write_text("1234")
    pin_file.chmod(mode)

    assert "1234" == read_pin(pin_file)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(PinFileError, match="cannot be read"):
            read_pin(path)
