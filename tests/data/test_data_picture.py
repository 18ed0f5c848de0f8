import io
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from scalelab.cli import main
from scalelab.core.errors import DataError
from scalelab.data import compose_pins, contact_sheet, to_png


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
