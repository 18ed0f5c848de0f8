from __future__ import annotations

import json
import socket
import subprocess
import sys

import psutil
import pytest

from scalelab.core import machine, paths
from scalelab.core.errors import ConfigError, ResourceError


def test_the_fingerprint_has_what_a_number_depends_on_and_fits_json():
    found = machine.fingerprint()
    keys = {"system", "machine", "cpu", "cores", "flags", "ram_bytes", "load_1min", "python", "versions"}
    assert set(found) == keys
    assert json.loads(json.dumps(found)) == found
    assert 1 <= found["cores"] <= psutil.cpu_count()
    assert 0 < found["ram_bytes"] <= psutil.virtual_memory().total
    assert set(found["flags"]) <= set(machine.FLAGS)
    assert found["versions"]["numpy"] == machine.installed_version("numpy")


def test_a_look_at_the_machine_imports_no_heavy_package():
    code = (
        "import sys; from scalelab.core import machine; machine.fingerprint()\n"
        "print(sorted({'torch', 'onnxruntime', 'numpy', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_package_that_is_not_installed_has_no_version():
    assert machine.installed_version("no-such-package-of-anyone") is None


def test_a_folder_outside_of_git_has_no_revision(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert machine.git_revision(tmp_path) == ""
    monkeypatch.setenv("PATH", "")
    assert machine.git_revision(tmp_path) == ""


def test_a_changed_checkout_says_that_it_is_dirty(tmp_path):
    def git(*words):
        who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, timeout=30)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    clean = machine.git_revision(tmp_path)
    assert len(clean) == 12
    (tmp_path / "file").write_text("two")
    assert machine.git_revision(tmp_path) == f"{clean}-dirty"


def test_a_run_with_room_is_let_through_even_if_its_folder_is_yet_to_be_made(tmp_path):
    machine.check_room(tmp_path / "not" / "made", disk_bytes=1, memory_bytes=1)
    assert not (tmp_path / "not").exists()


def test_too_little_disk_is_refused_with_both_numbers(tmp_path):
    with pytest.raises(ResourceError, match=r"free, this needs .*GiB"):
        machine.check_room(tmp_path, disk_bytes=2**60, memory_bytes=1)


def test_too_little_memory_is_refused_with_both_numbers(tmp_path):
    with pytest.raises(ResourceError, match=r"of memory are available, this needs .*GiB"):
        machine.check_room(tmp_path, disk_bytes=1, memory_bytes=2**60)


def test_a_free_port_can_be_used_and_a_taken_one_is_refused_by_its_number():
    port = machine.free_port()
    machine.check_port(port)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(ResourceError, match=f"port {port} on 127.0.0.1 cannot be used") as caught:
            machine.check_port(port)
    assert "another port" in caught.value.hint
    machine.check_port(port)


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_port_that_does_not_exist_is_refused(port):
    with pytest.raises(ConfigError, match=f"there is no port {port}"):
        machine.check_port(port)


def test_an_address_of_another_machine_is_refused_by_its_name():
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 is no address of this machine"):
        machine.check_port(0, "192.0.2.1")  # from the block that is kept for documents


@pytest.mark.parametrize("below", [".", "inner/folder"])
def test_a_folder_that_cannot_be_written_is_named_before_the_work(tmp_path, below):
    assert paths.make_folder(tmp_path / "new" / below).is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"nothing can be written to the folder .*file"):
        paths.make_folder(tmp_path / "file" / below)


@pytest.mark.parametrize("name", ["datasets", "benchmarks"])
def test_shipped_folders_can_be_moved_by_their_variable(tmp_path, monkeypatch, name):
    monkeypatch.setenv(f"SCALELAB_{name.upper()}", str(tmp_path))
    assert paths.shipped(name) == tmp_path
    monkeypatch.delenv(f"SCALELAB_{name.upper()}")
    assert paths.shipped(name).name == name


def test_results_go_to_the_runs_folder_of_the_current_one_or_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.delenv("SCALELAB_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert paths.runs_folder() == tmp_path.resolve() / "runs"
    monkeypatch.setenv("SCALELAB_RUNS", str(tmp_path / "elsewhere"))
    assert paths.runs_folder() == tmp_path.resolve() / "elsewhere"


def test_a_runs_folder_that_is_a_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "runs").write_text("")
    monkeypatch.setenv("SCALELAB_RUNS", str(tmp_path / "runs"))
    with pytest.raises(ConfigError, match="is a file"):
        paths.runs_folder()


def test_what_others_had_of_the_machine_is_all_work_less_ours(monkeypatch):
    wall, everything, ours = iter([100.0, 102.0]), iter([10.0, 14.0]), iter([1.0, 2.0])
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(wall))
    monkeypatch.setattr(machine, "_machine_cpu_s", lambda: next(everything))
    monkeypatch.setattr(machine, "_own_cpu_s", lambda: next(ours))
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    assert machine.Neighbours().share() == pytest.approx(3 / 4)


def test_the_work_of_a_child_is_ours():
    before, neighbours = machine._own_cpu_s(), machine.Neighbours()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    assert machine._own_cpu_s() > before
    assert 0 <= neighbours.share() <= 1


def test_the_key_of_a_machine_is_the_same_whatever_its_load_and_packages():
    facts = machine.fingerprint()
    later = {
        **facts,
        "load_1min": 7.0,
        "python": "3.13.1",
        "versions": {},
        "ram_bytes": facts["ram_bytes"] + 1,
    }
    assert machine.machine_key(later) == machine.machine_key(json.loads(json.dumps(facts)))


@pytest.mark.parametrize(
    "change", [{"cpu": "another"}, {"cores": 99}, {"flags": []}, {"ram_bytes": 2**42}, {"system": "Other"}]
)
def test_the_key_of_another_machine_is_another(change):
    facts = {"system": "Linux", "machine": "x86_64", "cpu": "Xeon", "cores": 2, "flags": ["avx2"]}
    facts |= {"ram_bytes": 2**33}
    assert machine.machine_key(facts) != machine.machine_key({**facts, **change})


def test_a_record_of_no_machine_has_a_key_too():
    assert len(machine.machine_key({})) == 16
