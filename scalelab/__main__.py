"""``python -m scalelab``: the command line where the ``scalelab`` script is not on the path."""

from scalelab.cli import main

main(prog_name="scalelab")
