"""Lab 10: the effects that it is about."""

from __future__ import annotations

import pytest
from labs_trials import LabUnderTest

pytest.importorskip("jupytext")
torch = pytest.importorskip("torch")
LAB = LabUnderTest("10")


def test_masks_choose_what_the_package_chooses(given):
    from scalelab.compress.shrink import magnitude_masks

    model = given.tiny_reader()
    found = given.magnitude_masks(dict(model.named_parameters()), 0.7)
    wanted = magnitude_masks(model, 0.7)
    assert found.keys() == wanted.keys()
    assert sum(int((~mask).sum()) for mask in found.values()) == sum(
        int((~mask).sum()) for mask in wanted.values()
    )
    assert all(torch.equal(found[name], wanted[name]) for name in wanted), "no two weights are equal here"


def test_the_loss_is_the_package_s_where_every_digit_has_a_label(given):
    from scalelab.compress.shrink import distillation_loss

    torch.manual_seed(0)
    student, teacher, labels = torch.randn(3, 6, 10), torch.randn(3, 6, 10), torch.randint(10, (3, 6))
    wanted = distillation_loss(student, teacher, labels, temperature=3.0, alpha=0.4)
    torch.testing.assert_close(given.distillation_loss(student, teacher, labels, 3.0, 0.4), wanted)


def test_a_slim_reader_gives_what_the_masked_one_gives(given):
    model = given.tiny_reader(seed=3).eval()
    images, _ = given.photos(5, seed=1)
    conv, norm = model.stem[6], model.stem[7]
    with torch.no_grad():
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        small = torch.nn.Sequential(*model.stem, *model.head)
        small[6], small[7], small[10] = given.keep_channels(conv, norm, model.head[1], [0, 2, 3])
        norm.weight[1], norm.bias[1] = 0.0, 0.0
        wanted = model(images).flatten(1)
        torch.testing.assert_close(small(images.unsqueeze(1) / 255), wanted, rtol=1e-4, atol=1e-5)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


def test_the_broken_tuning_loses_its_zeros_and_the_test_says_so(given):
    model = given.tiny_reader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    given.common_tuning(model, optimizer, given.every_second(model), [given.photos(4, seed=2)])
    assert given.share_of_zeros(model) < 0.45
    assert not given.keeps_the_zeros(given.common_tuning)
    assert given.keeps_the_zeros(given.tune_pruned)


def test_the_readme_has_the_install_line_and_the_measured_margin():
    text = (LAB.folders.lab / "README.md").read_text(encoding="utf-8")
    assert "colab-badge.svg" in text
    assert 'pip install "scalelab[lab]"' in text
    assert "ten of\nten pass" in text
