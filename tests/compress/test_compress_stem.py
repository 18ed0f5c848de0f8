"""The blocked stem is the same function."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scalelab.compress.shrink.stem import BlockedReader
from scalelab.models import PinReader

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 28, 168), np.uint8))


@pytest.mark.parametrize("channels", [(4, 8, 12), (5, 3, 2)])
def test_the_blocked_reader_gives_the_readers_logits(channels):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = PinReader(width=8, channels=channels).eval()
        for norm in (reader.stem[1], reader.stem[4], reader.stem[7]):
            for tensor in (norm.weight, norm.bias, norm.running_mean):
                torch.nn.init.normal_(tensor)
            torch.nn.init.uniform_(norm.running_var, 0.001, 0.01)
    blocked = BlockedReader(reader)
    with torch.no_grad():
        expected = reader(IMAGES)
        torch.testing.assert_close(blocked(IMAGES), expected, atol=1e-5, rtol=1e-5)
    assert expected.std(dim=0).max() > 0.01, (
        "logits that do not depend on the image would agree with anything"
    )
