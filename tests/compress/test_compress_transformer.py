"""MiniLM from its wheel: sentences, vectors, one ONNX file of free sizes, two int8 twins, neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from scalelab.compress.transformer import (
    agreement,
    export_encoder,
    quantize_encoder,
    sentences,
    text_session,
    tokenize,
)
from scalelab.compress.transformer.neighbours import nearest, share
from scalelab.compress.transformer.text_sessions import embed_all
from scalelab.compress.transformer.tokens import split_sentences
from scalelab.core.errors import ConfigError, DataError


def test_sentences_are_prose_each_once_and_examples_are_left_out():
    text = (
        "Return the sum of all the numbers given.  It raises an\nerror for none of them. Short one.\n\n"
        ">>> add(1, 2) == 3 and more(4) != [5, 6, 7]\n3\n\n"
        "lower case is a fragment of a sentence here.\n\n"
        "Return the sum of all the numbers given.\n"
    )
    assert split_sentences(text) == [
        "Return the sum of all the numbers given.",
        "It raises an error for none of them.",
    ]


@pytest.mark.slow
def test_no_sentence_of_a_module_is_in_both_splits():
    measured, calibrating = sentences(400), sentences(100, "val")
    assert len(set(measured)) == 400
    assert len(set(measured) & set(calibrating)) < 5, "a phrase that two modules share"
    with pytest.raises(ConfigError, match="asked for 1,000,000"):
        sentences(1_000_000, "val")
    with pytest.raises(ConfigError, match="0 sentences"):
        sentences(0)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS = unit(np.random.default_rng(0).normal(size=(300, 16)))


def test_the_nearest_neighbour_is_the_other_vector_with_the_largest_cosine():
    cosines = VECTORS @ VECTORS.T
    brute = [max((j for j in range(300) if j != i), key=lambda j: cosines[i, j]) for i in range(300)]
    assert nearest(VECTORS, chunk=64).tolist() == brute


def test_a_cosine_near_one_can_hide_a_changed_neighbour():
    same = agreement(VECTORS, VECTORS)
    assert (same.top1.median, same.top1.n) == (1.0, 300)
    assert same.cosine_min == pytest.approx(1, abs=1e-6)
    turned = agreement(VECTORS, unit(VECTORS + 0.04 * np.random.default_rng(1).normal(size=VECTORS.shape)))
    assert turned.cosine_mean > 0.98
    assert turned.top1.high < 0.95


def test_an_interval_of_a_share_is_wilsons():
    found = share(93, 100)
    assert (found.median, found.n) == (0.93, 100)
    assert (found.low, found.high) == pytest.approx((0.8625, 0.9657), abs=1e-3)  # statsmodels' "wilson"
    assert share(100, 100).high == pytest.approx(1)
    assert share(100, 100).low < 1


@pytest.mark.parametrize(
    ("candidate", "message"),
    [(VECTORS[:9], "no neighbours to compare"), (2 * VECTORS, "candidate holds vectors")],
)
def test_vectors_that_cannot_be_compared_are_refused(candidate, message):
    with pytest.raises(DataError, match=message):
        agreement(VECTORS, candidate)


@pytest.mark.slow
def test_tokens_are_cut_and_filled_to_one_length():
    tokens = tokenize(["A cat.", "word " * 99], length=12)
    assert tokens.ids.shape == tokens.mask.shape == (2, 12)
    assert tokens.mask.sum(1).tolist() == [5, 12]  # two marks, two words and a full stop
    assert (tokens.ids[0, 5:] == 0).all()
    assert len(tokens[1:]) == 1
    with pytest.raises(ConfigError, match="513 tokens"):
        tokenize(["A cat."], length=513)
    with pytest.raises(DataError, match="no sentences"):
        tokenize([])


TEXTS = ["The cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose by a quarter point."]


@pytest.mark.slow
def test_vectors_have_length_one_and_know_what_is_alike():
    vectors = text_session().embed(tokenize(TEXTS))
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.4 > 0.2 > cosines[0, 2]


@pytest.mark.slow
def test_fillers_change_nothing():
    eager = text_session()
    short, long = (eager.embed(tokenize(TEXTS, length)) for length in (12, 40))
    np.testing.assert_allclose(short, long, atol=1e-5)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export_encoder(tmp_path_factory.mktemp("minilm") / "minilm.onnx")


@pytest.mark.slow
@pytest.mark.timeout(900)  # the export takes some ten seconds, and many times that beside other work
def test_one_file_serves_all_sizes_in_both_runtimes(exported):
    texts = sentences(9, "val")
    eager = text_session()
    for runtime in ("onnxruntime", "openvino"):
        session = text_session(exported.path, runtime=runtime)
        for n, length in ((1, 32), (9, 17)):
            tokens = tokenize(texts[:n], length)
            np.testing.assert_allclose(session.embed(tokens), eager.embed(tokens), atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "layers", "least"), [("int8.onnx", 36, 0.8), ("int8.xml", 36, 0.8)])
def test_int8_is_a_quarter_and_finds_most_of_the_same_neighbours(exported, tmp_path, name, layers, least):
    calibration = tokenize(sentences(16, "val"))
    int8 = quantize_encoder(exported.path, tmp_path / name, calibration)
    assert int8.quantized_layers >= layers, "six products a layer, six layers"
    assert exported.bytes / int8.bytes > 3.85
    assert int8.bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    tokens = tokenize(sentences(150))
    found = agreement(embed_all(text_session(), tokens), embed_all(text_session(int8.path), tokens))
    assert found.cosine_mean > 0.97, found
    assert found.top1.median > least, found


def test_files_of_another_kind_are_refused_and_nothing_is_overwritten(tmp_path):
    out = tmp_path / "int8.onnx"
    out.write_text("what was here")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"broken\.onnx is not an ONNX model"):
        quantize_encoder(broken, out)
    with pytest.raises(ConfigError, match="says not which runtime"):
        quantize_encoder(broken, tmp_path / "int8.bin")
    with pytest.raises(DataError, match="no sentences to calibrate"):
        quantize_encoder(broken, tmp_path / "int8.xml", tokenize(["A cat."])[:0])
    with pytest.raises(ConfigError, match="reads"):
        text_session(tmp_path / "model.safetensors")
    assert out.read_text() == "what was here"


@pytest.mark.slow
def test_a_graph_of_a_pin_reader_is_no_encoder(made):
    for runtime in ("", "openvino"):
        with pytest.raises(DataError, match="no sentence encoder: its inputs are images"):
            text_session(made.onnx_path, runtime=runtime)
