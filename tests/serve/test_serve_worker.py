"""The worker's loop against a broker that is a list."""

import json

import numpy as np
import pytest
import serve_fake_model

from scalelab.core.errors import ConfigError, DataError
from scalelab.serve.batching import BatchPolicy
from scalelab.serve.broker import BrokerAway, BrokerLimits, Delivery
from scalelab.serve.loading import LoadedModel
from scalelab.serve.pins import CONTRACT, IMAGE_BYTES
from scalelab.serve.protocol import Task
from scalelab.serve.service import check_model, load_service, predict_bytes
from scalelab.serve.worker import Worker

GOOD = bytes([1]) * IMAGE_BYTES
POISON = bytes([serve_fake_model.POISON]) * IMAGE_BYTES


class ListBroker:
    def __init__(self, *queued, orphans=()):
        self.queued, self.orphans = list(queued), list(orphans)
        self.answers, self.calls, self.away = {}, [], 0
        self.given_back = []

    def take(self, max_tasks, wait_s):
        taken, self.queued = self.queued[:max_tasks], self.queued[max_tasks:]
        return taken

    def take_over(self):
        return [self.orphans.pop(0)] if self.orphans else []

    def give_back(self, deliveries, *, after_s):
        self.given_back += [(one.task.task_id, after_s) for one in deliveries]

    def settle(self):
        self.calls.append("settle")

    def post(self, answers, max_tasks, run_s, wait_s=0.0):
        if self.away:
            self.away -= 1
            raise BrokerAway("away")
        self.calls.append(len(answers))
        self.answers.update(
            {one.delivery.task.task_id: (json.loads(one.body), one.dead_letter) for one in answers}
        )


def delivery(name, image=GOOD, attempt=1, is_expired=False):
    return Delivery(Task(name, image, "g", 5.0), name, attempt, is_expired)


def worker(broker, service=None, chance=lambda: 0.5, **policy):
    model = LoadedModel(service or serve_fake_model.FakeReader(), CONTRACT, "v1")
    limits = BrokerLimits(max_attempts=3)
    return Worker(broker, model, policy=BatchPolicy(**policy), limits=limits, chance=chance)


def statuses(broker):
    return {name: body["status"] for name, (body, _) in broker.answers.items()}


def test_what_is_queued_runs_in_one_batch():
    broker = ListBroker(*[delivery(f"t{n}", bytes([n]) * IMAGE_BYTES) for n in range(5)])
    assert worker(broker).step(0) == 5
    assert broker.calls == [5]
    for n in range(5):
        body, _ = broker.answers[f"t{n}"]
        assert body["result"] == serve_fake_model.expected(bytes([n]) * IMAGE_BYTES)
        assert (body["status"], body["batch"], body["attempts"]) == ("done", 5, 1)


def test_a_worker_ends_when_what_it_posted_is_stored():
    broker = ListBroker(delivery("t"))
    serving = worker(broker)
    broker.settle = lambda: broker.calls.append("settled")
    take = broker.take
    broker.take = lambda *asked: (serving.drain(), take(*asked))[1]
    serving.run()
    assert broker.calls == [1, "settled"]


def test_a_batch_is_no_larger_than_its_policy():
    broker = ListBroker(*[delivery(f"t{n}") for n in range(5)])
    serving = worker(broker, max_batch=2)
    assert [serving.step(0) for _ in range(3)] == [2, 2, 1]


def test_a_poisoned_image_fails_alone_and_is_kept_for_people():
    broker = ListBroker(*[delivery(f"t{n}", POISON if n == 3 else GOOD) for n in range(8)])
    worker(broker).step(0)
    assert statuses(broker) == {f"t{n}": "failed" if n == 3 else "done" for n in range(8)}
    assert "poison" in broker.answers["t3"][1]


def test_a_task_past_its_deadline_is_not_run():
    broker = ListBroker(delivery("late", POISON, is_expired=True), delivery("good"))
    worker(broker).step(0)
    assert statuses(broker) == {"late": "expired", "good": "done"}
    assert broker.answers["good"][0]["batch"] == 1
    assert broker.answers["late"][1] == ""


def test_what_a_dead_worker_held_runs_first_and_alone():
    broker = ListBroker(delivery("new"), orphans=[delivery("o1", attempt=2), delivery("o2", attempt=2)])
    worker(broker).step(0)
    assert broker.calls == [1, 1, 1]
    assert list(broker.answers) == ["o1", "o2", "new"]
    assert broker.answers["o1"][0]["attempts"] == 2


@pytest.mark.parametrize("result", [np.float32(1), float("nan"), {1, 2}])
def test_a_result_that_is_no_json_fails_its_task_and_not_the_worker(result):
    class Odd:
        def predict_batch(self, images):
            return [{"confidence": result} for _ in images]

    broker = ListBroker(delivery("t"))
    worker(broker, Odd()).step(0)
    assert statuses(broker) == {"t": "failed"}


