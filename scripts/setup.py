"""Set ScaleLab up in ``.venv``: `python scripts/setup.py`, on Linux, macOS and Windows.

Safe to run again at any time: a finished set-up is recognised in a fraction of a second, a broken-off one
goes on where it stopped. Needs nothing but the standard library, and is written so that a Python too old for
ScaleLab (3.6) can still read it and say so.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

from setup_checks import (
    AGAIN,
    CPU_INDEX,
    NEWEST,
    OLDEST,
    CannotGoOn,
    check_room,
    find_python,
    look_at,
    version_text,
)

ROOT = Path(__file__).resolve().parent.parent
HEARTBEAT_S = 15
SHOWN = ("Downloading ", "Installing collected packages", "Building ", "ERROR", "error:", "WARNING: Retrying")


class Steps:
    """Says which step of how many runs, and for how long."""

    def __init__(self, total: int):
        self.total, self.number, self.started = total, 0, time.monotonic()

    def next(self, what: str) -> None:
        """Start the next step."""
        self.number += 1
        self.say(f"step {self.number} of {self.total}: {what}")

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        print(f"[{time.monotonic() - self.started:4.0f} s] {text}", flush=True)


def main(argv: list) -> int:
    """Set up, and return the exit code: 0 done, 2 something to mend, 130 interrupted."""
    options = parse(argv)
    extras = sorted(name for name in options.extras.split(",") if name)
    venv = Path(options.venv)
    try:
        finished = finished_extras(venv)
        if finished is not None and ("dev" in finished or set(extras) <= finished):
            print(f"set-up: {venv.name} is up to date")
            return 0
        set_up(venv, extras, finished or set(), options.python)
    except CannotGoOn as problem:
        print(f"\nerror: {problem.message}\nhint: {problem.hint}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        print(
            "\nset-up: interrupted; run the same command again, it goes on where it stopped", file=sys.stderr
        )
        return 130
    return 0


def parse(argv: list) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Set ScaleLab up in .venv; safe to run again at any time.")
    parser.add_argument(
        "--extras",
        default="dev",
        help="what to install, by comma: dev (everything, default), bench (what the demo needs), "
        "lab, serve, ... or '' for the base alone",
    )
    parser.add_argument("--venv", default=str(ROOT / ".venv"), help="folder of the environment (%(default)s)")
    parser.add_argument(
        "--python", default="", help="the interpreter to use, 3.10 to 3.13; found by itself if not given"
    )
    return parser.parse_args(argv)


def set_up(venv: Path, extras: list, finished: set, wanted_python: str) -> None:
    """Make or complete `venv` with the packages of `extras`; the stamp is written last.

    `finished` are extras that are in it already.
    """
    steps = Steps(4)
    steps.next("look at Python, disk and memory")
    python = find_python(wanted_python)
    has_torch = bool(site_packages(venv, "torch"))
    check_room(venv, has_torch=has_torch)
    steps.next(f"make {venv.name} with Python {version_text(python[1])} ({python[0]})")
    make_venv(venv, python)
    inside = str(venv_python(venv))
    for torn in drop_torn_installs(venv):
        steps.say(f"  {torn} was broken off while it was installed: it is installed again")
    if stamp_path(venv).exists():
        stamp_path(venv).unlink()

    pip = [inside, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    target = "." + (f"[{','.join(extras)}]" if extras else "")
    if needs_torch(extras):
        steps.next("install torch (the largest download)")
        index = os.environ.get("SCALELAB_TORCH_INDEX", "")
        if sys.platform == "linux" and not (index or has_torch or shutil.which("nvidia-smi")):
            steps.say(f"  no NVIDIA GPU here: SCALELAB_TORCH_INDEX={CPU_INDEX}")
            steps.say(
                "  would save some 2.5 GB of CUDA libraries (set it and start again, if your pip draws them)"
            )
        # an index of torch builds has only some versions of its dependencies: those come with the next step
        only_there = ["--index-url", index, "--no-deps"] if index else []
        run_pip([*pip, *constraints, *only_there, "torch"], venv, steps)
    else:
        steps.next("install torch: not needed for these extras")
    steps.next(f"install scalelab {target} (some minutes the first time)")
    run_pip([*pip, *constraints, "-e", target], venv, steps)
    if subprocess.call([inside, "-m", "scalelab", "--version"], cwd=str(ROOT)) != 0:
        raise CannotGoOn("scalelab was installed but does not start", f"delete {venv} and {AGAIN}")
    write_stamp(venv, finished | set(extras))
    steps.say(f"set-up done; the command is {venv_python(venv).parent / 'scalelab'}")


def needs_torch(extras: list) -> bool:
    """Tell whether the extras draw torch in."""
    return bool({"dev", "all", "bench", "lab", "grade", "torch", "frameworks"} & set(extras))


# --- the environment --------------------------------------------------------------------------------------


def venv_python(venv: Path) -> Path:
    """Return the interpreter inside an environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(venv: Path, pattern: str) -> list:
    """Return the files or folders of that pattern among the installed packages."""
    folder = "Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages"
    return sorted(venv.glob(f"{folder}/{pattern}"))


