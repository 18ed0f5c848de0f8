import dataclasses

import pytest

from scalelab.core.errors import ConfigError, MissingDependency, RunFailed
from scalelab.train.frameworks import (
    OPTIONAL,
    FrameworksConfig,
    compare_frameworks,
    installed_ways,
)
from scalelab.train.frameworks.compare import check_world_sizes

TINY = {"batch_size": 4, "blocks": 2, "block_steps": 2, "context": 16, "layers": 1, "heads": 2, "width": 16}


@pytest.mark.slow
def test_all_ways_take_the_same_steps_on_as_many_ranks_as_they_were_given():
    pytest.importorskip("accelerate")
    config = FrameworksConfig(**TINY)
    ways = (*config.ways, *installed_ways())
    assert "accelerate" in ways
    report = compare_frameworks(dataclasses.replace(config, ways=ways))
    assert report.world_sizes == {
        "bare torch": 1,
        "raw DDP": 2,
        **{way: 1 if way == "ours alone" else 2 for way in ways},
    }
    assert [one.way for one in report.overheads] == list(ways)
    for one in report.overheads:
        assert one.difference < 1e-4, one.way  # six AdamW steps, gradients equal up to rounding
        assert one.ratio.ratio.n == 2
        assert min(one.ratio.a_s + one.ratio.b_s) > 0
        assert (one.verdict is not None) == one.way.startswith("ours")


def test_a_framework_that_started_a_single_process_is_found_out():
    with pytest.raises(RunFailed, match=r"accelerate ran on 1 rank\(s\), asked for 2") as caught:
        check_world_sizes({"bare torch": 1, "raw DDP": 2, "accelerate": 1}, 2)
    assert "torchrun" in caught.value.hint


@pytest.mark.parametrize(
    ("way", "hint"),
    [("accelerate", "frameworks"), ("Lightning", "frameworks"), ("DeepSpeed", "DS_BUILD_OPS=0 pip install")],
)
def test_a_framework_that_is_not_installed_is_named_with_what_brings_it(monkeypatch, way, hint):
    assert way in OPTIONAL
    monkeypatch.setattr("scalelab.train.frameworks.compare.is_installed", lambda module: False)
    assert installed_ways() == ()
    with pytest.raises(MissingDependency, match=f"{way} is not installed") as caught:
        compare_frameworks(FrameworksConfig(**TINY, ways=(way,)))
    assert hint in caught.value.hint


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
