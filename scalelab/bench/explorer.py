"""The explorer: the report's records, to turn over in a notebook: which metric, over what, coloured by what.

Where widgets do not render (papermill, a terminal, ``SCALELAB_PLAIN=1``) the tables of the report stand in
its place.
"""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path
from typing import Any

from scalelab.bench.measured import read_suites
from scalelab.bench.results import Results, read_results
from scalelab.bench.tables import report_tables
from scalelab.bench.views import NOTHING, POINT, draw, metrics_of, varied_parameters
from scalelab.core.lazy import require
from scalelab.core.page import Figure, html_table, write_whole
from scalelab.core.shell import can_show_widgets


def explore(source: Path | str = ".") -> Any:
    """Return the explorer of a folder of results: an ``ipywidgets.VBox``, or tables where none can be shown.

    Raises:
        DataError: there are no records.
    """
    results = read_results(Path(source))
    return explorer_box(results) if can_show_widgets() else PlainTables(results)


class PlainTables:
    """The report's tables as text, for places without widgets."""

    def __init__(self, results: Results):
        self.tables = report_tables(results.records)

    def __repr__(self) -> str:
        return "\n".join(f"{table.title}\n\n{table.markdown()}" for table in self.tables)

    def _repr_html_(self) -> str:
        return "".join(
            f"<h4>{html.escape(table.title)}</h4>{html_table(table.header, table.rows[:100])}"
            for table in self.tables
        )


def explorer_box(results: Results) -> Any:
    """Return the widgets: suite, metric, over what, coloured by what, and the plot or its numbers."""
    widgets = require("ipywidgets", extra="bench")
    suites = read_suites(results.records)
    style, wide = {"description_width": "4.5em"}, widgets.Layout(width="22em", max_width="100%")

    def choice(description: str) -> Any:
        return widgets.Dropdown(description=description, style=style, layout=wide)

    suite, metric, over, colour = map(choice, ("suite", "metric", "over", "colour"))
    is_log = widgets.Checkbox(description="log scale", indent=False, layout=widgets.Layout(width="8em"))
    view = widgets.ToggleButtons(options=["plot", "numbers"], style={"button_width": "6em"})
    lead, plot, numbers = widgets.HTML(), widgets.Output(), widgets.HTML()
    suite.options, suite.index = list(suites), 0

    def offer() -> None:
        """Name what the chosen suite has."""
        points = suites[suite.value]
        varied = varied_parameters(points)
        for control, options in (
            (metric, metrics_of(points)),
            (over, [POINT, *varied]),
            (colour, [NOTHING, *varied]),
        ):
            control.options = options
            control.index = 0 if options else None

    def show(_: Any = None) -> None:
        points = suites[suite.value]
        if metric.value is None:
            lead.value = "No point of this suite has succeeded."
            return
        figure = draw(points, metric.value, over=over.value, colour=colour.value, is_log=is_log.value)
        lead.value = f"<p>{html.escape(figure.lead)}</p>"
        is_plot = view.value == "plot"
        numbers.value = "" if is_plot else html_table(figure.header, figure.rows[:300])
        plot.outputs = (_output(figure),) if is_plot else ()

    def change_suite(_: Any) -> None:
        for control in (metric, over, colour):
            control.unobserve(show, "value")  # drawn once, when all of them are right again
        offer()
        for control in (metric, over, colour):
            control.observe(show, "value")
        show()

    offer()
    suite.observe(change_suite, "value")
    for control in (metric, over, colour, is_log, view):
        control.observe(show, "value")
    show()
    flow = widgets.Layout(flex_flow="row wrap", width="100%")
    children = [widgets.HBox([suite, metric, over, colour, is_log, view], layout=flow), lead, plot, numbers]
    if results.damaged:
        lines = ", ".join(str(damage.line) for damage in results.damaged[:20])
        children.append(widgets.HTML(f"<p>Left out, for they are no records: line {lines}.</p>"))
    return widgets.VBox(children)


def write_notebook(folder: Path) -> Path:
    """Write ``explore.ipynb`` into a folder of results, unless it is there; return its path.

    Raises:
        DataError: the folder has no records.
    """
    read_results(folder)
    nbformat = require("nbformat", extra="bench")
    path = folder.resolve() / "explore.ipynb"
    if not path.exists():
        cells = [
            nbformat.v4.new_markdown_cell(f"# {folder.resolve().name}\n\nRun the cell: Shift+Enter."),
            nbformat.v4.new_code_cell('from scalelab.bench.explorer import explore\n\nexplore(".")'),
        ]
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        write_whole(path, nbformat.writes(notebook))
    return path


def _output(figure: Figure) -> dict[str, Any]:
    """Return the plot as the output of a cell; where no renderer of plots is, its words."""
    if "google.colab" in sys.modules:  # has a renderer of its own
        bundle = figure.plot._repr_mimebundle_()
    else:
        bundle = {"application/vnd.plotly.v1+json": json.loads(figure.plot.to_json())}
    return {"output_type": "display_data", "data": {**bundle, "text/plain": figure.alt}, "metadata": {}}
