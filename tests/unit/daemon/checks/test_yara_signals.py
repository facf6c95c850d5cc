"""Each signal of the pack: a harmless text that shows it, and a look-alike that is left alone.

The samples are texts that nobody executes; hosts are reserved or made up, and so are tokens.
"""

from __future__ import annotations

import re

import pytest

from wharfinger_daemon.checks.yara_rules import YaraRulesCheck
from wharfinger_daemon.scanning.plugin import Member
from wharfinger_daemon.scanning.weights import SUSPICIOUS_SCORE, THREAT_SCORE, WEIGHTS

CHECK = YaraRulesCheck()
BLOB = "QUJD" * 120
HOOK = "https://discord.com/api/webhooks/" + "1" * 18 + "/" + "a" * 68
SETUP = "pkg-1.0/setup.py"
MODULE = "pkg-1.0/pkg/module.py"

SIGNALS = {
    "setup-host-facts": (SETUP, "print(socket.gethostname())", "print(platform.system())"),
    "setup-encoded-literal": (SETUP, f"x = '{BLOB}'", f"x = '{BLOB[:200]}'"),
    "setup-raw-socket": (SETUP, "s.connect(('192.0.2.1', 9))", "signal.connect(handler)"),
    "setup-silenced-errors": (
        SETUP,
        "try:\n    f()\nexcept:\n    pass\n",
        "try:\n    f()\nexcept OSError:\n    raise\n",
    ),
    "setup-research-claim": (SETUP, "# a proof of concept", "# a proof that it works"),
    "setup-imported-by-call": (SETUP, "__import__('os')", "import os"),
    "hard-coded-webhook": (MODULE, f"u = '{HOOK}'", "u = f'https://discord.com/api/webhooks/{number}/{token}'"),
    "hard-coded-bot-token": (MODULE, f"t = '12345678:AA{'b' * 33}'", "t = os.environ['BOT_TOKEN']"),
    "callback-host": (MODULE, "u = 'abcdefgh12.oast.fun'", "u = 'https://webhook.site/'"),
    "request-recorder": (MODULE, "u = 'https://abcd1234.ngrok.io/x'", "u = 'https://ngrok.com/docs'"),
    "address-lookup": (MODULE, "u = 'https://api.ipify.org'", "u = 'https://example.com/ip'"),
    "numeric-address": (
        MODULE,
        "u = 'http://45.0.113.9:8000/x'",
        "u = 'http://192.0.2.1/x http://127.0.0.1:80/ http://10.0.0.1/'",
    ),
    "payload-host": (MODULE, "u = 'https://pastebin.com/raw/abc'", "u = 'https://pastebin.com/help'"),
    "startup-entry": (MODULE, r"k = 'Software\\Microsoft\\Windows\\CurrentVersion\\Run'", "k = 'CurrentVersion'"),
    "temporary-program": (
        MODULE,
        "p = os.environ['TEMP'] + '/a.exe'\nurllib.request.urlretrieve(u, p)\nos.system(p)",
        "p = os.environ['TEMP'] + '/a.txt'\nurllib.request.urlretrieve(u, p)\nos.system('ls')",
    ),
    "encoded-program": (MODULE, f"x = '{BLOB}'\nexec(base64.b64decode(x))", f"LOGO = '{BLOB}'\nshow(b64decode(LOGO))"),
    "escaped-program": (MODULE, "exec(b'" + "\\x41" * 70 + "')", "TABLE = b'" + "\\x41" * 70 + "'"),
    "look-alike-names": (
        MODULE,
        "\n".join(f"IlIIlIlI{'Il' * (n % 4)}I1 = {n}" for n in range(25)),
        "\n".join(f"illustration_{n} = {n}" for n in range(25)),
    ),
    "off-screen-text": (MODULE, "import os;" + " " * 150 + "print('hello')", "x = 1" + " " * 150 + "# told"),
    "hidden-window": (
        MODULE,
        "f(creationflags=CREATE_NO_WINDOW)\nrequests.get(u)",
        "f(creationflags=CREATE_NO_WINDOW)\nprint(u)",
    ),
    "screen-capture-sent": (MODULE, "a = ImageGrab.grab()\nrequests.post(u, a)", "a = ImageGrab.grab()\na.save(p)"),
    "renamed-builtins": (MODULE, "Add, Cube, Run = exec, str, tuple", "a, b = str, tuple\nrun = exec"),
    "protected-code": (MODULE, "__pyarmor__(__name__, __file__, b'x')", "# about __pyarmor__"),
    "spawned-import": (
        MODULE,
        "subprocess.Popen(['python3', '-c', 'from other import start'])",
        "subprocess.Popen([sys.executable, '-c', 'print(1)'])",
    ),
    "cookies-sent": (
        MODULE,
        "c = browser_cookie3.chrome()\nrequests.post(u, c)",
        "c = browser_cookie3.chrome()\nrequests.get(u, cookies=c)",
    ),
    "accounts-in-reach": (
        MODULE,
        "a = 'Login Data'\nb = 'metamask'",
        "a = 'Login Data'\nb = 'meta mask'",
    ),
}


def found(name: str, text: str) -> set[str]:
    return {evidence.rule for evidence in CHECK.member(Member(name, text.encode()))}


@pytest.mark.parametrize("rule", SIGNALS)
def test_the_signal_is_seen(rule: str) -> None:
    name, text, _ = SIGNALS[rule]
    assert rule in found(name, text)


@pytest.mark.parametrize("rule", SIGNALS)
def test_the_look_alike_of_a_signal_is_left_alone(rule: str) -> None:
    name, _, text = SIGNALS[rule]
    assert set() == found(name, text)


@pytest.mark.parametrize("rule", SIGNALS)
def test_signals_count_only_where_programs_are(rule: str) -> None:
    _, text, _ = SIGNALS[rule]
    for name in ("pkg-1.0/tests/module.py", "pkg-1.0/pkg/test_module.py", "pkg-1.0/docs/conf.py", "pkg/readme.txt"):
        assert rule not in found(name, text)


def test_no_signal_is_an_alarm_by_itself_and_every_one_is_sampled() -> None:
    text = next(text for text in CHECK.rule_texts if b"Signals:" in text).decode()
    names = {name.replace("_", "-") for name in re.findall(r"^rule (\w+)", text, re.MULTILINE)}
    assert set(SIGNALS) == names
    assert SUSPICIOUS_SCORE < THREAT_SCORE
    assert all(WEIGHTS["yara-rules", name] < THREAT_SCORE for name in names)
