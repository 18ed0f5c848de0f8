"""Attacks on the walls of the sandbox: each fails inside and succeeds outside, for root and for others."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ordinary_user import run_as_ordinary_user
from sandboxes import AS_ROOT, ask, ask_outside, in_namespaces, warm_process

from scalelab.grader import probe
from scalelab.grader.sandbox import WarmProcess
from scalelab.grader.wire import Closed

pytestmark = in_namespaces
CANARY = "CANARY-9b1f"


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmProcess]:
    """A warm process that was started by someone with secrets in the environment and in open files."""
    os.environ["SCALELAB_SECRET"] = CANARY
    secret = tmp_path_factory.mktemp("beside") / "secret.txt"
    secret.write_text(CANARY)
    with secret.open() as held:
        os.set_inheritable(held.fileno(), True)
        with warm_process(mode="namespaces") as process:
            yield process
    del os.environ["SCALELAB_SECRET"]


def test_every_layer_holds(warm):
    assert set(warm.isolation) == (set(probe.LAYERS) if AS_ROOT else set(probe.REQUIRED))


def refused(answer: object) -> bool:
    """The attempt ended in an error of the system, or found nothing."""
    return not answer or str(answer).startswith(
        ("PermissionError", "FileNotFoundError", "OSError", "ProcessLookup")
    )


def test_no_connection_to_the_host(warm):
    connect = "import socket; socket.create_connection(('127.0.0.1', port), timeout=20).recv(5); result = 1"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with warm.learner() as learner:
            assert str(ask(learner, connect, port=port)).startswith("ConnectionRefusedError")
        with ThreadPoolExecutor(1) as pool:
            control = pool.submit(ask_outside, connect, port=port)
            server.settimeout(20)
            server.accept()[0].close()
            assert control.result(20) == 1


def test_a_learner_process_may_talk_to_itself(warm):
    source = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].sendall(b"hello")
result = client.recv(5)
"""
    with warm.learner() as learner:
        assert ask(learner, source) == b"hello"


def test_no_abstract_socket_between_two_submissions(warm):
    new = "import socket; line = socket.socket(socket.AF_UNIX); result = 1; "
    listen, join = new + "line.bind('\\0meet'); line.listen()", new + "line.connect('\\0meet')"
    with warm.learner() as first, warm.learner() as second:
        assert ask(first, listen) == 1
        assert ask(first, "listening = line; " + join) == 1
        assert str(ask(second, join)).startswith("ConnectionRefusedError")


def test_no_file_of_the_host_is_seen(warm, tmp_path):
    (tmp_path / "secret.txt").write_text(CANARY)
    beside_the_package = Path(__file__)
    source = "result = len(open(path, 'rb').read(100))"
    for path in (tmp_path / "secret.txt", beside_the_package.parents[2] / "pyproject.toml"):
        with warm.learner() as learner:
            assert str(ask(learner, source, path=str(path))).startswith("FileNotFoundError")
        assert ask_outside(source, path=str(path)) > 0


def test_the_root_holds_nothing_but_the_system_and_python(warm):
    with warm.learner() as learner:
        assert (
            ask(learner, "import os; result = os.listdir('/home') if os.path.exists('/home') else []") == []
        )
        assert ask(learner, "result = os.listdir(path)", path=str(Path(__file__).parent.parent)) == ["grader"]


def test_a_course_that_lies_in_its_virtual_environment_is_not_seen(tmp_path):
    environment = tmp_path / "course"
    venv.create(environment, with_pip=False, symlinks=True)
    (environment / "solutions").mkdir()
    listing = (
        "import sys; from scalelab.grader import namespaces; print(*namespaces.python_paths(), sep='\\n')"
    )
    with_packages = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [environment / "bin" / "python", "-c", listing]
    seen = subprocess.check_output(command, text=True, env=with_packages, cwd="/").splitlines()
    assert any(path.startswith(str(environment)) for path in seen)
    assert not {str(environment), str(environment / "solutions")} & set(seen)


