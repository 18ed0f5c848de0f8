import pytest

from scalelab.core.errors import ConfigError
from scalelab.models import CharGpt
from scalelab.train.data_parallel.link_report import LinkConfig, compare_over_link

TINY = {"batch_size": 4, "batches": 8, "turns": 2, "width": 16, "layers": 1, "context": 16}


@pytest.mark.slow
def test_bytes_over_the_link_are_exact_for_every_way():
    report = compare_over_link(LinkConfig(**TINY))
    gradients = 4 * sum(p.numel() for p in CharGpt(context=16, layers=1, width=16).parameters())
    handed = {row.way: row.bytes_per_batch for row in report.rows}
    assert handed["all at the end"] == handed["overlap"] == gradients
    assert handed["overlap, bf16"] == gradients / 2
    assert handed["once in all batches"] == gradients / 8
    assert 0 < handed["overlap, top 1 %"] < 0.025 * gradients
    assert report.label == "injected link: 0.5 ms, 125 MB/s"
    assert all(row.speedup.ratio.n == 2 and row.seconds > 0 for row in report.rows)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"turns": 0}, "turns is 0"),
        ({"batches": 0}, "batches is 0"),
        ({"world_size": 1}, "by 1 ranks"),
        ({"world_size": 3}, "batch of 4 windows cannot be shared equally by 3 ranks"),
        ({"batch_size": 0}, "batch of 0 windows"),
        ({"bytes_per_s": 0}, "a link with"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(wrong, says):
    with pytest.raises(ConfigError, match=says):
        LinkConfig(**{**TINY, **wrong})
