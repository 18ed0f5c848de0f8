"""A cell that meets a stub says so in a sentence, in place of a traceback of twenty lines.

"Run All" on an untouched lab ends at the first cell that calls what is still to be written. The cell fails as
before, and papermill and nbmake see its error; only what is shown is shorter.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from scalelab.classroom import cards

WATCHED = (NotImplementedError, TypeError, AttributeError)
"""what a stub raises, and what the stub ``...`` brings about where it is used"""


def install(namespace: Mapping[str, Any]) -> None:
    """Shorten errors at stubs of the notebook that runs us, unless somebody else handles its errors."""
    shell = cards.running_shell()
    if shell is None or shell.user_ns is not namespace:
        return
    if not shell.custom_exceptions or getattr(shell, "_scalelab_stubs", False):
        shell.set_custom_exc(WATCHED, _show)
        shell._scalelab_stubs = True


def sentence_for(error: BaseException, namespace: Mapping[str, Any]) -> str:
    """Return what to say of an error at a stub of the notebook; empty if it is another error."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or last.tb_frame.f_globals is not namespace:
        return ""
    if isinstance(error, NotImplementedError):
        name = last.tb_frame.f_code.co_name
        if name.startswith("<"):
            return ""
        return f"`{name}` is still the stub: write its body in its cell above, then run this one."
    if "ellipsis" in str(error):
        names = [name for name in _names_in(last) if namespace.get(name) is ...]
        if names:
            return f"`{names[0]}` is still `...`: put your answer in its place above, then run this one."
    return ""


def _names_in(step: TracebackType) -> list[str]:
    line = linecache.getline(step.tb_frame.f_code.co_filename, step.tb_lineno)
    return re.findall(r"[A-Za-z_]\w*", line)


def _show(shell: Any, kind: type, error: BaseException, trace: TracebackType, tb_offset: Any = None) -> None:
    told = sentence_for(error, shell.user_ns)
    if told:
        error._render_traceback_ = lambda: [told]  # type: ignore[attr-defined]
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
