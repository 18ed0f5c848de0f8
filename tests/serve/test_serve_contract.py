"""Laws that every contract keeps."""

import json
from typing import Annotated

import numpy as np
import pytest
from msgspec import Meta

from scalelab.core.errors import ConfigError
from scalelab.serve.contract import JSON, RAW, load_contract, quick_reader

CONTRACTS = ["scalelab.serve.pins:CONTRACT", "scalelab.serve.tokens:CONTRACT"]


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_raw_body_is_the_payload_itself(name):
    contract = load_contract(name)
    body = bytes(contract.payload_bytes)
    assert contract.parse(RAW, body) is body
    array = np.frombuffer(body, contract.dtype).reshape(contract.shape)
    assert array.nbytes == contract.payload_bytes


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_content_type_is_documented(name):
    contract = load_contract(name)
    assert set(contract.body) == set(contract.content_types)
    json.dumps([contract.body, contract.result])
    assert contract.body[JSON]["example"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scalelab.serve.pins", "names no contract"),
        ("scalelab.serve.nix:CONTRACT", "cannot be imported"),
        ("scalelab.serve.pins:NIX", "has no 'NIX'"),
        ("scalelab.serve.pins:PNG", "is str, not a Contract"),
    ],
)
def test_what_is_no_contract_is_named(name, said):
    with pytest.raises(ConfigError, match=said):
        load_contract(name)


def test_the_quick_reader_takes_what_is_as_it_should_be_and_leaves_the_rest():
    read = quick_reader("pixels", Annotated[list[int], Meta(min_length=2)])
    assert read(b'{"pixels": [1, 2]}') == [1, 2]
    bad = [b'{"pixels": [1]}', b'{"pixels": [1, "2"]}', b'{"pixels": [1, 2], "x": 0}', b"[", b"[" * 100_000]
    for body in bad:
        assert read(body) is None
