"""How commands reach the administrative address, and what they say when they cannot."""

from concurrent.futures import ThreadPoolExecutor

import click
import grpc
import pytest
import trustme
from click.testing import CliRunner

from wharfinger.keys.v1 import keys_pb2 as wire
from wharfinger.keys.v1 import keys_pb2_grpc
from wharfinger_daemon.cli import administration
from wharfinger_daemon.cli.administration import Connection, administration_options, key_administration
from wharfinger_daemon.errors import Reason, RefusedError, StartupError
from wharfinger_daemon.rpc.status import DETAILS_KEY, details_of


class Refusing(keys_pb2_grpc.KeyAdminServiceServicer):
    """Answers ``RetireKey``, and refuses the rest in one way each."""

    def __init__(self):
        self.deadlines = []

    def RetireKey(self, request, context):
        self.deadlines.append(context.time_remaining())
        return wire.RetireKeyResponse(key=wire.LineKey(keyid=request.keyid))

    def ActivateKey(self, request, context):
        error = RefusedError("The key is not listed.", reason=Reason.KEY_NOT_PUBLISHED)
        details = details_of(error, "request")
        context.set_trailing_metadata(((DETAILS_KEY, details),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, error.message)

    def ResumeSigning(self, request, context):
        context.set_trailing_metadata(((DETAILS_KEY, b"\xff\xff"),))
        context.abort(grpc.StatusCode.INTERNAL, "It broke.")

    def ListSuspensions(self, request, context):
        context.set_trailing_metadata(((DETAILS_KEY, b""),))
        context.abort(grpc.StatusCode.UNAVAILABLE, "The line is cut.")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A daemon of a kind, and a home with what reaches it."""
    home = tmp_path_factory.mktemp("home")
    (home / "tls").mkdir()
    authority = trustme.CA()
    server_certificate = authority.issue_cert("127.0.0.1")
    caller = authority.issue_cert("security")
    authority.cert_pem.write_to_path(home / "tls" / "ca.crt")
    caller.cert_chain_pems[0].write_to_path(home / "tls" / "security.crt")
    caller.private_key_pem.write_to_path(home / "tls" / "security.key")
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        servicer = Refusing()
        keys_pb2_grpc.add_KeyAdminServiceServicer_to_server(servicer, server)
        credentials = grpc.ssl_server_credentials(
            [(server_certificate.private_key_pem.bytes(), server_certificate.cert_chain_pems[0].bytes())],
            root_certificates=authority.cert_pem.bytes(),
            require_client_auth=True,
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        yield Connection(home / "config.toml", address=f"127.0.0.1:{port}"), servicer
        server.stop(None).wait()


def said(capsys, connection, call):
    """What a call that fails says; it must end the program with status 2."""
    with pytest.raises(SystemExit) as ended, key_administration(connection) as stub:
        call(stub)
    assert 2 == ended.value.code
    return capsys.readouterr().err


def test_call_reaches_the_daemon_and_has_a_deadline(served):
    connection, servicer = served
    with key_administration(connection) as stub:
        assert "a" == stub.RetireKey(wire.RetireKeyRequest(keyid="a")).key.keyid
        stub.RetireKey(wire.RetireKeyRequest(keyid="a"), timeout=5)
    by_default, own = servicer.deadlines
    assert 30 < by_default < 90
    assert own < 30


def test_refusal_is_said_with_its_reason(served, capsys):
    told = said(capsys, served[0], lambda stub: stub.ActivateKey(wire.ActivateKeyRequest(keyid="a")))
    assert "wharfinger: The key is not listed. (KEY_NOT_PUBLISHED)\n" == told


def test_failure_without_readable_details_is_said_as_it_came(served, capsys):
    told = said(capsys, served[0], lambda stub: stub.ResumeSigning(wire.ResumeSigningRequest()))
    assert "failed: INTERNAL: It broke." in told


def test_daemon_that_cannot_be_reached_is_said_to_be(served, capsys):
    told = said(capsys, served[0], lambda stub: stub.ListSuspensions(wire.ListSuspensionsRequest()))
    assert "No daemon can be reached at" in told and "The line is cut." in told


def test_address_without_the_service_is_said_to_be_the_wrong_one(served, capsys):
    connection, _ = served
    with pytest.raises(SystemExit), administration.administration_channel(connection) as channel:
        keys_pb2_grpc.KeyServiceStub(channel).ListKeys(wire.ListKeysRequest())
    assert "has no such service" in capsys.readouterr().err


def test_file_that_cannot_be_read_is_named_with_its_option(served, tmp_path):
    connection = Connection(tmp_path / "config.toml", address=served[0].address)
    with pytest.raises(StartupError) as caught, key_administration(connection):
        raise AssertionError("it must not come so far")
    assert "--ca" in caught.value.message


def test_options_reach_the_command_as_one_connection(tmp_path):
    seen = []

    @click.command()
    @click.argument("keyid")
    @administration_options
    def act(keyid, connection):
        seen.append((keyid, connection))

    arguments = ["k1", "--config", str(tmp_path / "c.toml"), "--address", "localhost:1", "--key", str(tmp_path / "k")]
    assert 0 == CliRunner().invoke(act, arguments).exit_code
    expected = Connection(tmp_path / "c.toml", "localhost:1", None, None, tmp_path / "k")
    assert [("k1", expected)] == seen
    assert "localhost:1" == expected.target
