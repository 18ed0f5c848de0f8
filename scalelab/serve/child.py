"""How each process of the stack begins and ends."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable

from scalelab.core.errors import ScalelabError
from scalelab.core.processes import die_with_parent


def run_child(main: Callable[[], None]) -> None:
    """Run `main` as the whole life of this process: it ends with its parent, and its log says why it ended.

    The process leaves by `os._exit`: heartbeat and runtimes' threads may not be caught in the middle
    of the interpreter's last steps, which ended in a segmentation fault instead of the message.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    die_with_parent()
    code = 0
    try:
        main()
    except ScalelabError as error:
        code = error.exit_code
        sys.stderr.write(f"error: {error}\n")
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except Exception:
        code = 1
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
