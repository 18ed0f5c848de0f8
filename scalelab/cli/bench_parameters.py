"""``scalelab bench parameters``: what may be set in a benchmark notebook."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("notebook", required=False, type=click.Path(path_type=Path))
def parameters(notebook: Path | None) -> None:
    """List what may be set in a NOTEBOOK: type, default, meaning.

    NOTEBOOK is a file, or the name of a benchmark such as road_prototype; without it these are listed.
    """
    from scalelab.bench.parameters import read_parameters
    from scalelab.core.errors import ConfigError, did_you_mean
    from scalelab.core.paths import shipped

    shipped_ones = {path.stem: path for path in sorted(shipped("benchmarks").glob("*.ipynb"))}
    if notebook is None:
        for name, path in shipped_ones.items():
            click.echo(f"{name:<20}{path}")
        click.echo(f"one of them: scalelab bench parameters {next(iter(shipped_ones), 'NOTEBOOK')}")
        return
    found = notebook if notebook.is_file() else shipped_ones.get(str(notebook).removesuffix(".ipynb"))
    if found is None:
        raise ConfigError(
            f"there is no notebook {notebook}", hint=did_you_mean(str(notebook), shipped_ones.keys())
        )
    for parameter in read_parameters(found).values():
        meaning = f"  # {parameter.help}" if parameter.help else ""
        click.echo(f"{parameter.name}: {parameter.type_name} = {parameter.default}{meaning}")
