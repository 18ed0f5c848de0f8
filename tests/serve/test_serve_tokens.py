import json

import msgpack
import numpy as np
import pytest

from scalelab.serve.protocol import Problem
from scalelab.serve.tokens import COUNT, PAYLOAD_BYTES, parse_tokens

IDS = [*range(COUNT - 1), 2**40]
RAW = np.array(IDS, "<i8").tobytes()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/octet-stream", RAW),
        ("application/json", json.dumps({"tokens": IDS}).encode()),
        ("application/json; charset=utf-8", b' {"tok\\u0065ns": %b}\n' % json.dumps(IDS).encode()),
        ("application/json", json.dumps({"tokens": IDS}).encode("utf-16")),
        ("application/json", json.dumps({"tokens": [0.0, 1e0, *IDS[2:]]}).encode()),
        ("application/msgpack", msgpack.packb({"tokens": IDS})),
        ("application/msgpack", msgpack.packb({"tokens": RAW})),
    ],
)
def test_every_kind_of_body_gives_the_same_ids(kind, body):
    assert parse_tokens(kind, body) == RAW
    assert len(RAW) == PAYLOAD_BYTES


@pytest.mark.parametrize(
    ("kind", "body", "status", "named"),
    [
        ("text/plain", RAW, 415, "text/plain"),
        ("application/octet-stream", b"", 400, "empty"),
        ("application/octet-stream", RAW[:-8], 422, "504 bytes"),
        ("application/json", b"[1]", 422, "list"),
        ("application/json", b'{"tokens": "1"}', 422, "str"),
        ("application/json", b'{"tokens": [1, 2]}', 422, "2 ids, not 64"),
        ("application/json", json.dumps({"tokens": [*IDS[1:], 1.5]}).encode(), 422, "'1.5'"),
        ("application/json", json.dumps({"tokens": [*IDS[1:], 2**63]}).encode(), 422, str(2**63)),
        ("application/json", json.dumps({"tokens": [*IDS[1:], True]}).encode(), 422, "True"),
        ("application/json", json.dumps({"tokens": [*IDS[1:], float("nan")]}).encode(), 422, "nan"),
        ("application/json", json.dumps({"tokens": [*IDS[1:], 1e300]}).encode(), 422, "1e+300"),
        ("application/msgpack", msgpack.packb({"tokens": RAW[1:]}), 422, "511 bytes"),
    ],
)
def test_what_is_no_sequence_is_refused_with_its_value(kind, body, status, named):
    with pytest.raises(Problem) as caught:
        parse_tokens(kind, body)
    assert caught.value.status == status
    assert named in caught.value.message
    assert caught.value.hint
