import io
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from scalelab.cli import main
from scalelab.core.errors import DataError
from scalelab.data import compose_pins, contact_sheet, to_png
from scalelab.serve.pins import parse_image
from scalelab.serve.state import READY, Child, StackState, take_lock


def test_a_png_holds_the_image_pixel_for_pixel():
    image = compose_pins(1).images[0]
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(to_png(image)))), image)


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 28, 168), np.uint8), np.zeros((28, 168)), np.zeros((28, 28), np.uint8)]
)
def test_what_is_no_image_makes_no_png(wrong):
    with pytest.raises(DataError, match="an image is"):
        to_png(wrong)


def test_a_sheet_shows_ink_dark_on_light_paper():
    sheet = np.array(Image.open(io.BytesIO(contact_sheet(compose_pins(5), columns=2))))
    assert np.median(sheet) > 180
    assert sheet.min() < 60


def test_show_writes_a_picture(tmp_path):
    out = tmp_path / "new" / "sample.png"
    result = CliRunner().invoke(main, ["data", "show", "--n", "3", "--out", str(out)])
    assert result.exit_code == 0, result.output
    with Image.open(out) as picture:
        assert picture.format == "PNG"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["data", "show", "--n", "1", "--out", str(tmp_path / "file" / "x.png")])
    assert result.exit_code == 2
    assert "give another --out" in result.output


def draw_image(*words):
    result = CliRunner().invoke(main, ["data", "image", *map(str, words)])
    return result.exit_code, result.output


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """No stack of the machine is found."""
    monkeypatch.setenv("SCALELAB_RUNS", str(tmp_path / "runs"))


@pytest.mark.parametrize(
    ("name", "kind"), [("image.png", "image/png"), ("new/image.bin", "application/octet-stream")]
)
def test_image_writes_what_the_service_reads_and_says_its_pin(runs, tmp_path, name, kind):
    sample = compose_pins(1, "test", 3)
    out = tmp_path / name
    code, said = draw_image("--seed", 3, "--out", out)
    assert code == 0, said
    assert parse_image(kind, out.read_bytes()) == sample.images[0].tobytes()
    assert "the true PIN is " + "".join(map(str, sample.labels[0])) in said
    assert f'--data-binary "@{out}" -H "Content-Type: {kind}"' in said
    assert "http://127.0.0.1:PORT/v1/pins" in said


def test_image_names_the_address_of_the_stack_that_runs(runs, tmp_path):
    folder = tmp_path / "runs" / "serve"
    with take_lock(folder):
        StackState(READY, Child.of(os.getpid()), "http://127.0.0.1:4711").write(folder)
        _, said = draw_image("--out", tmp_path / "image.png")
    assert '"http://127.0.0.1:4711/v1/pins?wait_s=5"' in said
    assert "PORT" not in said


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--out", "image.jpg"], "image.jpg"),
        (["--split", "tset"], "tset"),
        (["--seed", "-1"], "-1"),
    ],
)
def test_image_refuses_with_the_value_and_writes_nothing(runs, tmp_path, monkeypatch, words, named):
    monkeypatch.chdir(tmp_path)
    code, said = draw_image(*words)
    assert (code, named in said, "hint: " in said) == (2, True, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["verify", "list", "card"])
def test_commands_name_both_files(command):
    result = CliRunner().invoke(main, ["data", command])
    assert result.exit_code == 0, result.output
    assert "digits.npz" in result.output
    assert "pins.csv.xz" in result.output


def test_a_damaged_file_ends_verify_with_exit_code_2(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALELAB_DATASETS", str(tmp_path))
    result = CliRunner().invoke(main, ["data", "verify"])
    assert result.exit_code == 2
    assert "manifest.toml is missing" in result.output


def test_composing_needs_neither_torch_nor_pillow():
    code = "import sys, scalelab.data as d; d.compose_pins(1); print({'torch', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr
