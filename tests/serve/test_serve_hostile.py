"""What should not happen and does, to one stack that must go on: each test leaves it as it was."""

import hashlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serve_calls import call, image, until
from serve_fake_model import HANGING, POISON, SLOWER, expected

from scalelab.core.errors import DataError, RunFailed
from scalelab.core.processes import is_alive
from scalelab.serve import BrokerLimits, running_stack
from scalelab.serve.loading import load_model, model_version
from scalelab.serve.settings import StackSettings
from scalelab.serve.swap import ask_swap

pytestmark = pytest.mark.slow
KEPT_S = 6.0


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model files by what is the matter with them."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("good", "better", "broken", "wrong"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture(scope="module")
def stack(models, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        )
        patch.setenv("SCALELAB_RUNS", str(tmp_path_factory.mktemp("runs")))
        limits = BrokerLimits(result_ttl_s=KEPT_S, worker_ttl_s=1.0)
        settings = {"model": "serve_fake_model:make", "workers": 2, "run_limit_s": 1.5, "limits": limits}
        with running_stack(models / "good", **settings) as stack:
            yield stack


@pytest.fixture(autouse=True)
def it_goes_on(stack):
    """Whatever a test did: afterwards the stack is whole and answers."""
    yield
    until(lambda: len(stack.worker_pids()) == 2 and "gateway" in stack.state().facts)
    status, body = until(lambda: reached(stack.url + "/v1/pins?wait_s=20", image(1)))
    assert (status, body["result"]) == (200, expected(image(1)))


def reached(url, data=None):
    """Return the reply, or None while nobody answers."""
    try:
        return call(url, data)
    except OSError:
        return None


def swap(stack, path):
    return ask_swap(stack.folder, model_path=str(path), model="serve_fake_model:make", timeout_s=60)


def version(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def test_a_swap_under_load_fails_no_request_and_ends_in_the_new_version(stack, models):
    answers, is_over = [], threading.Event()

    def post_for_ever(number):
        while not is_over.is_set():
            answers.append(call(stack.url + "/v1/pins?wait_s=20", image(1, number)))

    old = stack.worker_pids()
    with ThreadPoolExecutor(4) as pool:
        posting = [pool.submit(post_for_ever, number) for number in range(4)]
        try:
            until(lambda: len(answers) > 20)
            state = swap(stack, models / "better")
            count = len(answers)
            until(lambda: len(answers) > count + 20)
        finally:
            is_over.set()
    assert [one.exception() for one in posting] == [None] * 4
    assert {status for status, _ in answers} == {200}
    versions = [body["model"] for _, body in answers]
    assert set(versions) == {version(models / "good"), version(models / "better")}
    assert set(versions[-4:]) == {version(models / "better")}
    assert {facts["model"] for facts in state.facts.values() if "model" in facts} == {versions[-1]}
    assert not set(old) & set(stack.worker_pids())
    assert StackSettings.read(stack.folder / "settings.json").model_path == str(models / "better")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "the model file is torn"),
        ("wrong", "does not run on 1 x (28, 168) uint8: ValueError: this model reads digits of 8 x 8"),
        ("missing", "there is no model file"),
    ],
)
def test_a_model_that_cannot_serve_is_refused_with_its_reason_and_changes_nothing(stack, models, name, said):
    before = stack.state()
    with pytest.raises(RunFailed) as caught:
        swap(stack, models / name)
    assert said in caught.value.message
    after = stack.state()
    assert (after.children, after.facts) == (before.children, before.facts)
    assert after.deaths == before.deaths


