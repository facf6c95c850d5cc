"""What both kinds of channel are made with."""

from __future__ import annotations

import grpc

from wharfinger_client.settings import ClientSettings, read_pem


def credentials(settings: ClientSettings) -> grpc.ChannelCredentials:
    """Credentials for mTLS. Reads the files of the settings, and starts gRPC's threads in this process.

    Raises:
        SettingsError: a file cannot be read or is not PEM.
    """
    tls = settings.tls
    return grpc.ssl_channel_credentials(
        root_certificates=read_pem(tls.ca, what="CA certificate"),
        private_key=read_pem(tls.key, what="private key"),
        certificate_chain=read_pem(tls.certificate, what="caller's certificate"),
    )


def options(settings: ClientSettings) -> list[tuple[str, str | int]]:
    """Channel arguments."""
    chosen: list[tuple[str, str | int]] = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # The daemon is an internal service that must see the caller's own certificate: no proxy of the environment.
        ("grpc.enable_http_proxy", 0),
        # Retries are decided here; a DNS record must not add any.
        ("grpc.service_config_disable_resolution", 1),
        # After a restart of the daemon the default would keep a long-lived client from it for up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if settings.tls.server_name:
        chosen.append(("grpc.ssl_target_name_override", settings.tls.server_name))
    return chosen
