"""Rules over documents: lines, the first broken rule, what is told."""

from __future__ import annotations

import pytest

from scalelab.grading.documents import Rules, instructions, settings
from scalelab.grading.expectations import ExpectationFailed
from scalelab.grading.meanings import Meanings


@pytest.fixture
def rules(tmp_path):
    (tmp_path / "meanings.toml").write_text('loose = "give a version"\nopen = "close the door"\n')
    (tmp_path / "rules.toml").write_text(
        "[file]\nloose.wants = '^FROM \\S+:\\d'\nopen.refuses = '^EXPOSE .*'\n", encoding="utf-8"
    )
    checks = str(tmp_path / "checks.py")
    return Rules(checks, Meanings(checks))


def test_a_document_that_keeps_all_rules_passes(rules):
    rules.check("file", ["FROM python:3", "CMD x"])


@pytest.mark.parametrize(
    ("lines", "code", "told"),
    [
        (["FROM python"], "loose", "something is missing"),
        (["FROM python", "EXPOSE 80"], "loose", "something is missing"),
        (["FROM python:3", "EXPOSE 80"], "open", "'EXPOSE 80'"),
    ],
)
def test_the_first_broken_rule_is_told_with_its_line_and_meaning(rules, lines, code, told):
    with pytest.raises(ExpectationFailed, match=told) as failed:
        rules.check("file", lines)
    assert failed.value.code == code
    assert failed.value.meaning


def test_a_dockerfile_becomes_one_instruction_a_line():
    text = "# a comment\nfrom  python:3\n\nRUN pip install \\\n    numpy \\\n    redis\nCMD"
    assert instructions(text) == ["FROM python:3", "RUN pip install      numpy      redis", "CMD"]


def test_settings_are_sorted_lines_with_values_as_json():
    document = {"b": {"d": 2, "c": ["x", 1]}, "a": "text", "e": {}}
    assert settings(document) == ['a = "text"', 'b.c = ["x", 1]', "b.d = 2", "e = {}"]


def test_what_is_no_json_is_shown_as_text():
    assert settings({"a": {1}}) == ['a = "{1}"']
