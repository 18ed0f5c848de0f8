# ruff: noqa: E501  (a line is a student's line)
"""Class b: leaving early, dying, and exceptions that are no honest ones."""

from hostile_case import Case, all_tasks

CASES = [
    Case("b-sys-exit", before="import sys\nsys.exit(0)"),
    Case("b-exit-and-quit", before="exit()", after="quit()"),
    Case("b-os-exit", before="import os\nos._exit(0)"),
    Case("b-exit-in-tasks", answers=all_tasks("raise SystemExit(0)")),
    Case("b-os-exit-in-tasks", answers=all_tasks("import os; os._exit(0)")),
    Case("b-interrupt-in-tasks", answers=all_tasks("raise KeyboardInterrupt")),
    Case("b-interrupts-main", before="import _thread, threading\n"
         "threading.Timer(0.05, _thread.interrupt_main).start()"),
    Case("b-base-exception", before="""
class Done(BaseException):
    def __str__(self): return "All tests passed! 12/12"
    __repr__ = __str__
""", answers=all_tasks("raise Done()")),
    Case("b-exception-that-raises", before="""
class Bad(Exception):
    def __str__(self): raise SystemExit(0)
    __repr__ = __str__
    @property
    def __class__(self): raise KeyboardInterrupt
    @property
    def __traceback__(self): raise GeneratorExit
""", answers=all_tasks("raise Bad()")),
    Case("b-exception-of-one-gigabyte", answers=all_tasks("raise ValueError('x' * 10**9)")),
    Case("b-exception-with-a-long-text", before="""
class Long(Exception):
    def __str__(self): return "yes " * 10**7
Long.__name__ = Long.__qualname__ = "L" * 10**6
""", answers=all_tasks("raise Long()")),
    Case("b-endless-causes", before="""
def circle():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    one.__context__, two.__context__ = two, one
    return one
""", answers=all_tasks("raise circle()")),
    Case("b-exception-group", answers=all_tasks(
        "raise __import__('builtins').__dict__.get('ExceptionGroup', lambda *a: StopIteration())('ok', [ValueError()])")),
    Case("b-stop-iteration", answers=all_tasks("raise StopIteration(12)")),
    Case("b-forges-at-exit", before="""
import atexit, glob, json, os
def _forge():
    for path in glob.glob("/tmp/**/*.json*", recursive=True)[:50] + glob.glob("../**/*.json*", recursive=True)[:50]:
        try: json.dump({"score": 12, "points": 12, "status": "graded"}, open(path, "w"))
        except OSError: pass
    os._exit(0)
atexit.register(_forge)
"""),
    Case("b-becomes-another-program", answers=all_tasks(
        "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'print(12)'])")),
    Case("b-import-shadows", before="""
import os, sys
for _name in ("sitecustomize.py", "usercustomize.py", "scalelab.py", "msgpack.py", "numpy.py", "inside.py"):
    open(_name, "w").write("raise SystemExit(0)\\n")
sys.path.insert(0, os.getcwd()); os.environ["PYTHONPATH"] = os.getcwd()
for _name in [each for each in sys.modules if each.split(".")[0] in ("scalelab", "msgpack")]:
    del sys.modules[_name]
"""),
    Case("b-empties-modules", before="import sys\nsys.modules.clear()"),
    Case("b-segfault", before="import ctypes\nctypes.string_at(0)"),
    Case("b-segfault-in-tasks", answers=all_tasks("import ctypes; ctypes.string_at(0)")),
    Case("b-kills-itself", answers=all_tasks("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")),
    Case("b-aborts", answers=all_tasks("import os; os.abort()")),
    Case("b-closes-everything", before="import os\nos.closerange(0, 1024)"),
    Case("b-closes-in-tasks", answers=all_tasks("import os; os.closerange(0, 1024)")),
    Case("b-two-of-me", answers=all_tasks("import os; os.fork(); return 12")),
    Case("b-the-child-goes-on", answers=all_tasks("import os; os.fork() and os._exit(0); return 12")),
    Case("b-swaps-the-threads", answers=all_tasks(
        "import threading; t = threading.Thread(target=lambda: None); t.start(); t.join(); return 12")),
    Case("b-deletes-its-own-names", answers=all_tasks("globals().clear(); return 12")),
]  # fmt: skip