def make_venv(venv: Path, python: tuple) -> None:
    """Make the environment, unless it is whole: its interpreter runs, is of a fitting version and has pip."""
    if venv_python(venv).exists():
        facts = look_at(str(venv_python(venv)))
        if facts and OLDEST <= tuple(facts[1]) <= NEWEST and site_packages(venv, "pip/__main__.py"):
            return
        print(f"         {venv} is broken or half-made: making it anew")
    elif venv.exists() and not (venv / "pyvenv.cfg").exists() and any(venv.iterdir()):
        raise CannotGoOn(
            f"{venv} is there and is no virtual environment", "move it away, or give --venv another folder"
        )
    if subprocess.call([python[0], "-m", "venv", "--clear", str(venv)]) != 0:
        raise CannotGoOn(f"{python[0]} could not make {venv}", f"see the lines above; {AGAIN}")


def drop_torn_installs(venv: Path) -> list:
    """Forget packages whose installation was broken off (pip writes RECORD last, and looks at METADATA)."""
    torn = [info for info in site_packages(venv, "*.dist-info") if not (info / "RECORD").exists()]
    for folder in [*torn, *site_packages(venv, "~*")]:  # pip renames to ~name while it uninstalls
        shutil.rmtree(str(folder), ignore_errors=True)
    return [info.name.split("-")[0] for info in torn]


def run_pip(command: list, venv: Path, steps: Steps) -> None:
    """Run pip, show the lines that matter and a sign of life, keep everything in a log."""
    log_path = venv / "setup.log"
    tail = deque(maxlen=100)  # type: deque
    settings = dict(
        os.environ, PIP_DEFAULT_TIMEOUT=os.environ.get("PIP_DEFAULT_TIMEOUT", "60"), PYTHONUNBUFFERED="1"
    )
    last = [time.monotonic(), ""]
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(1):
            if time.monotonic() - last[0] >= HEARTBEAT_S:
                last[0] = time.monotonic()
                steps.say(f"  still at it: {last[1]}")

    with log_path.open("a", encoding="utf-8") as log:
        pip = subprocess.Popen(
            command, cwd=str(ROOT), env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        threading.Thread(target=beat, daemon=True).start()
        try:
            for raw in pip.stdout:
                line = raw.decode(errors="replace").rstrip()
                log.write(line + "\n")
                tail.append(line)
                text = line.strip()
                if text.startswith(SHOWN):
                    last[:] = time.monotonic(), shortened(text)
                    steps.say(f"  {last[1]}")
            code = pip.wait()
        except BaseException:
            pip.terminate()
            pip.wait()
            raise
        finally:
            ended.set()
    if code != 0:
        print("\n".join(f"  pip: {line}" for line in list(tail)[-8:]), file=sys.stderr)
        raise CannotGoOn(
            f"pip ended with exit code {code} (all of its output: {log_path})", pip_hint("\n".join(tail))
        )


def shortened(line: str) -> str:
    """Return a line of pip's in one row; of a wheel its name, version and size are enough."""
    line = re.sub(r"^Downloading ([^-/ ]+)-([^-/ ]+)-\S+", r"Downloading \1 \2", line)
    return line if len(line) <= 90 else line[:87] + "..."


def pip_hint(output: str) -> str:
    """Return the next step for what pip said last."""
    low = output.lower()
    if "no space left" in low or "errno 28" in low:
        return f"the disk is full: free some space, {AGAIN}"
    if any(
        sign in low
        for sign in ("connection", "timed out", "timeout", "name resolution", "getaddrinfo", "ssl")
    ):
        return f"the network or the package index did not answer: check it (and a proxy's settings), {AGAIN}"
    if any(sign in low for sign in ("no matching dist", "could not find a version", "resolutionimpossible")):
        return (
            "no build for this Python and system, or the package index did not answer: try another Python "
            f"(--python), or check the network, {AGAIN}"
        )
    return f"see pip's lines above, {AGAIN}"


# --- the stamp --------------------------------------------------------------------------------------------


def stamp_path(venv: Path) -> Path:
    """Return where the finished set-up is noted."""
    return venv / "scalelab-setup.json"


def inputs_digest() -> str:
    """Return a hash of all that decides what gets installed, the place of the checkout included."""
    digest = hashlib.sha256(str(ROOT).encode())
    for name in ("pyproject.toml", "constraints.txt", "hatch_build.py"):
        path = ROOT / name
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") if path.exists() else b"")
    return digest.hexdigest()


def finished_extras(venv: Path) -> "set | None":
    """Return the extras of a finished set-up of the same inputs, or None if there is none."""
    try:
        stamp = json.loads(stamp_path(venv).read_text(encoding="utf-8"))
        fresh = stamp["inputs"] == inputs_digest() and stamp["python"] == python_of(venv)
        return set(stamp["extras"]) if fresh and venv_python(venv).exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_stamp(venv: Path, extras: set) -> None:
    """Note the finished set-up, whole or not at all."""
    stamp = {"inputs": inputs_digest(), "python": python_of(venv), "extras": sorted(extras)}
    part = stamp_path(venv).with_suffix(".part")
    part.write_text(json.dumps(stamp), encoding="utf-8")
    os.replace(str(part), str(stamp_path(venv)))


def python_of(venv: Path) -> str:
    """Return the version of the environment's interpreter, as its own file says."""
    for line in (venv / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.strip() in ("version", "version_info"):
            return value.strip()
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
