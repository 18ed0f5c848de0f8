"""``scalelab bench``: run suites of notebooks, read and compare their results, and give evidence of them."""

from __future__ import annotations

import click

from scalelab.cli.lazy_group import LazyGroup

COMMANDS = (
    "run", "report", "explore", "compare", "export", "bundle", "verify", "replay", "parameters", "build",
)  # fmt: skip
"""in the order of their use; ``scalelab/cli/bench_NAME.py`` holds ``NAME``"""


@click.group(cls=LazyGroup, prefix="scalelab.cli.bench_", names=list(COMMANDS))
def bench() -> None:
    """Run suites of notebooks by papermill; report, compare, prove."""