def test_answers_are_kept_while_the_broker_is_away(monkeypatch):
    monkeypatch.setattr("scalelab.serve.worker._RETRY_S", 0)
    broker = ListBroker(delivery("t"))
    broker.away = 3
    worker(broker).step(0)
    assert statuses(broker) == {"t": "done"}


class Failing:
    """A model that raises the error it is told to, on images whose first byte is POISON."""

    def __init__(self, error):
        self.error = error

    def predict_batch(self, images):
        if (images[:, 0, 0] == serve_fake_model.POISON).any():
            raise self.error
        return [serve_fake_model.expected(image.tobytes()) for image in images]


class BusyError(Exception):
    is_transient = True


@pytest.mark.parametrize("error", [MemoryError(), OSError("no room"), BusyError()], ids=repr)
def test_an_error_that_may_pass_is_tried_again_after_a_jittered_wait(error):
    broker = ListBroker(delivery("t0"), delivery("t1", POISON), delivery("t2", POISON, attempt=2))
    worker(broker, Failing(error)).step(0)
    assert statuses(broker) == {"t0": "done"}
    assert broker.given_back == [("t1", 0.05), ("t2", 0.1)]


def test_an_error_that_may_pass_is_final_after_the_last_attempt():
    broker = ListBroker(delivery("t", POISON, attempt=3))
    worker(broker, Failing(OSError("no room"))).step(0)
    body, letter = broker.answers["t"]
    assert (body["status"], body["attempts"], broker.given_back) == ("failed", 3, [])
    assert letter == "the model failed on this image 3 times: OSError: no room"


def test_an_answer_names_the_version_of_the_model():
    broker = ListBroker(delivery("t"))
    worker(broker).step(0)
    assert broker.answers["t"][0]["model"] == "v1"


def test_a_worker_knows_how_long_its_model_has_been_running():
    now = [10.0]

    class Slow:
        def predict_batch(self, images):
            now[0] += 3.0
            seen.append(serving.running_s())
            return [{}] * len(images)

    seen, broker = [], ListBroker(delivery("t"))
    serving = worker(broker, Slow())
    serving._clock = lambda: now[0]
    serving.step(0)
    assert (seen, serving.running_s()) == ([3.0], 0.0)


def test_tasks_in_hand_are_run_when_the_broker_goes_away_before_the_batch_is_full():
    class Leaving(ListBroker):
        def take(self, max_tasks, wait_s):
            if not self.queued:
                raise BrokerAway("killed")
            return super().take(max_tasks, wait_s)

    broker = Leaving(*[delivery(f"t{n}") for n in range(3)])
    serving = worker(broker, window_s=1.0)
    serving._last_batch, serving._runs = 9, [(1, 0.9), (2, 1.0)]  # load, and runs are dear
    assert serving.step(0) == 3
    assert statuses(broker) == dict.fromkeys(["t0", "t1", "t2"], "done")


def test_a_worker_that_is_to_end_does_not_wait_for_ever_for_its_broker(monkeypatch):
    monkeypatch.setattr("scalelab.serve.worker._RETRY_S", 0)
    monkeypatch.setattr("scalelab.serve.worker._DRAIN_S", -1)
    broker = ListBroker(delivery("t"))
    broker.away = 10**9
    serving = worker(broker)
    serving._model.service.predict_batch = lambda images: serving.drain() or [{}] * len(images)
    serving.run()
    assert broker.answers == {}


def test_a_draining_worker_takes_nothing_more():
    broker = ListBroker(delivery("t"), orphans=[delivery("o")])
    serving = worker(broker)
    serving.drain()
    serving.run()
    assert broker.answers == {}


def test_images_reach_the_model_in_their_shape():
    seen = []

    class Seeing:
        def predict_batch(self, images):
            seen.append(images)
            return [{}] * len(images)

    predict_bytes(Seeing(), CONTRACT, [GOOD, POISON])
    assert (seen[0].shape, seen[0].dtype) == ((2, 28, 168), np.uint8)
    assert seen[0][1, 27, 167] == serve_fake_model.POISON


@pytest.mark.parametrize("model", ["no_colon", ":make", "module:", "module:not a name"])
def test_a_model_of_another_form_is_refused(model, tmp_path):
    with pytest.raises(ConfigError, match="names no model factory"):
        check_model(model, str(tmp_path))


def test_a_missing_model_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nix\.onnx") as caught:
        load_service("serve_fake_model:make", str(tmp_path / "nix.onnx"))
    assert "--model-path" in caught.value.hint


@pytest.mark.parametrize("model", ["no_such_module_xyz:make", "serve_fake_model:no_such_factory"])
def test_a_factory_that_does_not_exist_is_named(model, tmp_path):
    (tmp_path / "m").write_text("good")
    with pytest.raises(ConfigError, match="no_such"):
        load_service(model, str(tmp_path / "m"))
