from itertools import pairwise

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from scalelab.cli import main
from scalelab.core.errors import ConfigError, RunFailed
from scalelab.data import compose_pins
from scalelab.models import load_reader
from scalelab.train import TrainConfig, predict, train_reader
from scalelab.train.loop import learning_rate_at

TINY = {"steps": 3, "batch_size": 4, "width": 8, "val_pins": 4}


@pytest.mark.slow
def test_a_short_training_lowers_the_loss_and_reads_better_than_chance():
    model, report = train_reader(
        TrainConfig(steps=60, batch_size=64, width=128, val_pins=100, learning_rate=5e-3, dropout=0)
    )
    assert np.mean(report.losses[-5:]) < 0.9 * np.mean(report.losses[:5])
    assert report.accuracy.digit > 0.2
    assert report.accuracy.n_pins == 100
    assert not model.training


def test_the_same_config_gives_the_same_weights():
    (a, _), (b, _) = (train_reader(TrainConfig(**TINY)) for _ in range(2))
    torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=0, atol=0)


def test_another_seed_gives_other_weights_and_other_images():
    losses = [train_reader(TrainConfig(**TINY, seed=seed))[1].losses for seed in (0, 1)]
    assert losses[0] != losses[1]


def test_training_leaves_the_random_state_of_the_caller_alone():
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    train_reader(TrainConfig(**TINY))
    torch.testing.assert_close(torch.rand(3), wanted)


def test_every_step_is_reported_once():
    seen = []
    _, report = train_reader(TrainConfig(**TINY), lambda *step: seen.append(step))
    assert seen == [(1, 3, report.losses[0]), (2, 3, report.losses[1]), (3, 3, report.losses[2])]


def test_the_report_counts_time_and_memory():
    _, report = train_reader(TrainConfig(**TINY))
    assert report.steps == len(report.losses) == 3
    assert report.seconds > 0
    assert report.peak_memory_bytes > 50e6  # torch alone is larger


def test_a_loss_that_is_no_number_ends_the_training_with_the_step(monkeypatch):
    monkeypatch.setattr("scalelab.train.loop.F.cross_entropy", lambda *_, **__: torch.tensor(float("nan")))
    with pytest.raises(RunFailed, match="nan at step 1 of 3") as caught:
        train_reader(TrainConfig(**TINY))
    assert "lower the learning rate" in caught.value.hint


def test_too_high_a_learning_rate_is_caught_too():
    with pytest.raises(RunFailed, match="at step"):
        train_reader(TrainConfig(**{**TINY, "steps": 60}, learning_rate=1e30))


def test_the_learning_rate_rises_then_falls_to_zero():
    config = TrainConfig(steps=100)
    rates = [learning_rate_at(step, config) for step in range(1, 101)]
    top = rates.index(max(rates))
    assert max(rates) == config.learning_rate
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a > b for a, b in pairwise(rates[top:]))
    assert rates[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_trainings_have_a_learning_rate(steps):
    assert learning_rate_at(1, TrainConfig(steps=steps)) > 0


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"batch_size": -1}, {"width": 0}, {"val_pins": 0}, {"learning_rate": 0.0}, {"seed": -1},
     {"learning_rate": float("nan")}],
    ids=str,
)  # fmt: skip
def test_a_recipe_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError, match=str(next(iter(wrong.values())))):
        TrainConfig(**wrong)


def test_predicting_in_parts_is_predicting_at_once():
    model, _ = train_reader(TrainConfig(**TINY))
    images = compose_pins(7, "val").images
    model.train()
    in_parts = predict(model, images, batch_size=3)
    np.testing.assert_allclose(in_parts, predict(model, images), rtol=1e-5, atol=1e-6)
    assert model.training


def test_the_command_writes_a_model_and_says_how_good_it_is(tmp_path):
    path = tmp_path / "new" / "reader.safetensors"
    result = _train("--out", path)
    assert result.exit_code == 0, result.output
    assert "of 10 PIN codes" in result.output
    assert load_reader(path).config["width"] == 8


def test_the_command_does_not_replace_a_file_unless_told(tmp_path):
    path = tmp_path / "reader.safetensors"
    path.write_text("precious")
    refused = _train("--out", path)
    assert refused.exit_code == 2
    assert "--force" in refused.output
    assert path.read_text() == "precious"
    assert _train("--out", path, "--force").exit_code == 0
    assert load_reader(path).config["width"] == 8


def _train(*more):
    sizes = ["--steps", "2", "--batch-size", "4", "--width", "8", "--test-pins", "10"]
    return CliRunner().invoke(main, ["train", *sizes, *map(str, more)])
