import pytest

from scalelab.bench import load_suite
from scalelab.core.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    """Write a suite beside an empty notebook; return its path."""
    (tmp_path / "a.ipynb").write_text("{}")

    def write(text):
        path = tmp_path / "suite.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


POINT = '[[point]]\nname = "{name}"\nnotebook = "a.ipynb"\n'


def test_a_matrix_becomes_one_point_for_each_combination(write):
    suite = load_suite(write(POINT.format(name="p") + "[point.matrix]\nbatch = [1, 8]\nthreads = [1, 2]\n"))
    assert [dict(point.parameters) for point in suite.points] == [
        {"batch": 1, "threads": 1},
        {"batch": 1, "threads": 2},
        {"batch": 8, "threads": 1},
        {"batch": 8, "threads": 2},
    ]
    assert suite.points[1].name == "p[batch=1,threads=2]"


def test_a_tier_overrides_only_what_it_names(write):
    text = 'tiers = ["ci"]\n' + POINT.format(name="p")
    text += "[point.parameters]\nsteps = 100\nseed = 3\n[point.tiers.ci]\nsteps = 2\n"
    path = write(text)
    assert load_suite(path, tier="ci").points[0].parameters == {"steps": 2, "seed": 3}
    assert load_suite(path).points[0].parameters == {"steps": 100, "seed": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no points"),
        ("points = 1", "unknown key 'points'"),
        ("[[point]\n", "is not TOML"),
        ('name = "../x"\n' + POINT.format(name="p"), r"name = '\.\./x'"),
        ('tiers = "ci"\n' + POINT.format(name="p"), "tiers = 'ci'"),
        (POINT.format(name="p").replace("[[point]]", "[point]"), "point = {"),
        ("point = [1]", r"point = \[1\]"),
        ("[[point]]\nname = 5\n", "name = 5"),
        ('[[point]]\nname = "p"\nnotebook = "."\n', "there is no notebook"),
        (POINT.format(name="p") + "timeout_s = 0\n", "timeout_s = 0"),
        (POINT.format(name="p") + "timeout_s = nan\n", "timeout_s = nan"),
        (POINT.format(name="p") + 'memory_mib = "3"\n', "memory_mib = '3'"),
        (POINT.format(name="p") + 'needs = "q"\n', "needs = 'q'"),
        (POINT.format(name="p") + "produces = [1]\n", r"produces = \[1\]"),
        (POINT.format(name="p") + "parameters = 3\n", "parameters = 3"),
        (POINT.format(name="p") + "matrix = 3\n", "matrix = 3"),
        ('tiers = ["ci"]\n' + POINT.format(name="p") + "[point.tiers]\nci = 3\n", "tiers = {'ci': 3}"),
        (POINT.format(name="p") + "timeout = 3\n", "unknown key 'timeout'"),
        ('[[point]]\nname = "p"\nnotebook = "b.ipynb"\n', "there is no notebook"),
        ('[[point]]\nname = "p"\n', "lacks its name or its notebook"),
        (POINT.format(name="p") * 2, "two points are called 'p'"),
        (
            POINT.format(name="p") + 'needs = ["q"]\n' + POINT.format(name="q"),
            "needs 'q', which does not stand",
        ),
        (POINT.format(name="p") + "[point.matrix]\nbatch = []\n", "no values for 'batch'"),
        (POINT.format(name="p") + "[point.tiers.ci]\nsteps = 2\n", "tier 'ci' is not declared"),
    ],
)
def test_a_wrong_suite_is_refused_with_its_value(write, text, message):
    with pytest.raises(ConfigError, match=message):
        load_suite(write(text))


def test_an_unknown_tier_or_point_is_answered_with_the_nearest(write):
    path = write('tiers = ["ci", "laptop"]\n' + POINT.format(name="prototype"))
    with pytest.raises(ConfigError, match="no tier 'latop', it has ci, laptop") as error:
        load_suite(path, tier="latop")
    assert "did you mean 'laptop'?" in str(error.value)
    with pytest.raises(ConfigError) as error:
        load_suite(path).point("protoype")
    assert "did you mean 'prototype'?" in str(error.value)


def test_a_missing_suite_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no suite .*gone\.toml"):
        load_suite(tmp_path / "gone.toml")


def test_a_folder_is_no_suite(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_suite(tmp_path)
