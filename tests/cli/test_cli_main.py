"""What the command line makes of errors, of Ctrl-C and of warnings, whichever command they come from."""

import errno
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import scalelab.cli
from scalelab.core.errors import DataError
from scalelab.core.records import TornRecordWarning


@pytest.fixture
def invoke(monkeypatch):
    """Return a function that runs `scalelab doctor` with a body of our own."""

    def run(body):
        command = click.Command("doctor", callback=body)
        monkeypatch.setattr(scalelab.cli.Road, "get_command", lambda *_: command)
        return CliRunner().invoke(scalelab.cli.main, ["doctor"])

    return run


def raising(error):
    def body():
        raise error

    return body


def test_an_error_of_ours_is_two_lines_and_its_exit_code(invoke):
    result = invoke(raising(DataError("x.npz is torn", hint="copy it again")))
    assert (result.exit_code, result.output) == (2, "error: x.npz is torn\nhint: copy it again\n")


def test_ctrl_c_is_one_sentence_and_130(invoke):
    result = invoke(raising(KeyboardInterrupt()))
    assert (result.exit_code, result.output.strip()) == (130, "interrupted; nothing is left running")


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_a_file_system_that_refuses_is_named_without_a_traceback(invoke, number):
    result = invoke(raising(OSError(number, "refused", "/some/where")))
    assert result.exit_code == 2
    assert "error: /some/where: refused\nhint: " in result.output


def test_a_mistake_of_ours_keeps_its_traceback(invoke):
    assert isinstance(invoke(raising(FileNotFoundError(2, "no", "x"))).exception, FileNotFoundError)


@pytest.mark.filterwarnings("default")
def test_a_warning_of_ours_is_one_line(invoke):
    def body():
        warnings.warn("records.jsonl ends in half a line", TornRecordWarning, stacklevel=1)
        warnings.warn("of another", UserWarning, stacklevel=1)

    ours, other = invoke(body).output.splitlines()[:2]
    assert ours == "warning: records.jsonl ends in half a line"
    assert "UserWarning: of another" in other


TRAINING = """
import scalelab.train.loop as loop
from scalelab.cli import main
whole = loop.train_reader
def train_reader(config, on_step):
    print("training", flush=True)
    return whole(config, on_step)
loop.train_reader = train_reader
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_ctrl_c_in_a_training_ends_it_without_a_traceback_and_writes_nothing(tmp_path):
    out = tmp_path / "reader.safetensors"
    child = subprocess.Popen(
        [sys.executable, "-c", TRAINING, "train", "--steps", "100000", "--width", "8", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "training\n"
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130, said
    assert "nothing is left running" in said
    assert "Traceback" not in said
    assert not out.exists()


def groups():
    """Return the words of every command that has commands below it."""
    commands = {name: scalelab.cli.main.get_command(None, name) for name in scalelab.cli.COMMANDS}
    return [(), *[(name,) for name, command in commands.items() if isinstance(command, click.Group)]]


@pytest.mark.parametrize("words", groups(), ids=lambda words: " ".join(words) or "scalelab")
def test_no_summary_of_a_command_is_cut_at_80_columns(words):
    shown = CliRunner().invoke(scalelab.cli.main, [*words, "--help"], env={"COLUMNS": "80"}).output
    listed = shown.partition("Commands:")[2].splitlines()
    assert listed
    assert [line for line in listed if line.endswith("...")] == []


def test_every_file_of_a_bench_command_is_named_by_the_group():
    files = Path(scalelab.cli.__file__).parent.glob("bench_*.py")
    names = {path.stem.removeprefix("bench_") for path in files}
    assert names
    assert names == set(scalelab.cli.main.get_command(None, "bench").names)


def test_a_mistyped_command_of_bench_is_an_error_with_a_guess():
    result = CliRunner().invoke(scalelab.cli.main, ["bench", "reprot"])
    assert (result.exit_code, "did you mean 'report'?" in result.output) == (2, True)


def test_the_help_of_the_road_imports_no_command_of_bench():
    code = "import sys; from scalelab.cli import main; main(['--help'], standalone_mode=False); "
    code += "print([name for name in sys.modules if name.startswith('scalelab.cli.bench')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "['scalelab.cli.bench']"
