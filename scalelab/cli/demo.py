"""``scalelab demo``: the whole road on this machine, and the page that shows what each step bought."""

from __future__ import annotations

from pathlib import Path

import click

from scalelab.cli.suites import run_and_show


@click.command()
@click.option("--tier", default="laptop", show_default=True, help="Size: ci (3 minutes) or laptop.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for results.  [default: runs/demo]")
@click.option("--fresh", is_flag=True, help="Measure again what is already done.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser at the end.")
def demo(tier: str, out: Path | None, fresh: bool, open_page: bool) -> None:
    """Take the reader from notebook to service, and measure each step.

    Rungs: prototype, gradient accumulation, data parallel training, ONNX, int8, the naive app, the decoupled
    service; and the model pruned, distilled and in int8. A rung that is done is kept; a broken one is
    recorded and the rest carries on.
    Exit code 0 if every rung succeeded, 4 otherwise.
    """
    from scalelab.core.machine import check_room
    from scalelab.core.paths import runs_folder, shipped
    from scalelab.core.requirements import DEMO_DISK_BYTES, DEMO_MEMORY_BYTES

    folder = out or runs_folder() / "demo"
    check_room(folder, disk_bytes=DEMO_DISK_BYTES, memory_bytes=DEMO_MEMORY_BYTES)
    run_and_show(shipped("benchmarks") / "road.toml", out=folder, tier=tier, fresh=fresh, open_page=open_page)
