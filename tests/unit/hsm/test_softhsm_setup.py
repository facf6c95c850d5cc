"""Creating SoftHSM tokens, from Python and from the shell."""

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wharfinger_hsm import softhsm
from wharfinger_hsm.errors import ModuleMissingError, PinFileError, TokenMissingError, UnsupportedItemError
from wharfinger_hsm.model import TokenSettings
from wharfinger_hsm.softhsm import create_token, find_module

SETUP_TOKEN = Path(__file__).parents[3] / "softhsm-config" / "setup-token"


def test_a_token_is_created_with_its_configuration(tmp_path: Path) -> None:
    token = create_token(tmp_path / "deep" / "home", "online", "1234", "5678")

    assert {"online"} == labels(token.configuration) - {""}
    assert tmp_path / "deep" / "home" / "softhsm2.conf" == token.configuration
    assert 0o700 == stat.S_IMODE((tmp_path / "deep" / "home").stat().st_mode)
    expected = TokenSettings(find_module(), "online", Path("/pin"), {"SOFTHSM2_CONF": str(token.configuration)})
    assert expected == token.settings(Path("/pin"))


def test_creating_it_again_changes_nothing(tmp_path: Path) -> None:
    """A PIN that differs is not written either: the keys in there belong to the first."""
    token = create_token(tmp_path, "online", "1234", "5678")
    before = snapshot(tmp_path)

    assert token == create_token(tmp_path, "online", "9999", "8888")

    assert before == snapshot(tmp_path)


def test_a_second_token_joins_the_first(tmp_path: Path) -> None:
    create_token(tmp_path, "one", "1234", "5678")
    token = create_token(tmp_path, "two with spaces", "1234", "5678")

    assert {"one", "two with spaces"} == labels(token.configuration) - {""}


def leave_without_user_pin(directory: Path, label: str) -> None:
    """What is left when softhsm2-util is killed between setting the officer's PIN and the user's."""
    create_token(directory, label, "1234", "5678")
    (stored,) = (path for path in (directory / "tokens").glob("*/token.object") if label.encode() in path.read_bytes())
    # Attributes of the file: type, kind and value, of eight bytes each, and for the PIN itself a length and the bytes.
    before, flags, after = stored.read_bytes().partition(bytes.fromhex("000000008000534b 0000000000000002"))
    value = int.from_bytes(after[:8], "big") & ~0x8  # CKF_USER_PIN_INITIALIZED
    officer, _, _ = after[8:].partition(bytes.fromhex("000000008000534d 0000000000000003"))
    stored.write_bytes(before + flags + value.to_bytes(8, "big") + officer)


def test_a_token_whose_user_pin_was_never_set_is_made_anew(tmp_path: Path) -> None:
    leave_without_user_pin(tmp_path, "online")

    token = create_token(tmp_path, "online", "1234", "8888")

    assert ["online"] == [one.label for one in softhsm._shown(softhsm_util(), token.environment) if one.has_user_pin]
    assert 1 == len(list((tmp_path / "tokens").iterdir()))


def test_only_the_unfinished_token_is_made_anew(tmp_path: Path) -> None:
    create_token(tmp_path, "whole", "1234", "5678")
    before = snapshot(tmp_path / "tokens")
    leave_without_user_pin(tmp_path, "half")

    create_token(tmp_path, "half", "1234", "8888")

    assert before.items() <= snapshot(tmp_path / "tokens").items()
    assert {"whole", "half"} == labels(tmp_path / "softhsm2.conf") - {""}


@pytest.mark.parametrize("name", ["with#hash", "with=equals", "with\nbreak"])
def test_a_path_that_the_configuration_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    """SoftHSM would read another path, and say that its configuration is wrong."""
    with pytest.raises(UnsupportedItemError, match="cannot hold the path"):
        create_token(tmp_path / name, "online", "1234", "5678")

    assert [] == list(tmp_path.iterdir())


def softhsm_util() -> str:
    program = shutil.which("softhsm2-util")
    assert program is not None
    return program


@pytest.mark.parametrize("pin", ["123", "", "9" * 256, "12\n34"])
def test_a_pin_that_softhsm_would_refuse_is_refused_first(tmp_path: Path, pin: str) -> None:
    for pins in ((pin, "5678"), ("1234", pin)):
        with pytest.raises(PinFileError, match="4 to 255"):
            create_token(tmp_path, "online", *pins)


def test_a_label_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedItemError):
        create_token(tmp_path, "l" * 33, "1234", "5678")


def test_without_the_module_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softhsm, "MODULE_PATHS", ())

    with pytest.raises(ModuleMissingError, match="apt-get install softhsm2"):
        create_token(tmp_path, "online", "1234", "5678")


def test_without_the_program_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ModuleMissingError, match="apt-get install softhsm2"):
        create_token(tmp_path, "online", "1234", "5678")


def test_the_module_is_found_in_any_of_the_usual_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found.so").touch()
    monkeypatch.setattr(softhsm, "MODULE_PATHS", (tmp_path / "none.so", tmp_path / "found.so"))

    assert tmp_path / "found.so" == find_module()


