"""Distillation: the loss of the paper, and a student that comes nearer to its teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scalelab.compress.shrink import DistillConfig, Lessons, distill, distillation_loss, prepare_lessons
from scalelab.core.errors import ConfigError, DataError, RunFailed
from scalelab.models import PinReader

DRAWS = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (3 * torch.randn(4, 6, 10, generator=DRAWS) for _ in range(2))
LABELS = torch.randint(0, 10, (4, 6), generator=DRAWS)


def test_without_the_teacher_the_loss_is_cross_entropy():
    loss = distillation_loss(STUDENT, TEACHER, LABELS, temperature=4, alpha=0)
    torch.testing.assert_close(loss, F.cross_entropy(STUDENT.flatten(0, 1), LABELS.flatten()))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_teachers_part_is_the_divergence_written_out_times_the_squared_temperature(temperature):
    p = (TEACHER.double() / temperature).softmax(-1).numpy()
    q = (STUDENT.double() / temperature).softmax(-1).numpy()
    expected = temperature**2 * (p * np.log(p / q)).sum(-1).mean()
    loss = distillation_loss(STUDENT, TEACHER, LABELS, temperature=temperature, alpha=1)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn_from_it():
    student = TEACHER.clone().requires_grad_()
    loss = distillation_loss(student, TEACHER, LABELS, temperature=3, alpha=1)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad.abs().max() < 1e-6


def test_at_high_temperature_the_gradient_is_that_of_matching_logits():
    """Hinton et al. 2015, section 2.1: T^2 KL tends to the squared difference of centred logits / 2K."""
    student = STUDENT.clone().double().requires_grad_()
    distillation_loss(student, TEACHER.double(), LABELS, temperature=1e3, alpha=1).backward()
    centred = [logits - logits.mean(-1, keepdim=True) for logits in (student.detach(), TEACHER.double())]
    torch.testing.assert_close(student.grad, (centred[0] - centred[1]) / 10 / 24, rtol=2e-2, atol=1e-4)


@pytest.fixture(scope="module")
def lessons():
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = PinReader(width=16, channels=(2, 3, 8))
    return prepare_lessons(teacher, 96, seed=1)


def student(seed=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PinReader(width=8, channels=(2, 2, 6))


def test_lessons_hold_what_the_teacher_says_in_evaluation(lessons):
    assert len(lessons) == 96
    assert lessons.logits.shape == (96, 6, 10)
    teacher = student().train()
    made = prepare_lessons(teacher, 3, seed=1)
    np.testing.assert_array_equal(made.images, prepare_lessons(teacher, 3, seed=1).images)
    assert teacher.training
    with torch.no_grad():
        expected = teacher.eval()(torch.from_numpy(made.images))
    np.testing.assert_allclose(made.logits, expected, atol=1e-6)


def test_a_student_comes_nearer_to_its_teacher_and_the_same_seed_to_the_same_weights(lessons):
    config = DistillConfig(steps=40, batch_size=32, alpha=1)
    first, second = student(), student()
    state = torch.random.get_rng_state()
    seen = []
    report = distill(first, lessons, config, lambda *step: seen.append(step))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert seen[-1] == (40, 40, report.losses[-1])
    assert np.mean(report.losses[-5:]) < 0.5 * np.mean(report.losses[:5])
    assert not first.training
    assert distill(second, lessons, config).losses == report.losses


def test_every_image_is_seen_once_a_pass():
    """The labels stand for the images: a student of one parameter whose gradient counts them."""

    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(10))
            self.seen = []

        def forward(self, images):
            self.seen += images[:, 0, 0].tolist()
            return self.weight.expand(len(images), 6, 10)

    images = np.zeros((12, 28, 168), np.uint8)
    images[:, 0, 0] = range(12)
    counting = Counting()
    lessons = Lessons(images, np.zeros((12, 6), np.int64), np.zeros((12, 6, 10), np.float32))
    distill(counting, lessons, DistillConfig(steps=6, batch_size=4))
    assert sorted(counting.seen[:12]) == sorted(counting.seen[12:]) == list(range(12))
    assert counting.seen[:12] != counting.seen[12:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"temperature": 0}, "temperature is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"seed": -1}, "seed of -1"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        DistillConfig(**change)


def test_too_few_lessons_a_broken_teacher_and_a_broken_student_are_named(lessons):
    with pytest.raises(DataError, match="96 lessons are less than a batch of 128"):
        distill(student(), lessons, DistillConfig())
    broken = student()
    torch.nn.init.constant_(broken.head[7].bias, float("nan"))
    with pytest.raises(RunFailed, match="the teacher's logits hold NaN"):
        prepare_lessons(broken, 2)
    with pytest.raises(RunFailed, match="the loss became nan at step 1"):
        distill(broken, lessons, DistillConfig(batch_size=32))
