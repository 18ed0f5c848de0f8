"""Sharded state, and the peak of memory that it needs."""

import pytest

from scalelab.core.errors import ConfigError
from scalelab.train.launch import run_ranks
from scalelab.train.parallel.peak import DDP, FSDP, PeakConfig, compare_peaks


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3])
def test_shards_that_were_never_whole_have_the_whole_models_numbers(world_size):
    for found in run_ranks("rank_programs:made_sharded_beside_whole", world_size=world_size).results:
        assert found["different"] == []
        assert found["parameters"] > 20
        assert found["on_meta"] == 0


@pytest.mark.slow
def test_fsdp_holds_half_of_the_state_and_needs_less_at_its_peak_than_ddp():
    report = compare_peaks(PeakConfig(width=384, layers=4, heads=4, steps=2))
    of = {row.way: row for row in report.rows}
    assert list(of) == [DDP, FSDP]
    assert 0.5 <= report.state_share <= 0.51
    # 28 MB of parameters: DDP holds 113 MB of state, FSDP2 57 MB and a block
    assert of[DDP].peak_bytes >= of[DDP].state_bytes
    assert of[FSDP].peak_bytes >= of[FSDP].state_bytes
    assert report.peak_share < 0.9
    assert report.loss_difference < 1e-4


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"world_size": 1}, "by 1 ranks"),
        ({"batch_size": 7}, "batch of 7 windows"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(wrong, says):
    with pytest.raises(ConfigError, match=says):
        PeakConfig(**wrong)
