import pytest

from scalelab.core.errors import ConfigError, MissingDependency, RunFailed
from scalelab.train.frameworks import BASES, FrameworksConfig, check_world_sizes, compare_frameworks

TINY = {"batch_size": 4, "blocks": 2, "block_steps": 2, "context": 16, "layers": 1, "heads": 2, "width": 16}


@pytest.mark.slow
def test_all_ways_take_the_same_steps_on_as_many_ranks_as_they_were_given():
    pytest.importorskip("accelerate")
    report = compare_frameworks(FrameworksConfig(**TINY))
    assert report.world_sizes == {
        "bare torch": 1,
        "ours alone": 1,
        "raw DDP": 2,
        "ours over DDP": 2,
        "our buckets": 2,
        "accelerate": 2,
    }
    assert [one.way for one in report.overheads] == list(BASES)
    for one in report.overheads:
        assert one.difference < 1e-4, one.way  # six AdamW steps, gradients equal up to rounding
        assert one.ratio.ratio.n == 2
        assert min(one.ratio.a_s + one.ratio.b_s) > 0
        assert (one.verdict is not None) == one.way.startswith("ours")


def test_a_framework_that_started_a_single_process_is_found_out():
    with pytest.raises(RunFailed, match=r"accelerate ran on 1 rank\(s\), asked for 2") as caught:
        check_world_sizes({"bare torch": 1, "raw DDP": 2, "accelerate": 1}, 2)
    assert "torchrun" in caught.value.hint


def test_a_framework_that_is_not_installed_is_named_with_what_brings_it(monkeypatch):
    monkeypatch.setattr("scalelab.core.lazy.is_installed", lambda module: module != "accelerate")
    with pytest.raises(MissingDependency, match="'accelerate' is not installed") as caught:
        compare_frameworks(FrameworksConfig(**TINY))
    assert "frameworks" in caught.value.hint


def test_an_unknown_way_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="no way 'acelerate'") as caught:
        FrameworksConfig(ways=("acelerate",))
    assert "accelerate" in caught.value.hint


@pytest.mark.parametrize(
    "wrong", [{"blocks": 0}, {"block_steps": 0}, {"batch_size": 7}, {"world_size": 1}], ids=str
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match=str(next(iter(wrong.values())))):
        FrameworksConfig(**wrong)
