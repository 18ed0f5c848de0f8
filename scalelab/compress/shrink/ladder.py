"""The whole ladder: prune a trained reader, let it be taught by what it was, export it, and make it int8.

Each rung pays for the next: the pruned reader starts from the teacher's own weights, so that it learns in a
fraction of the steps. What is left is a small dense network; its stem is rewritten for the kernels that run
it, and its dense layers become integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scalelab.compress.export import ExportReport, export_onnx
from scalelab.compress.quantize import QuantizeReport, Recipe, quantize_static
from scalelab.compress.shrink.channels import prune_channels
from scalelab.compress.shrink.distillation import DistillConfig, DistillReport, Lessons, OnStep, distill
from scalelab.compress.shrink.stem import BlockedReader
from scalelab.core.errors import ConfigError, DataError
from scalelab.models import PinReader, save_reader


@dataclass(frozen=True)
class LadderConfig:
    """How small, and how it is taught. The default is what measured best here."""

    width: int = 256
    """units that stay in each dense layer"""
    channels: tuple[int, int, int] = (4, 8, 96)
    """channels that stay of each convolution; the first two decide the time of a batch"""
    distillation: DistillConfig = field(default_factory=DistillConfig)
    recipe: Recipe = field(default_factory=lambda: Recipe(layers="dense"))
    calibration_images: int = 256
    """lessons that set the ranges of int8"""


@dataclass(frozen=True)
class Ladder:
    """The files of one student, rung by rung."""

    weights_path: Path
    """``.safetensors``, for torch"""
    training: DistillReport
    fp32: ExportReport
    int8: QuantizeReport


def climb_ladder(
    teacher: PinReader,
    lessons: Lessons,
    folder: Path | str,
    config: LadderConfig | None = None,
    on_step: OnStep | None = None,
) -> Ladder:
    """Write a pruned, distilled student of `teacher` as weights, as ONNX and as int8 ONNX.

    The files are named by the student's sizes and seed; the teacher is left as it was.

    Args:
        lessons: from `prepare_lessons`; the same for every seed.

    Raises:
        ConfigError: a student larger than its teacher, or a folder that cannot be made.
        DataError: fewer lessons than a batch or than the calibration needs.
        RunFailed: the training or the export went wrong; a file is there only if it is whole.
    """
    config = config or LadderConfig()
    if not 1 <= config.calibration_images <= len(lessons):
        raise DataError(
            f"{config.calibration_images} calibration images from {len(lessons)} lessons",
            hint="prepare more lessons, or calibrate on fewer",
        )
    student = prune_channels(teacher, config.width, config.channels)
    training = distill(student, lessons, config.distillation, on_step)
    sizes = "-".join(map(str, (*config.channels, config.width)))
    stem = Path(folder) / f"student-{sizes}-seed{config.distillation.seed}"
    weights_path = save_reader(student, stem.with_suffix(".safetensors"))
    fp32 = export_onnx(BlockedReader(student), stem.with_suffix(".onnx"))
    int8 = quantize_static(
        fp32.path,
        stem.with_name(f"{stem.name}-int8.onnx"),
        lessons.images[: config.calibration_images],
        config.recipe,
    )
    return Ladder(weights_path, training, fp32, int8)


def each_seed(config: LadderConfig, seeds: Sequence[int]) -> list[LadderConfig]:
    """Return the same ladder for each seed.

    Raises:
        ConfigError: no seeds, or one twice: the same seed gives the same student.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds {tuple(seeds)} are no spread", hint="give different ones, as range(5)")
    return [replace(config, distillation=replace(config.distillation, seed=seed)) for seed in seeds]
