"""A sign that a measurement runs: it stands where the result will stand, and is replaced by it.

The browser moves it. A thread that counts seconds here would compete with what is measured.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from scalelab.classroom import cards


@contextmanager
def waiting(name: str) -> Iterator[str]:
    """Show that `name` is being measured; yield the place of its result, for `Card.show`.

    If the measurement raises or is interrupted, a line in that place says so.
    """
    shell = cards.running_shell()
    if shell is None or not hasattr(shell, "kernel"):
        if sys.stdout.isatty():
            sys.stdout.write(f"measuring {name} ...\n")
            sys.stdout.flush()
        yield ""
        return
    place = uuid.uuid4().hex
    told = f"Began at {datetime.now():%H:%M:%S}. It may take a minute or two."
    bar = "<progress style='width:100%;max-width:24em' aria-label='measuring'></progress>"
    cards.make_card("calm", "measuring", name, [told], html=bar).show(place, is_new=True)
    try:
        yield place
    except BaseException:
        cards.make_card("calm", "not measured", name, ["It was not finished."]).show(place)
        raise
