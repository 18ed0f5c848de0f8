import base64
import json
from io import BytesIO

import msgpack
import pytest
from PIL import Image

from scalelab.serve.pins import IMAGE_BYTES, parse_image
from scalelab.serve.protocol import Problem

RAW = bytes(range(256)) * 18 + bytes(96)


def png(size=(168, 28), mode="L", data=None):
    file = BytesIO()
    picture = Image.frombytes("L", size, data) if data else Image.new(mode, size)
    picture.save(file, "PNG")
    return file.getvalue()


def refused(kind, body):
    with pytest.raises(Problem) as caught:
        parse_image(kind, body)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/octet-stream", RAW),
        ("Application/Octet-Stream; charset=binary", RAW),
        ("image/png", png(data=RAW)),
        ("application/json", json.dumps({"image": base64.b64encode(RAW).decode()}).encode()),
        ("application/json", json.dumps({"image": base64.b64encode(png(data=RAW)).decode()}).encode()),
        ("application/msgpack", msgpack.packb({"image": RAW})),
        ("application/msgpack", msgpack.packb({"image": png(data=RAW)})),
    ],
)
def test_every_kind_of_body_gives_the_same_image(kind, body):
    assert parse_image(kind, body) == RAW


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_common_kind_of_png_is_read(mode):
    assert len(parse_image("image/png", png(mode=mode))) == IMAGE_BYTES


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_dark_ink_on_light_paper_is_refused_and_told_to_be_inverted(mode):
    picture = Image.new("L", (168, 28), 255)
    picture.paste(0, (10, 0, 40, 28))  # a stroke may reach the border
    file = BytesIO()
    picture.convert(mode).save(file, "PNG")
    as_json = json.dumps({"image": base64.b64encode(file.getvalue()).decode()}).encode()
    for kind, body in (("image/png", file.getvalue()), ("application/json", as_json)):
        problem = refused(kind, body)
        assert (problem.status, "dark ink on light paper" in problem.message) == (422, True)
        assert "invert" in problem.hint


@pytest.mark.parametrize(("level", "is_read"), [(127, True), (128, False)])
def test_a_border_is_light_from_the_middle_of_the_scale(level, is_read):
    body = png(data=bytes([level]) * IMAGE_BYTES)
    if is_read:
        assert parse_image("image/png", body) == bytes([level]) * IMAGE_BYTES
    else:
        refused("image/png", body)


@pytest.mark.parametrize(
    ("kind", "body", "status", "named"),
    [
        ("", RAW, 415, "no content type"),
        ("text/html", RAW, 415, "text/html"),
        ("application/octet-stream", b"", 400, "empty"),
        ("application/octet-stream", RAW[:-1], 422, "4703"),
        ("application/octet-stream", png(), 422, "4704"),
        ("image/png", b"GIF89a", 422, "begins with b'GIF89a'"),
        ("image/png", RAW, 422, "the body is no PNG"),
        ("image/png", png(data=RAW)[:100], 422, "no readable PNG"),
        ("image/png", png((28, 168)), 422, "28 x 168"),
        ("image/png", png((6000, 6000), "1"), 422, "6000 x 6000"),
        ("image/png", png(mode="I;16"), 422, "I;16"),
        ("application/json", b"{", 400, "not JSON"),
        ("application/json", b"\xff\xfe", 400, "not JSON"),
        ("application/json", b"[" * 60_000, 400, "not JSON"),
        ("application/json", b"[]", 422, "list"),
        ("application/json", b'{"picture": ""}', 422, "picture"),
        ("application/json", b'{"image": "", "x": 1}', 422, "'x'"),
        ("application/json", b'{"image": 7}', 422, "int"),
        ("application/json", b'{"image": "?"}', 422, "base64"),
        ("application/json", '{"image": "ü"}'.encode(), 422, "base64"),
        ("application/json", b'{"image": "AAAA"}', 422, "3 bytes"),
        ("application/json", b'{"images": "AAAA"}', 422, 'no "image"'),
        ("application/msgpack", b"\xc1", 400, "not msgpack"),
        ("application/msgpack", b"\x81\x90\x90", 400, "not msgpack"),
        ("application/msgpack", b"\x91" * 60_000, 400, "not msgpack"),
        ("application/msgpack", msgpack.packb({"image": RAW})[:-1], 400, "not msgpack"),
        ("application/msgpack", msgpack.packb([1]), 422, "list"),
        ("application/msgpack", msgpack.packb({"x": 2, "image": RAW}), 422, "['x']"),
        ("application/msgpack", msgpack.packb({"image": "text"}), 422, "str"),
        ("application/msgpack", msgpack.packb({"image": b"abc"}), 422, "3 bytes"),
    ],
)
def test_what_is_no_image_is_refused_with_its_value(kind, body, status, named):
    problem = refused(kind, body)
    assert problem.status == status
    assert named in problem.message


def test_a_problem_is_a_document_with_value_and_next_step():
    document = json.loads(refused("text/html", RAW).body())
    assert document["status"] == 415
    assert document["title"] == "Unsupported Media Type"
    assert "text/html" in document["detail"]
    assert "image/png" in document["hint"]
