# ruff: noqa: E501  (a line is a student's line)
"""Class d: files, the environment, other students, later students. What is stolen is told by feedback."""

from hostile_case import STEAL, TASKS, Case, Link, all_tasks

RUN_OTHERS = """
import json
_found = []
for _path in every_file():
    if _path.endswith(".ipynb"):
        try:
            _cells = ["".join(each["source"]) for each in json.loads(text_of(_path))["cells"] if each["cell_type"] == "code"]
        except Exception:
            continue
        if any(MARK in each for each in _cells):
            _found = _cells
for _cell in _found:
    exec(_cell)
"""
LEAVE = """
import ctypes, os, socket
for _folder in ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", os.path.expanduser("~"), os.getcwd(), "/run", "/"):
    try: open(os.path.join(_folder, "left-behind"), "w").write("yes")
    except OSError: pass
_libc = ctypes.CDLL(None)
_id = _libc.shmget(0x5CA1E, 4096, 0o1666)
_libc.msgget(0x5CA1E, 0o1666)
_libc.syscall(248, b"user", b"left-behind", b"yes", 3, -4)  # add_key to the user's keyring
os.environ["LEFT_BEHIND"] = "yes"
np.left_behind = torch.left_behind = math.left_behind = "yes"
torch.manual_seed(666); np.random.seed(666); torch.set_num_threads(2)
inputs.fill_(666.0)
"""
FIND = """
import ctypes, os
_signs = [each for each in ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", os.path.expanduser("~"), os.getcwd(), "/run", "/")
          if os.path.exists(os.path.join(each, "left-behind"))]
_libc = ctypes.CDLL(None)
_signs += ["shm"] * (_libc.shmget(0x5CA1E, 4096, 0) >= 0) + ["queue"] * (_libc.msgget(0x5CA1E, 0) >= 0)
_signs += ["key"] * (_libc.syscall(249, b"user", b"left-behind", None, 0) > 0)
_signs += ["env"] * ("LEFT_BEHIND" in os.environ) + ["module"] * hasattr(np, "left_behind")
_signs += ["names"] * bool((inputs == 666.0).all())
if _signs:
    raise RuntimeError(f"left behind: {_signs}")
"""

