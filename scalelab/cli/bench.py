"""``scalelab bench``: run suites of notebooks, read and compare their results, and give evidence of them."""

from __future__ import annotations

from importlib.util import find_spec

import click

from scalelab.cli.lazy_group import LazyGroup

COMMANDS = (
    "run", "report", "explore", "compare", "export", "bundle", "verify", "replay", "parameters", "build",
)  # fmt: skip
"""in the order of their use; ``scalelab/cli/bench_NAME.py`` holds ``NAME``"""


@click.group(
    cls=LazyGroup,
    prefix="scalelab.cli.bench_",
    names=[name for name in COMMANDS if find_spec(f"scalelab.cli.bench_{name}")],
)
def bench() -> None:
    """Run benchmark suites by papermill, and report on them."""