LOOK_INTO_ENVIRONMENTS = """
import os
from pathlib import Path
seen = [str(dict(os.environ))]
for file in Path("/proc").glob("[0-9]*/environ"):
    try: seen.append(file.read_text(errors="replace"))
    except OSError: pass
result = sum(canary in text for text in seen)
"""


def test_no_environment_of_the_judge(warm):
    with warm.learner() as learner:
        assert ask(learner, LOOK_INTO_ENVIRONMENTS, canary=CANARY) == 0
    assert ask_outside(LOOK_INTO_ENVIRONMENTS, canary=CANARY) > 0


READ_DESCRIPTORS = """
import os
result = []
for number in range(3, 256):
    try: result.append(os.pread(number, 100, 0).decode(errors="replace"))
    except OSError: pass
"""


def test_no_descriptor_is_inherited(warm):
    with warm.learner() as learner:
        assert ask(learner, READ_DESCRIPTORS) == []
        seen = ask(learner, "import os; result = sorted(map(int, os.listdir('/proc/self/fd')))")
    assert len([number for number in seen if number > 2]) == 2  # the channel, and the folder being listed


def test_control_an_inherited_descriptor_can_be_read(tmp_path):
    (tmp_path / "secret").write_text(CANARY)
    with (tmp_path / "secret").open() as held:
        done = subprocess.run(
            [sys.executable, "-c", READ_DESCRIPTORS + "print(result)"],
            pass_fds=[held.fileno()],
            capture_output=True,
            text=True,
            check=True,
        )
    assert CANARY in done.stdout


def test_no_other_process_is_seen_or_reached(warm):
    source = """
import os
result = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
try:
    os.kill(judge, 0)
    result.append("reached")
except OSError: pass
"""
    judge = max(os.getpid(), 100)
    with warm.learner() as learner, warm.learner() as neighbour:
        assert ask(learner, source, judge=judge) == [1, 2]
        assert ask(neighbour, source, judge=judge) == [1, 2]
    assert "reached" in ask_outside(source, judge=os.getpid())


def test_neither_supervisor_nor_neighbours_can_be_killed(warm):
    source = """
import os, signal
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGSEGV):
    try: os.kill(os.getppid(), number)
    except PermissionError: pass
result = os.getppid()
"""
    with warm.learner() as learner, warm.learner() as neighbour:
        assert ask(learner, source) == 1
        assert ask(neighbour, "result = 'alive'") == "alive"
        ask(learner, "import os; os.kill(-1, 9)")
        assert ask(neighbour, "result = 'alive'") == "alive"
        learner.channel.send({"source": "os.kill(os.getpid(), 9)"})
        assert ask(neighbour, "result = 'alive'") == "alive"
        with pytest.raises(Closed):
            learner.channel.receive(time.monotonic() + 20)
        assert learner.ended == "signal 9"


def test_the_supervisor_cannot_be_looked_into(warm):
    source = """
result = []
for name in ("mem", "fd/0", "environ", "maps", "root", "cwd"):
    try:
        open(f"/proc/1/{name}", "rb").close()
        result.append(name)
    except IsADirectoryError: result.append(name)
    except PermissionError: pass
"""
    with warm.learner() as learner:
        assert ask(learner, source) == []


KERNEL = "from scalelab.grader import kernel; result = 1; "
CALLS = {
    "a new user namespace": "kernel.unshare(kernel.NEWUSER)",
    "a tmpfs without limit": "kernel.mount('tmpfs', '/tmp', 'tmpfs')",
    "making the system writable": "kernel.mount('none', '/', flags=kernel.REMOUNT | kernel.BIND)",
    "taking a mount away": "kernel.unmount('/usr')",
    "chroot": "import os; os.chroot('/')",
    "tracing the supervisor": "kernel._checked(kernel._libc().ptrace(16, 1, 0, 0), 'ptrace')",
    "memory without an owner": "import os; os.memfd_create('x')",
    "System V shared memory": "kernel._checked(kernel._libc().shmget(1234, 1 << 20, 0o1600), 'shmget')",
    "becoming root": "import os; os.setuid(0); assert os.geteuid() == 0",
    "the kernel's log": "open('/dev/kmsg').close()",
    "the kernel's log by a call": "kernel._checked(kernel._libc().klogctl(3, bytes(100), 100), 'klogctl')",
    "a device of its own": "import os, stat; os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(8, 0))",
    "settings of the kernel": "open('/proc/sys/kernel/hostname', 'w').write('mine')",
    "a socket to the machine's host": "import socket; socket.socket(40, socket.SOCK_STREAM)",
    "a socket into the kernel's ciphers": "import socket; socket.socket(38, socket.SOCK_SEQPACKET)",
    "another clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
}


