"""A real daemon scans an upload, somebody signs in by the printed link and decides, and the audit log has it."""

from __future__ import annotations

import io
import json
import re
import tarfile

import urllib3

from tests.support.daemon_process import DaemonProcess, run_cli
from wharfinger_client import Subject

# Harmless: what it decodes and runs is a comment.
_DROPPER = b'import base64\nexec(base64.b64decode("IyBub3RoaW5nIGF0IGFsbA=="))\n'


def _sdist() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in {"PKG-INFO": b"Metadata-Version: 2.1\nName: example\n", "setup.py": _DROPPER}.items():
            info = tarfile.TarInfo(f"example-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _link(daemon: DaemonProcess) -> str:
    assert daemon.process is not None
    assert daemon.process.stdout is not None
    found = re.search(r"http://\S+", daemon.process.stdout.readline().decode())
    assert found is not None
    return found[0]


def test_an_upload_is_scanned_reviewed_and_the_decision_audited(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        subject = Subject.file(project="example", version="1.0", filename="example-1.0.tar.gz")
        scan = client.scan_file(io.BytesIO(_sdist()), subject=subject).scan
    link = _link(daemon)
    with urllib3.PoolManager() as browser:
        signed_in = browser.request("GET", link, redirect=False)
        headers = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        place = link.partition("/review/")[0]
        page = browser.request("GET", f"{place}/review/verdicts/{scan.scan_id}", headers=headers).data.decode()
        assert "example-1.0/setup.py" in page
        csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
        decided = browser.request(
            "POST",
            f"{place}/review/verdicts/{scan.scan_id}/decide",
            fields={"csrf": csrf, "decision": "threat", "reason": "It decodes and runs text."},
            encode_multipart=False,
            headers=headers,
            redirect=False,
        )
        assert 303 == decided.status
        audit = browser.request("GET", f"{place}/review/audit", headers=headers).data.decode()
        assert "verdict-reviewed" in audit
        for section in ("", "checks", "keys", "metadata"):
            assert 200 == browser.request("GET", f"{place}/review/{section}", headers=headers).status
    assert 0 == daemon.stop()
    verified = run_cli("audit", "verify", "--config", str(daemon.home / "config.toml"), "--json")
    assert 0 == verified.returncode, verified.stdout + verified.stderr
    assert json.loads(verified.stdout)
