"""Values, errors, labels and limits."""

import pytest

from wharfinger_hsm import errors
from wharfinger_hsm.errors import HsmError, TokenUnavailableError, UnsupportedItemError, error_from_wire
from wharfinger_hsm.labels import check_label
from wharfinger_hsm.limits import SupervisorLimits
from wharfinger_hsm.model import MAX_MESSAGE_BYTES, Digest, KeyAlgorithm, Message, fingerprint


@pytest.mark.parametrize("length", [0, 20, 31, 33, 47, 49, 64])
def test_a_digest_of_another_length_does_not_exist(length: int) -> None:
    with pytest.raises(UnsupportedItemError, match=f"{length} bytes"):
        Digest(bytes(length))


@pytest.mark.parametrize("length", [32, 48])
def test_digests_are_sha256_or_sha384(length: int) -> None:
    assert length == len(Digest(bytes(length)).value)


def test_a_message_fits_into_a_frame() -> None:
    with pytest.raises(UnsupportedItemError, match="limit"):
        Message(bytes(MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize(
    ("algorithm", "size"),
    [
        (KeyAlgorithm.ECDSA_P256, 32),
        (KeyAlgorithm.ECDSA_P384, 48),
        (KeyAlgorithm.ED25519, None),
        (KeyAlgorithm.RSA_PSS_2048, 32),
        (KeyAlgorithm.RSA_PSS_3072, 32),
        (KeyAlgorithm.RSA_PSS_4096, 32),
    ],
)
def test_each_algorithm_signs_one_kind_of_payload(algorithm: KeyAlgorithm, size: int | None) -> None:
    assert size == algorithm.digest_size


def test_a_fingerprint_is_short_and_of_the_value() -> None:
    assert "e3b0c44298fc1c14" == fingerprint(b"")


def test_every_error_crosses_the_pipe_as_itself() -> None:
    every = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, HsmError)}

    for error in every - {HsmError}:
        crossed = error_from_wire(error.wire_name, "why")
        assert (error, "why") == (type(crossed), str(crossed))


def test_an_error_that_nobody_knows_means_unavailable() -> None:
    crossed = error_from_wire("from-the-future", "why")

    assert isinstance(crossed, TokenUnavailableError)
    assert 0 < crossed.retry_after_seconds


def test_a_token_label_may_be_shorter_than_a_keys() -> None:
    check_label("l" * 128)
    with pytest.raises(UnsupportedItemError, match="1 to 32"):
        check_label("l" * 33, 32)


def test_a_back_off_doubles_from_first_to_longest() -> None:
    limits = SupervisorLimits(first_backoff=0.1, longest_backoff=30.0)

    waits = [limits.backoff(failures) for failures in (1, 2, 3, 4, 9, 10, 5000)]

    assert [0.1, 0.2, 0.4, 0.8, 25.6, 30.0, 30.0] == waits


def test_an_allowance_grows_with_the_items() -> None:
    assert 1.5 == SupervisorLimits(allowance=1.0, allowance_per_item=0.25).allowance_for(2)
