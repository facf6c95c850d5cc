"""The client is whole: every RPC of the contract, and both clients alike."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

import wharfinger_client
from wharfinger.audit.v1 import audit_pb2
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger.scan.v1 import scan_pb2
from wharfinger.signing.v1 import signing_pb2
from wharfinger_client import AsyncClient, Client, _rpcs

# For monitors and administrators, who have the generated stubs and commands.
NOT_OF_THE_CLIENT = {"GetConsistencyProof", "ListLeaves"}


def _contract() -> Iterator[MethodDescriptor]:
    for module in (signing_pb2, metadata_pb2, scan_pb2, audit_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from (method for method in service.methods if method.name not in NOT_OF_THE_CLIENT)


def test_every_rpc_of_the_contract_is_described_as_it_is() -> None:
    expected = {
        (
            f"/{method.containing_service.full_name}/{method.name}",
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
            method.client_streaming,
            method.server_streaming,
        )
        for method in _contract()
    }
    described = {(rpc.path, rpc.request, rpc.response, rpc.streams, rpc.watches) for rpc in _rpcs.CONTRACT}
    assert expected == described


def test_stand_ins_for_the_health_messages_are_the_same_on_the_wire() -> None:
    for real, stand_in in (
        (health_pb2.HealthCheckRequest, _rpcs.CHECK_HEALTH.request),
        (health_pb2.HealthCheckResponse, _rpcs.CHECK_HEALTH.response),
    ):
        assert [1] == [field.number for field in real.DESCRIPTOR.fields]
        assert [1] == [field.number for field in stand_in.DESCRIPTOR.fields]
    assert FieldDescriptor.TYPE_ENUM == health_pb2.HealthCheckResponse.DESCRIPTOR.fields[0].type


def _methods(kind: type) -> dict[str, list[str]]:
    public = inspect.getmembers(kind, lambda member: inspect.isfunction(member) and not member.__name__.startswith("_"))
    return {
        name: [str(parameter) for parameter in inspect.signature(method).parameters.values()] for name, method in public
    }


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    assert _methods(Client) == _methods(AsyncClient)


@pytest.mark.parametrize("name", sorted(_methods(Client)))
def test_every_method_says_what_it_does(name: str) -> None:
    assert getattr(Client, name).__doc__
    assert getattr(AsyncClient, name).__doc__


def test_all_public_names_exist_and_are_sorted() -> None:
    assert sorted(wharfinger_client.__all__) == wharfinger_client.__all__
    for name in wharfinger_client.__all__:
        assert hasattr(wharfinger_client, name)