def test_a_model_file_that_is_written_while_it_is_loaded_is_refused(models, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    path = tmp_path / "m"
    path.write_text("good")
    settings = StackSettings(str(path), model="serve_fake_model:make")
    assert load_model(settings).version == model_version(path)
    versions = iter(["a", "b"])
    monkeypatch.setattr("scalelab.serve.loading.model_version", lambda _: next(versions))
    with pytest.raises(DataError, match="was written while it was loaded"):
        load_model(settings)


def test_a_frozen_worker_is_replaced_and_what_it_held_is_answered_by_another(stack):
    frozen, other = stack.worker_pids()
    os.kill(frozen, signal.SIGSTOP)  # while it asks for tasks: it will be given some
    tasks = [call(stack.url + "/v1/pins", image(1, number))[1]["task_id"] for number in range(6)]
    for number, task in enumerate(tasks):
        assert until(lambda one=task: reached_done(stack, one))[1]["result"] == expected(image(1, number))
    until(lambda: not is_alive(frozen))
    until(lambda: len(stack.worker_pids()) == 2)
    assert other in stack.worker_pids()
    assert "froze: no sign of life for" in stack.state().deaths[-1]


def reached_done(stack, task_id):
    found = reached(f"{stack.url}/v1/pins/{task_id}?wait_s=10")
    return found if found and found[1].get("status") in ("done", "failed", "expired") else None


def test_an_image_that_the_model_never_comes_back_from_fails_alone(stack):
    hanging = call(stack.url + "/v1/pins", image(HANGING))[1]["task_id"]
    good = [call(stack.url + "/v1/pins", image(1, n))[1]["task_id"] for n in range(8)]
    assert {reached_done(stack, task)[1]["status"] for task in good} == {"done"}
    status, body = until(lambda: reached_done(stack, hanging), 60)
    assert (status, body["status"], body["attempts"]) == (200, "failed", 3)
    assert "ended with exit code 75" in stack.state().deaths[-1]


def test_a_gateway_that_is_killed_comes_back_at_its_address_with_all_it_accepted(stack):
    accepted = [call(stack.url + "/v1/pins", image(SLOWER, n))[1]["task_id"] for n in range(4)]
    url, gateway = stack.url, stack.pids()["gateway"]
    os.kill(gateway, signal.SIGKILL)
    for number, task in enumerate(accepted):
        status, body = until(lambda one=task: reached_done(stack, one), 60)
        assert (status, body["result"]) == (200, expected(image(SLOWER, number)))
    assert stack.url == url
    assert f"gateway (pid {gateway}) ended by signal 9" in stack.state().deaths[-1]


def test_a_gateway_that_is_frozen_is_replaced_and_loses_nothing(stack):
    accepted = call(stack.url + "/v1/pins", image(SLOWER))[1]["task_id"]
    gateway = stack.pids()["gateway"]
    os.kill(gateway, signal.SIGSTOP)
    until(lambda: not is_alive(gateway))
    assert until(lambda: reached_done(stack, accepted))[1]["result"] == expected(image(SLOWER))
    assert f"gateway (pid {gateway}) was ended: it froze" in stack.state().deaths[-1]


@pytest.mark.parametrize("guess", ["0" * 32, "a1" * 16, "x", "%00", "..%2f..%2fetc", "a" * 3000])
def test_a_task_id_that_was_guessed_tells_nothing(stack, guess):
    status, body = call(f"{stack.url}/v1/pins/{guess}?wait_s=1")
    assert (status, body["title"]) == (404, "Not Found")
    assert body["hint"]


def test_a_task_that_nobody_wants_any_more_is_not_run(stack):
    busy = [call(stack.url + "/v1/pins", image(SLOWER, n))[1]["task_id"] for n in range(2)]
    status, body = call(stack.url + "/v1/pins?wait_s=20&deadline_s=0.001", image(POISON))
    assert (status, body["status"]) == (504, "expired")
    assert {until(lambda one=task: reached_done(stack, one))[1]["status"] for task in busy} == {"done"}


def test_an_answer_is_kept_for_its_time_and_then_its_id_is_unknown(stack):
    task = call(stack.url + "/v1/pins?wait_s=20", image(1, 77))[1]["task_id"]
    assert call(f"{stack.url}/v1/pins/{task}")[1]["status"] == "done"
    _, body = until(lambda: (found := call(f"{stack.url}/v1/pins/{task}"))[0] == 404 and found)
    assert f"{KEPT_S:g} s" in body["hint"]
