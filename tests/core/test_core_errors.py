from __future__ import annotations

import sys

import pytest

from scalelab.core import errors, lazy
from scalelab.core.errors import did_you_mean


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ScalelabError", 1),
        ("UserError", 2),
        ("ConfigError", 2),
        ("DataError", 2),
        ("MissingDependency", 2),
        ("ResourceError", 2),
        ("LabFileError", 3),
        ("RunFailed", 4),
    ],
)
def test_every_error_has_its_exit_code(name, code):
    kind = getattr(errors, name)
    assert kind("what").exit_code == code
    assert issubclass(kind, errors.ScalelabError)


def test_what_a_user_can_mend_is_a_value_error_and_nothing_else_is():
    mendable = {
        kind.__name__
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ValueError)
    }
    assert mendable == {"UserError", "ConfigError", "DataError", "MissingDependency", "ResourceError"}


def test_the_text_of_an_error_is_the_problem_and_the_next_step():
    assert str(errors.ConfigError("rate is 0", hint="give more")) == "rate is 0\n  hint: give more"
    assert str(errors.ConfigError("rate is 0")) == "rate is 0"


def test_a_slip_of_the_pen_gets_the_nearest_name():
    assert did_you_mean("trian", ["train", "serve"]) == "did you mean 'train'?"


def test_a_word_from_elsewhere_gets_the_whole_list_in_order():
    assert did_you_mean("xyz", {"train": 1, "serve": 2}) == "known: serve, train"


def test_an_installed_module_is_returned():
    assert lazy.require("json.decoder", extra="serve") is sys.modules["json.decoder"]
    assert lazy.is_installed("json")
    assert not lazy.is_installed("no_such_package_of_anyone")


@pytest.mark.parametrize("module", ["no_such_package_of_anyone", "no_such_package_of_anyone.inner"])
def test_a_package_that_is_missing_comes_with_the_command_that_brings_it(module):
    with pytest.raises(
        errors.MissingDependency, match="'no_such_package_of_anyone' is not installed"
    ) as caught:
        lazy.require(module, extra="serve")
    assert caught.value.hint == lazy.how_to_install(["serve"])


def test_what_child_processes_need_is_looked_for_without_an_import():
    lazy.need_installed(["json"], extra="serve")
    with pytest.raises(errors.MissingDependency, match="'no_such_package_of_anyone' is not installed"):
        lazy.need_installed(["json", "no_such_package_of_anyone"], extra="serve")


def test_a_package_that_misses_one_of_its_own_is_not_blamed_itself(tmp_path, monkeypatch):
    (tmp_path / "half_installed_package.py").write_text("import half_of_another_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="half_of_another_package") as caught:
        lazy.require("half_installed_package", extra="serve")
    assert not isinstance(caught.value, errors.MissingDependency)


def test_a_package_whose_name_begins_like_the_missing_one_is_not_blamed(tmp_path, monkeypatch):
    (tmp_path / "half_installed_too.py").write_text("import half")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError) as caught:
        lazy.require("half_installed_too", extra="serve")
    assert not isinstance(caught.value, errors.MissingDependency)


def test_a_public_name_is_loaded_from_its_home_at_the_first_use():
    load = lazy.export("scalelab.core", {"errors": ["UserError"], "nowhere": ["Ghost"]})
    assert load("UserError") is errors.UserError
    with pytest.raises(AttributeError, match=r"'scalelab\.core' has no attribute 'Other'"):
        load("Other")
