"""Lab 08: the effects that it is about."""

from __future__ import annotations

import pytest
from labs_trials import LabUnderTest

pytest.importorskip("jupytext")
torch = pytest.importorskip("torch")
LAB = LabUnderTest("08")


@pytest.mark.parametrize("task", ["forward", "backward", "drill"])
def test_a_bad_name_in_a_rank_is_a_crash_with_its_line(task, names):
    source = LAB.answers[task].right[0]
    last = source.rindex("return")
    result = LAB.try_answer(task, source[:last] + "return no_such_name" + "  # " + source[last:], names)
    assert result.outcome.value in {"crashed", "failed"}
    if task != "drill":
        assert "no_such_name" in result.message


def test_every_code_has_a_meaning_and_every_meaning_is_used(names):
    text = (LAB.folders.lab / "checks.py").read_text(encoding="utf-8")
    meanings = LAB.checks["forward"].judge.__globals__["MEANINGS"]
    assert len(meanings) > 50
    for code in meanings:
        uses = (
            text.count(f'"{code}"')
            + text.count(code.replace("-", "_") + "=")
            + text.count(f'"{code.replace("-", "_")}"')
        )
        assert uses >= 2, code


def test_the_split_pair_has_the_gradients_of_the_whole(given):
    torch.manual_seed(0)
    x, gradient, layers = torch.randn(3, 8), torch.randn(3, 8), given.two_layers()
    leaf = x.clone().requires_grad_()
    given.whole(leaf, layers).backward(gradient)

    def act(wire):
        mine = x.clone().requires_grad_()
        up, up_bias, down = given.cut_dense(layers, wire.rank, wire.world_size)
        hidden = torch.nn.functional.gelu(given.enter(mine, wire) @ up.T + up_bias)
        out = given.leave(hidden @ down.T, wire) + layers[3]
        out.backward(gradient)
        return mine.grad, wire.traffic.launches

    for found, exchanges in given.on_ranks(4, act):
        torch.testing.assert_close(found, leaf.grad, rtol=1e-5, atol=1e-6)
        assert exchanges == 2


@pytest.mark.parametrize("count", [4, 8, 16])
def test_on_paper_the_schedules_wait_as_long_as_the_formula_says(count, given):
    for make in (given.gpipe, given.one_f_one_b):
        timeline = given.pipeline.play_on_paper([make(stage, 4, count) for stage in range(4)])
        assert timeline.waiting == pytest.approx(given.bubble(4, count))


def test_the_broken_block_drifts_and_the_mended_one_does_not(given):
    torch.manual_seed(0)
    rows, layers = torch.randn(4, 8), given.two_layers()
    for branch, share, agrees in (
        (given.common_branch, 0.0, True),
        (given.common_branch, 0.1, False),
        (given.split_branch, 0.1, True),
    ):
        a, b = given.on_ranks(2, lambda wire, b=branch, s=share: b(rows, layers, s, 7, wire))
        assert torch.equal(a, b) == agrees
    assert not given.keeps_the_whole(given.common_branch)
    assert given.keeps_the_whole(given.split_branch)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_measured_bubble_follows_the_formula(names):
    pytest.importorskip("plotly")
    LAB.run_cell("def run_pipeline", names)
    found = names["run_pipeline"]()
    assert found.verdict.value != "FAIL", found.detail
    for row in found.table:
        assert row["lowest"] > row["(p-1)/(m+p-1), %"] - 3, "less waiting than the formula allows"
    assert found.alt


def test_the_readme_has_the_install_line_and_the_measured_margin():
    text = (LAB.folders.lab / "README.md").read_text(encoding="utf-8")
    assert "colab-badge.svg" in text
    assert 'pip install "scalelab[lab]"' in text
    assert "1F1B" in text
