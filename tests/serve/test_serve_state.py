import os
import subprocess
import sys

import pytest

from scalelab.core.errors import ConfigError, DataError
from scalelab.core.processes import is_alive
from scalelab.serve.batching import BatchPolicy
from scalelab.serve.broker import BrokerLimits
from scalelab.serve.settings import StackSettings, broker_url
from scalelab.serve.state import (
    BROKEN,
    READY,
    Child,
    StackState,
    clean_stale,
    describe_error,
    running,
    take_lock,
)

ME = Child.of(os.getpid())


def state(phase=READY, **fields):
    return StackState(phase, ME, "http://127.0.0.1:1", **fields)


def test_a_state_comes_back_from_its_file(tmp_path):
    written = state(children={"gateway": ME}, restarts=2)
    written.write(tmp_path)
    assert StackState.read(tmp_path) == written


@pytest.mark.parametrize("text", ["", "{", "[]", '{"phase": "ready"}'])
def test_a_torn_state_file_is_no_state(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    assert StackState.read(tmp_path) is None


def test_a_lock_is_held_by_one_and_free_when_its_holder_closes_it(tmp_path):
    held = take_lock(tmp_path)
    assert take_lock(tmp_path) is None
    state().write(tmp_path)
    assert running(tmp_path) == state()
    held.close()
    assert running(tmp_path) is None
    take_lock(tmp_path).close()


@pytest.mark.slow
def test_what_a_killed_run_left_is_ended_and_said(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as left:
        state(children={"worker-1": Child.of(left.pid)}).write(tmp_path)
        said = clean_stale(tmp_path)
        assert f"supervisor {os.getpid()}" in said
        assert "worker-1" in said
        assert not is_alive(left.pid)
    assert not (tmp_path / "state.json").exists()
    assert clean_stale(tmp_path) == ""


def test_a_pid_that_was_given_to_another_process_is_left_alone(tmp_path):
    state(children={"worker-1": Child(os.getpid(), started_at=1.0)}).write(tmp_path)
    assert "worker-1" not in clean_stale(tmp_path)


def test_what_runs_is_not_cleaned(tmp_path):
    with take_lock(tmp_path):
        state(children={"worker-1": ME}).write(tmp_path)
        assert clean_stale(tmp_path) == ""
        assert StackState.read(tmp_path) is not None


def test_an_error_crosses_the_process_border_as_its_kind():
    told = describe_error(ConfigError("port 7 is taken", hint="take another"))
    with pytest.raises(ConfigError, match="port 7") as caught:
        state(BROKEN, error=told).raise_error()
    assert caught.value.hint == "take another"


def test_settings_come_back_from_their_file(tmp_path):
    settings = StackSettings(
        "m.onnx", workers=3, policy=BatchPolicy(4, 0.01), limits=BrokerLimits(max_depth=7)
    )
    settings.write(tmp_path / "s.json")
    assert StackSettings.read(tmp_path / "s.json") == settings


@pytest.mark.parametrize(
    ("fields", "named"), [({"port": 70000}, "70000"), ({"port": -1}, "-1"), ({"workers": 0}, "0 workers")]
)
def test_settings_that_cannot_work_are_refused(fields, named):
    with pytest.raises(ConfigError, match=named):
        StackSettings("m.onnx", **fields).check()


def test_a_missing_model_is_refused_before_the_broker_is_looked_at():
    with pytest.raises(DataError, match=r"nix\.onnx"):
        StackSettings("nix.onnx").check("http://x")


def test_a_child_without_a_broker_says_who_starts_it(monkeypatch):
    monkeypatch.delenv("SCALELAB_BROKER", raising=False)
    with pytest.raises(ConfigError) as caught:
        broker_url()
    assert "scalelab serve up" in caught.value.hint