def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts another softhsm2-util first on the path."""
    program = tmp_path / "bin" / "softhsm2-util"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")


def test_a_listing_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, "echo 'ERROR: no module' >&2; exit 1")

    with pytest.raises(TokenMissingError, match="ERROR: no module"):
        create_token(tmp_path / "home", "online", "1234", "5678")


@pytest.mark.parametrize(("said", "told"), [("echo ERROR: no room", "ERROR: no room"), (":", "gave no reason")])
def test_an_initialisation_that_fails_is_told_without_the_pins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, told: str
) -> None:
    ask = 'printf "Please enter SO PIN: "; read pin; echo "$pin"'
    pretend(tmp_path, monkeypatch, f'[ "$1" = --show-slots ] && exit 0\n{ask}; {said}; exit 1')

    with pytest.raises(TokenMissingError, match=told) as raised:
        create_token(tmp_path / "home", "online", "1234-user", "5678-officer")

    assert "1234-user" not in str(raised.value)
    assert "5678-officer" not in str(raised.value)


def test_pins_are_never_on_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which("softhsm2-util")
    pretend(tmp_path, monkeypatch, f'echo "$@" >> {tmp_path}/arguments\nexec {real} "$@"')

    create_token(tmp_path / "home", "online", "1234-user", "5678-officer")

    arguments = (tmp_path / "arguments").read_text()
    assert "--init-token --free --label online" in arguments
    assert "1234-user" not in arguments
    assert "5678-officer" not in arguments


def run_setup(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SETUP_TOKEN, *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.fixture
def pins(tmp_path: Path) -> tuple[Path, Path]:
    files = tmp_path / "pin", tmp_path / "so-pin"
    for file, pin in zip(files, ("1234-user", "5678-officer"), strict=True):
        file.write_text(f"{pin}\n")
    return files


def test_the_script_creates_a_token_and_prints_what_to_export(tmp_path: Path, pins: tuple[Path, Path]) -> None:
    done = run_setup(tmp_path / "soft hsm", "my token", *pins)

    assert (0, "") == (done.returncode, done.stderr)
    sourced = subprocess.run(
        ["bash", "-c", 'eval "$1"; echo "$SOFTHSM2_CONF|$PKCS11_MODULE"', "-", done.stdout],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{tmp_path}/soft hsm/softhsm2.conf|{find_module()}\n" == sourced.stdout
    assert {"my token"} == labels(tmp_path / "soft hsm" / "softhsm2.conf") - {""}
    assert 0o700 == stat.S_IMODE((tmp_path / "soft hsm").stat().st_mode)


def test_the_scripts_token_takes_the_pin(tmp_path: Path, pins: tuple[Path, Path]) -> None:
    run_setup(tmp_path / "home", "online", *pins)
    program = (
        "import sys; from pathlib import Path; from wharfinger_hsm.pkcs11_token import Pkcs11Token\n"
        "from wharfinger_hsm.model import TokenSettings\n"
        "settings = TokenSettings(Path(sys.argv[1]), 'online', Path('/nonexistent'))\n"
        "print(Pkcs11Token.open(settings, sys.stdin.read().strip()).keys())"
    )

    # In a process of its own: a module keeps its configuration for as long as it is loaded.
    logged_in = subprocess.run(
        [sys.executable, "-c", program, find_module()],
        env={"SOFTHSM2_CONF": str(tmp_path / "home" / "softhsm2.conf")},
        input=pins[0].read_text(),
        capture_output=True,
        text=True,
    )

    assert (0, "[]\n", "") == (logged_in.returncode, logged_in.stdout, logged_in.stderr)


def test_running_the_script_again_changes_nothing(tmp_path: Path, pins: tuple[Path, Path]) -> None:
    first = run_setup(tmp_path / "home", "online", *pins)
    before = snapshot(tmp_path / "home")

    second = run_setup(tmp_path / "home", "online", *pins)

    assert (0, first.stdout) == (second.returncode, second.stdout)
    assert before == snapshot(tmp_path / "home")


def test_the_script_makes_an_unfinished_token_anew(tmp_path: Path, pins: tuple[Path, Path]) -> None:
    leave_without_user_pin(tmp_path / "home", "my token")

    done = run_setup(tmp_path / "home", "my token", *pins)

    assert (0, "") == (done.returncode, done.stderr)
    assert 1 == len(list((tmp_path / "home" / "tokens").iterdir()))
    environment = {"SOFTHSM2_CONF": str(tmp_path / "home" / "softhsm2.conf")}
    assert [True] == [one.has_user_pin for one in softhsm._shown(softhsm_util(), environment)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["with#hash", "online", "pin", "pin"], "cannot hold the path"),
        ([], "usage:"),
        (["home", "online", "none", "none"], "cannot read"),
        (["home", "l" * 33, "pin", "pin"], "label"),
        (["home", "online", "short", "pin"], "4 to 255"),
    ],
)
def test_the_script_says_what_is_wrong(tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "pin").write_text("1234\n")
    (tmp_path / "short").write_text("123\n")

    done = subprocess.run([SETUP_TOKEN, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert (2, "") == (done.returncode, done.stdout)
    assert told in done.stderr


def labels(configuration: Path) -> set[str]:
    shown = subprocess.run(
        ["softhsm2-util", "--show-slots"],
        env={"SOFTHSM2_CONF": str(configuration)},
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.partition(":")[2].strip() for line in shown.stdout.splitlines() if line.strip().startswith("Label:")}


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}
