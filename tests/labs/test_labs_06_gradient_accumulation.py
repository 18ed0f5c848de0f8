"""Lab 06: the effect that it is about."""

from __future__ import annotations

import pytest
from labs_trials import LabUnderTest

pytest.importorskip("jupytext")
torch = pytest.importorskip("torch")
LAB = LabUnderTest("06")


def test_weights_in_a_tensor_of_any_type_are_taken(names):
    for dtype in (torch.float32, torch.float64):
        source = LAB.answers["weights"].right[1].replace(".double()", f".to({dtype})")
        assert LAB.try_answer("weights", source, names).is_passed


@pytest.mark.parametrize("code", LAB.answers["accumulate"].wrong)
def test_a_step_is_not_blamed_for_what_accumulate_does(code, names):
    accumulate, step = LAB.answers["accumulate"].wrong[code], LAB.answers["step"]
    result = LAB.try_answer("step", accumulate + step.right[0], names)
    assert result.is_passed or result.code == "accumulate-first", str(result)
    for slip in ("not-clipped", "clips-values", "cleared-before-step"):
        result = LAB.try_answer("step", accumulate + step.wrong[slip], names)
        assert result.code in ("accumulate-first", slip), str(result)


def test_a_tensor_in_another_shape_is_the_same_bytes(names):
    right = LAB.answers["bytes"].right[0]
    by_object = right.replace("each.data_ptr(): each.nbytes", "id(each): each.nbytes")
    assert by_object != right
    assert LAB.try_answer("bytes", by_object, names).code == "counts-twice"


@pytest.mark.parametrize("sizes", [[32, 32, 6], [69, 1], [10] * 7], ids=str)
def test_the_pieces_give_the_gradient_of_the_whole(sizes, given):
    batch = given.photos(70, seed=1)
    model = given.tiny_reader()
    given.accumulate(model, [batch])
    wanted = given.flat_gradient(model)
    given.accumulate(model, given.cut(*batch, sizes))
    assert (given.flat_gradient(model) - wanted).norm() < 1e-5 * wanted.norm()


def test_the_broken_epoch_learns_nothing_from_its_last_photos(given):
    week = given.cut(*given.photos(65, seed=3), [10] * 6 + [5])
    steps, after_all = given.weights_after(given.common_epoch, week, 3)
    _, without_last = given.weights_after(given.common_epoch, week[:6], 3)
    assert steps == 2
    assert torch.equal(after_all, without_last)
    assert not given.counts_every_photo(given.common_epoch)
    assert given.counts_every_photo(given.train_epoch)


@pytest.mark.slow
def test_divided_by_steps_is_far_off_and_by_targets_is_not(names):
    pytest.importorskip("plotly")
    LAB.run_cell("def measure_last", names)
    LAB.run_cell("def run_cuts", names)
    found = names["run_cuts"]()
    assert found.verdict.value == "PASS", found.detail
    assert 25 < found.value < 90
    assert max(row["by targets, %"] for row in found.table) < 0.001
    assert found.table[-1]["by steps, %"] < 0.001, "32 + 32 + 32 is not ragged: both rules agree"
    assert found.alt


def test_the_readme_has_the_install_line_and_the_measured_margin():
    text = (LAB.folders.lab / "README.md").read_text(encoding="utf-8")
    assert "colab-badge.svg" in text
    assert 'pip install "scalelab[lab]"' in text
    assert "divided by steps" in text
