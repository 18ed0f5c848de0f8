"""What lab 12 does beside the learner's code: it plays scripts on desks and queues, and reports what it saw.

Nothing here knows what is right; the checks work that out.
"""

from __future__ import annotations

NOBODYS_ID = "0" * 32


def play_desk(answers, *, script, ttl_s):
    """Play steps on a new desk; report what each returned, and the names of errors about unknown ids.

    A step is (what, name, now_s, more): ``submit`` gives the id a name by which later steps call it; the
    name ``nobody`` stands for an id that was never given.
    """
    desk = answers.shared({"ttl_s": ttl_s, "tasks": {}, "keys": {}})
    ids, log = {"nobody": NOBODYS_ID}, []
    for what, name, now_s, more in script:
        if what == "submit":
            photo, *key = more
            said = answers["submit"](desk, photo, now_s, *key)
            if isinstance(said, tuple | list) and len(said) == 2:
                ids[name] = said[1]
        else:
            try:
                said = answers[what](desk, ids.get(name), *more, now_s)
            except KeyError:
                if name != "nobody":
                    raise
                said = {"raised": "KeyError"}
        log.append(said)
    return log


def play_queue(answers, *, script, lease_s, max_attempts):
    """Play steps on a new queue; report what each `take` returned, the dead letters, and a KeyError.

    A step is (what, task id or worker, now_s, count).
    """
    queue = {"lease_s": lease_s, "max_attempts": max_attempts}
    queue = answers.shared({**queue, "waiting": [], "held": {}, "alive": {}, "dead": []})
    taken, raised = [], ""
    for what, name, now_s, count in script:
        if what == "put":
            answers["put"](queue, name)
        elif what == "beat":
            answers["beat"](queue, name, now_s)
        elif what == "take":
            taken.append(answers["take"](queue, name, count, now_s))
        else:
            try:
                answers["acknowledge"](queue, name)
            except (KeyError, ValueError) as error:
                raised = type(error).__name__
    return {"taken": taken, "dead": queue["dead"], "raised": raised}


def try_batch(answers, *, photos, bad):
    """Report what came for each photo, and how many photos each run of the model had."""
    runs = []

    def predict(batch):
        runs.append(len(batch))
        for photo in batch:
            if photo in bad:
                raise ValueError(photo.hex())
        return [photo.hex() for photo in batch]

    try:
        found = answers["answer_all"](predict, photos)
    except ValueError:
        return {"escaped": True, "found": None, "runs": runs}
    if isinstance(found, tuple | list):
        found = [{"error": str(one)} if isinstance(one, Exception) else {"answer": one} for one in found]
    return {"escaped": False, "found": found, "runs": runs}


def try_step(answers, *, photos, kill_at):
    """Report what three workers and their successors left, the first killed before event `kill_at`."""
    broker, batches = _Broker(photos, kill_at), []
    done_again = []

    def predict(batch):
        batches.append(len(batch))
        done_again.extend(photo for photo in batch if photo in broker.done())
        return [photo.hex() for photo in batch]

    for _ in range(len(photos) + 2):
        try:
            answers["worker_step"](broker, predict)
        except _Killed:
            continue
    return {
        "answers": broker.answers,
        "acknowledged": broker.acknowledged,
        "batches": batches,
        "done_again": len(done_again),
        "unknown": broker.unknown,
    }


def try_tests(answers, *, names):
    """Report what the learner's test says of worker steps, right ones and broken ones."""
    return [answers["survives_any_kill"](_STEPS[name]) for name in names]


class _Killed(BaseException):
    """The worker is gone."""


class _Broker:
    """A broker with the face of the notebook's."""

    def __init__(self, photos, kill_at):
        self.photos, self.kill_at, self.count = dict(photos), kill_at, 0
        self.answers, self.acknowledged, self.unknown = {}, [], 0

    def done(self):
        """Return the photos whose tasks are answered and struck off."""
        return [self.photos[name] for name in self.acknowledged if name in self.answers]

    def take(self, count):
        left = [item for item in self.photos.items() if item[0] not in self.acknowledged]
        self._note()
        return left[:count]

    def store(self, task_id, answer):
        self._note()
        self.unknown += task_id not in self.photos
        self.answers.setdefault(task_id, answer)

    def acknowledge(self, task_id):
        self._note()
        self.unknown += task_id not in self.photos
        self.acknowledged.append(task_id)

    def _note(self):
        if self.count == self.kill_at:
            self.kill_at = None
            raise _Killed
        self.count += 1


def _pairs(broker, predict):
    batch = broker.take(4)
    found = predict([photo for _, photo in batch])
    return [(task_id, answer) for (task_id, _), answer in zip(batch, found, strict=True)]


def _each(broker, predict):
    for task_id, answer in _pairs(broker, predict):
        broker.store(task_id, answer)
        broker.acknowledge(task_id)


def _all_then_all(broker, predict):
    pairs = _pairs(broker, predict)
    for task_id, answer in pairs:
        broker.store(task_id, answer)
    for task_id, _ in pairs:
        broker.acknowledge(task_id)


def _acknowledges_first(broker, predict):
    batch = broker.take(4)
    for task_id, _ in batch:
        broker.acknowledge(task_id)
    found = predict([photo for _, photo in batch])
    for (task_id, _), answer in zip(batch, found, strict=True):
        broker.store(task_id, answer)


def _acknowledges_just_before(broker, predict):
    for task_id, answer in _pairs(broker, predict):
        broker.acknowledge(task_id)
        broker.store(task_id, answer)


def _never_acknowledges(broker, predict):
    left = [pair for pair in broker.take(99) if pair[0] not in broker.answers][:4]
    found = predict([photo for _, photo in left])
    for (task_id, _), answer in zip(left, found, strict=True):
        broker.store(task_id, answer)


def _forgets_the_last(broker, predict):
    pairs = _pairs(broker, predict)
    for task_id, answer in pairs[:3]:
        broker.store(task_id, answer)
    for task_id, _ in pairs:
        broker.acknowledge(task_id)


_STEPS = {
    "each": _each,
    "all then all": _all_then_all,
    "first": _acknowledges_first,
    "just before": _acknowledges_just_before,
    "never": _never_acknowledges,
    "last": _forgets_the_last,
}
