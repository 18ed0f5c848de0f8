"""The instructors' page: its commands exist with their options, its files are written, its rubric is read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from gradebook_classes import ANSWER, graded, write_results

from scalelab.cli import main
from scalelab.gradebook import write_gradebook
from scalelab.gradebook.rubric import read_rubric

PAGE = Path(__file__).parents[2] / "INSTRUCTORS.md"
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
COMMANDS = [
    line
    for _, block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("scalelab ")
]
OUTPUT = PAGE.read_text(encoding="utf-8").partition("## What comes out")[2].partition("## Marking")[0]
FILES = re.findall(r"^\| `([\w./]+)`", OUTPUT, re.MULTILINE)


def test_the_page_has_commands_and_files():
    assert len(COMMANDS) >= 5
    assert "gradebook.csv" in FILES


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_exists_with_its_options(line):
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command is not None, name
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    options = [word for word in words if word.startswith("--")]
    assert len(words) - 2 * len(options) == len(arguments)  # each option here takes a value


def test_every_file_of_the_page_is_written(tmp_path):
    rubric = tmp_path / "rubric.toml"
    rubric.write_text(next(block for kind, block in BLOCKS if kind == "toml"))
    assert read_rubric(rubric)["residual"].points == 3
    out = write_results(tmp_path / "grades", [graded("STUDENT", written={"residual": ANSWER})])
    write_gradebook(out, rubric=rubric)
    written = {name for name in FILES if (out / name).exists()}
    assert set(FILES) - written <= {"marks.jsonl", "course.key"}  # of `gradebook marks` and of `grade`
