"""Tables as text, wherever they are shown."""

from scalelab.bench.tables import Table


def test_markdown_has_a_line_a_row_whatever_is_in_its_cells():
    table = Table("t", "T", ("point", "why"), (("a|b", "two\nlines"), ("<b>", "C:\\|")))
    assert table.markdown().splitlines() == [
        "| point | why |",
        "| --- | --- |",
        r"| a\|b | two lines |",
        r"| &lt;b> | C:\\\| |",
    ]