@pytest.mark.parametrize("call", CALLS)
def test_the_kernel_refuses(warm, call):
    with warm.learner() as learner:
        answer = ask(learner, KERNEL + CALLS[call])
    assert str(answer).startswith(("PermissionError", "OSError", "FileNotFoundError")), answer


@pytest.mark.skipif(not AS_ROOT, reason="only on a run as root: the control needs its rights")
@pytest.mark.parametrize(
    "call", ["a new user namespace", "chroot", "memory without an owner", "System V shared memory"]
)
def test_control_the_kernel_grants_it_outside(call):
    assert ask_outside(KERNEL + CALLS[call]) == 1


@pytest.mark.skipif(not AS_ROOT, reason="only on a run as root: it alone can make a set-user-id program")
def test_a_set_user_id_program_gives_no_rights(tmp_path):
    program = tmp_path / "who"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    tmp_path.chmod(0o755)
    source = "import subprocess; result = subprocess.check_output([path, '-u'], text=True)"
    with warm_process(visible_paths=[tmp_path]) as warm, warm.learner() as learner:
        assert int(ask(learner, source, path=str(program))) > 0
    for folder in [tmp_path, *list(tmp_path.parents)[:-2]]:
        folder.chmod(0o755)
    as_other = subprocess.run(
        [program, "-u"], user=65534, group=65534, capture_output=True, text=True, check=True
    )
    assert as_other.stdout.strip() == "0"


WRITE = """
import os
result = []
for folder in folders:
    try:
        open(os.path.join(folder, "planted.py"), "w").close()
        os.unlink(os.path.join(folder, "planted.py"))
        result.append(folder)
    except OSError: pass
"""


def test_no_folder_of_the_system_can_be_written(warm, tmp_path):
    import scalelab

    folders = [
        "/",
        "/etc",
        "/usr/lib",
        "/run/setup",
        "/dev",
        str(Path(scalelab.__file__).parent),
        os.path.dirname(os.__file__),
    ]
    with warm.learner() as learner:
        assert ask(learner, WRITE, folders=folders) == []
        own = [".", ask(learner, "import tempfile; result = tempfile.gettempdir()"), "/dev/shm"]
        assert ask(learner, WRITE, folders=own) == own
    assert ask_outside(WRITE, folders=[str(tmp_path)]) == [str(tmp_path)]


def test_a_link_in_the_working_folder_leads_nowhere(warm, tmp_path):
    (tmp_path / "secret").write_text(CANARY)
    source = "import os; os.symlink(path, 'link'); result = open('link').read()"
    with warm.learner({"kept.txt": b"mine"}) as learner:
        assert str(ask(learner, source, path=str(tmp_path / "secret"))).startswith("FileNotFoundError")
        assert ask(learner, "result = open('kept.txt').read()") == "mine"


def test_shells_and_programs_inside_have_no_more_rights(warm):
    source = """
import subprocess
status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
wanted = ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp:")
result = [line.split()[1] for line in status.splitlines() if line.startswith(wanted)]
"""
    with warm.learner() as learner:
        assert ask(learner, source) == ["0" * 16, "0" * 16, "1", "2"]


@pytest.mark.slow
@pytest.mark.skipif(not AS_ROOT, reason="only on a run as root: an ordinary user's run is this one")
@pytest.mark.parametrize("name", ["isolation", "sandbox", "sandbox_limits", "zygote"])
def test_all_of_this_holds_for_an_ordinary_user(name):
    tests = str(Path(__file__).with_name(f"test_grader_{name}.py"))
    done = run_as_ordinary_user("-m", "pytest", "-q", "-p", "no:cacheprovider", tests, timeout_s=280)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "passed" in done.stdout
