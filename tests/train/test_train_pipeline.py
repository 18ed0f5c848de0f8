import copy
from types import SimpleNamespace

import pytest
import torch

from scalelab.core.errors import ConfigError
from scalelab.models import CharGpt
from scalelab.train.launch import run_ranks
from scalelab.train.parallel import Pipeline, bubble, cut_stage, measure_bubble
from scalelab.train.parallel.sharded import split_by_dtensor

torch.manual_seed(0)
GPT = CharGpt(vocabulary=11, context=8, layers=5, heads=2, width=16)


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_stages_one_after_the_other_are_the_whole_model(stages):
    ids = torch.randint(11, (3, 8))
    x = ids
    for stage in range(stages):
        x = cut_stage(GPT, stage, stages)(x)
    torch.testing.assert_close(x, GPT(ids))


def test_every_parameter_is_in_one_stage():
    held = [id(p) for stage in range(3) for p in cut_stage(GPT, stage, 3).parameters()]
    assert sorted(held) == sorted(id(p) for p in GPT.parameters())


@pytest.mark.parametrize(("stage", "stages"), [(0, 6), (2, 2), (-1, 2)])
def test_stages_that_the_model_does_not_have_are_refused(stage, stages):
    with pytest.raises(ConfigError, match=f"stage {stage} of {stages} from a model of 5 blocks"):
        cut_stage(GPT, stage, stages)


def test_the_bubble_is_the_schedules_empty_share():
    for p in range(1, 6):
        for m in range(1, 9):
            # every rank is busy for m slots of the m + p - 1 between the first begin and the last end
            assert bubble(p, m) == pytest.approx(1 - m / (m + p - 1))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"schedule": "gpip"}, "no schedule 'gpip'"),
        ({"micro_batches": 0, "schedule": "gpipe"}, "0 micro"),
        ({}, "2 micro-batches for 3 stages under 1f1b"),
    ],
)
def test_a_pipeline_that_cannot_run_is_refused(wrong, says):
    alone = SimpleNamespace(number=0, world_size=3)
    with pytest.raises(ConfigError, match=says):
        Pipeline(GPT, alone, **{"micro_batches": 2, "loss": None, **wrong})


def test_heads_that_the_ranks_do_not_divide_are_refused_by_dtensor_too():
    with pytest.raises(ConfigError, match="2 heads cannot be shared equally by 3 ranks"):
        split_by_dtensor(copy.deepcopy(GPT), 3)


@pytest.fixture(scope="module")
def found():
    return run_ranks("rank_programs:parallel_beside_whole", world_size=2).results


@pytest.mark.slow
@pytest.mark.parametrize("way", ["dtensor", "fsdp"])
def test_torchs_own_splits_take_the_step_of_the_whole_model(found, way):
    for rank in found:
        assert rank[way]["loss"] < 1e-5
        assert rank[way]["gradients"] < 1e-5
        assert rank[way]["weights"] < 1e-5


@pytest.mark.slow
def test_fsdp_holds_half_of_everything_on_each_of_two_ranks(found):
    for rank in found:
        for what in ("parameters", "gradients", "optimizer"):
            assert rank["fsdp"]["held"][what] <= 0.51 * rank["held"][what], what
            assert rank["fsdp"]["held"][what] > 0
    for what in ("parameters", "gradients", "optimizer"):
        assert sum(rank["fsdp"]["held"][what] for rank in found) == found[0]["held"][what]


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_a_pipelines_gradient_is_the_whole_batchs(found, schedule):
    first, last = (rank[schedule] for rank in found)
    assert first["loss"] is None
    assert last["loss"] < 1e-5
    assert first["parameters"] + last["parameters"] == len(list(GPT.parameters())) - 3 * 16
    assert max(first["gradients"], last["gradients"]) < 1e-5


@pytest.mark.slow
def test_gpipe_holds_all_micro_batches_and_1f1b_as_many_as_there_are_stages_left(found):
    assert [rank["gpipe"]["in_flight"] for rank in found] == [4, 4]
    assert [rank["1f1b"]["in_flight"] for rank in found] == [2, 1]
    assert found[0]["1f1b"]["held_bytes"] < 0.7 * found[0]["gpipe"]["held_bytes"]


@pytest.mark.slow
def test_the_measured_bubble_is_not_below_the_formula_and_shrinks_with_more_micro_batches():
    few, many = (measure_bubble(3, m, forward_s=0.03) for m in (3, 9))
    assert bubble(3, 3) * 0.99 <= few < 1
    assert bubble(3, 9) * 0.99 <= many < few