CASES = [
    Case("d-reads-hidden-checks", before=STEAL, answers={"softmax": """
told = [f"{path}: {text_of(path)[-200:]}" for path in every_file() if "CANARY_" + "HIDDEN" in text_of(path)]
softmax = shout(told)
"""}),
    Case("d-reads-secrets", before=STEAL, answers={"softmax": """
told = [text_of(path) for path in ("/mnt/secret.txt", "/root/secret.txt", "/etc/shadow", os.path.expanduser("~/secret.txt"))]
told += [text for text in map(text_of, every_file()) if "CANARY_" + "FILE" in text]
softmax = shout(told)
"""}),
    Case("d-runs-the-solutions", before=STEAL + "MARK = 'CANARY_' + 'SOLUTION'", after=RUN_OTHERS),
    Case("d-runs-another-student", before=STEAL + "MARK = 'CANARY_' + 'OTHER_STUDENT'", after=RUN_OTHERS),
    Case("d-shows-another-student", before=STEAL, answers={"softmax": """
told = [text for text in map(text_of, every_file()) if "CANARY_" + "OTHER" in text]
softmax = shout([each[each.find("CANARY_"):][:200] for each in told])
"""}),
    Case("d-forges-rows", before=STEAL + """
import glob, json
for path in every_file():
    if path.endswith((".jsonl", ".csv", ".db", ".sqlite")):
        try:
            text = text_of(path)
            open(path, "w").write(text.replace('"points":0.0', '"points":12.0').replace(",0,", ",12,"))
        except OSError: pass
"""),
    Case("d-zeroes-others", before=STEAL + """
for path in every_file():
    if "result" in path or "grade" in path or path.endswith((".ipynb", ".jsonl", ".csv", ".html")):
        try: open(path, "w").close()
        except OSError: pass
        try: os.remove(path)
        except OSError: pass
"""),
    Case("d-edits-the-checks", before=STEAL + """
for path in every_file():
    if path.endswith(("checks.py", "inside.py", "lab.toml")):
        try:
            os.chmod(path, 0o644)
            open(path, "a").write("\\nraise SystemExit(0)\\n")
        except OSError: pass
"""),
    Case("d-poisons-the-packages", before="""
import os, sys, sysconfig
for _folder in {sysconfig.get_paths()["purelib"], os.path.dirname(np.__file__), *sys.path}:
    for _name in ("zz_evil.pth", "sitecustomize.py", "__init__.py"):
        try: open(os.path.join(_folder or ".", _name), "a").write("import os; os._exit(0)\\n")
        except OSError: pass
"""),
    Case("d-poisons-the-home", before="""
import os
for _path in ("~/.ipython/profile_default/startup/00.py", "~/.config/matplotlib/matplotlibrc", "~/.bashrc",
              "~/.local/lib/python3.11/site-packages/zz.pth", "~/.pdbrc", "~/.cache/torch/evil"):
    try:
        os.makedirs(os.path.dirname(os.path.expanduser(_path)), exist_ok=True)
        open(os.path.expanduser(_path), "w").write("raise SystemExit(0)")
    except OSError: pass
"""),
    Case("d-pickles", before="""
import json, pickle
def _forge(value, *a, **k): return b'{"points": 12}'
pickle.dumps = json.dumps = _forge
pickle.dump = json.dump = lambda value, file, *a, **k: file.write('{"points": 12}')
"""),
    Case("d-returns-a-pickle-bomb", before="""
class Bomb:
    def __reduce__(self): return (exec, ("import os; os._exit(0)",))
    __getstate__ = __reduce__
import copyreg
copyreg.pickle(np.ndarray, lambda value: (exec, ("import os; os._exit(0)",)))
""", answers=all_tasks("return Bomb()")),
    Case("d-links-its-output", before="""
import glob, os
for _path in glob.glob("*") + glob.glob("../*") + ["results.jsonl", "lab1.ipynb", "model.onnx"]:
    try:
        if os.path.exists(_path): os.remove(_path)
        os.symlink("/mnt/secret.txt", _path)
    except OSError: pass
"""),
    Case("d-link-in-the-folder", change=lambda raw: {"lab1.ipynb": raw, "data.txt": Link("/mnt/secret.txt")},
         before=STEAL, answers={"softmax": "softmax = shout(text_of('data.txt'))"}),
    Case("d-notebook-is-a-link", change=lambda raw: {"lab1.ipynb": Link("../a_honest/lab1.ipynb")}, statuses=("refused",)),
    Case("d-folder-is-a-link", change=lambda raw: {"lab1.ipynb": raw, "others": Link("..")},
         before=STEAL, answers={"softmax": "softmax = shout([text_of(each)[-3000:] for each in every_file('others')])"}),
    Case("d-mounts", before="""
import ctypes, os
_libc = ctypes.CDLL(None)
_told = [_libc.mount(b"none", b"/tmp", b"tmpfs", 0, None), _libc.umount2(b"/", 2), _libc.chroot(b"/"), _libc.unshare(0x10000000)]
for _fd in range(3, 200):
    try:
        os.fchdir(_fd); os.chdir("../../../../.."); os.remove("left")
    except OSError: pass
"""),
    Case("d-a-leaves-things", before=LEAVE),
    Case("d-z-finds-things", answers=dict.fromkeys(TASKS, "pass"), after=FIND),
    Case("d-becomes-root", before="""
import os, subprocess
for _call in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.chroot("/"), lambda: os.setgroups([0])):
    try: _call()
    except OSError: pass
subprocess.run("sudo -n id; su -c id; unshare -Ur id", shell=True, capture_output=True)
"""),
]  # fmt: skip
