"""The reader that ships: it is whole, and as good as its entry says."""

import re

import torch

from scalelab.data import compose_pins, read_manifest
from scalelab.models import accuracy
from scalelab.train import predict, trained_reader


def test_the_shipped_reader_reads_as_well_as_the_manifest_says():
    said = float(re.search(r"([\d.]+)% of the digits", read_manifest()["reader.safetensors"].holds)[1])
    test = compose_pins(500, "test", seed=1)
    score = accuracy(predict(trained_reader(), test.images), test.labels)
    assert abs(100 * score.digit - said) < 1.0  # 3,000 digits of the same 1,000 images


def test_each_call_gives_a_reader_of_its_own_in_evaluation_mode():
    first, second = trained_reader(), trained_reader()
    with torch.no_grad():
        first.head[1].weight.zero_()
    assert second.head[1].weight.abs().sum() > 0
    assert not second.training
