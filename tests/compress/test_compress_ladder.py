"""The ladder: pruned, distilled, exported, int8; smaller at each rung, and reading what its teacher reads."""

from __future__ import annotations

import pytest
import torch

from scalelab.compress import Recipe, onnx_session, torch_session
from scalelab.compress.shrink import DistillConfig, LadderConfig, Lessons, climb_ladder, prepare_lessons
from scalelab.compress.shrink.ladder import each_seed
from scalelab.core.errors import ConfigError, DataError
from scalelab.models import PinReader, accuracy

TINY = LadderConfig(
    width=64, channels=(2, 4, 4), distillation=DistillConfig(steps=60, batch_size=32), calibration_images=32
)


@pytest.mark.slow
def test_every_rung_is_smaller_and_the_last_one_still_reads_what_its_teacher_reads(made, tmp_path):
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    base = prepare_lessons(made.model, 64, seed=0)
    lessons = Lessons(made.images, base.labels, base.logits)
    assert (base.images == made.images).all(), "the teacher's own images, which it reads well"
    ladder = climb_ladder(made.model, lessons, tmp_path, TINY)

    name = "student-2-4-4-64-seed0"
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}{end}" for end in (".safetensors", ".onnx", "-int8.onnx")
    }
    assert made.weights_path.stat().st_size > 10 * ladder.fp32.bytes
    assert ladder.fp32.bytes > ladder.int8.bytes
    assert ladder.int8.quantized_layers == 3, "the dense ones"
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.model.state_dict().items())

    eager = torch_session(ladder.weights_path).predict(made.images)
    int8 = onnx_session(ladder.int8.path).predict(made.images)
    # 60 steps: far from the teacher's 0.9, and farther from the 0.1 of a guess
    assert accuracy(int8, lessons.labels).digit > 0.5
    assert (eager.argmax(-1) == int8.argmax(-1)).mean() > 0.95


def test_seeds_differ_in_nothing_else():
    configs = each_seed(TINY, range(3))
    assert [config.distillation.seed for config in configs] == [0, 1, 2]
    assert each_seed(configs[2], [0]) == [TINY]
    assert LadderConfig().recipe == Recipe(layers="dense")
    for seeds in ([], [1, 1]):
        with pytest.raises(ConfigError, match="are no spread"):
            each_seed(TINY, seeds)


def test_a_ladder_that_cannot_be_climbed_leaves_no_file(tmp_path):
    teacher = PinReader(width=8, channels=(2, 2, 2))
    lessons = prepare_lessons(teacher, 40)
    with pytest.raises(DataError, match="256 calibration images from 40 lessons"):
        climb_ladder(teacher, lessons, tmp_path)
    with pytest.raises(ConfigError, match="cannot stay"):
        climb_ladder(teacher, lessons, tmp_path, TINY)
    assert not list(tmp_path.iterdir())
