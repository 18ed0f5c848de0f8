# %% [markdown]
# # Lab 12: Asynchronous serving
# The web server takes the photo and gives a ticket. Somebody else reads it. Between the two lies a queue,
# and in the queue lies everything that can go wrong.
#
# ## Question
# Three times as many photos arrive as the reader can read, and in the middle a process is killed with
# `kill -9`. **Does everybody get an answer?** With the model inside the web server? With a queue between?

# %%
from scalelab import Lab

lab = Lab("12_async_serving")

# %% [markdown]
# ## What you need
# Plain Python for the tasks, the service of `scalelab.serve` for the measurement, and about 100 minutes. No
# earlier lab.
#
# A real service spreads over processes: a *gateway* that speaks HTTP, a *broker* that keeps the tasks,
# *workers* that run the model. Here you write what they decide. All memory is plain data (dicts and lists),
# and no function looks at a clock: the time is an argument, `now_s`, in seconds. So a check can let an hour
# pass in a microsecond.

# %%
import math
import secrets
import tempfile
from pathlib import Path

import numpy as np

from scalelab.classroom import Measurement, when_ready
from scalelab.classroom.figures import plot_lines


def new_desk(ttl_s=300.0):
    """Return the memory of a desk that has seen nobody: plain data."""
    return {
        "ttl_s": ttl_s,  # seconds for which an answer is kept
        "tasks": {},  # task id -> whatever you keep of a task
        "keys": {},  # idempotency key -> whatever you keep of it
    }


def new_queue(lease_s=2.0, max_attempts=3):
    """Return the memory of an empty queue: plain data. You may add what you need."""
    return {
        "lease_s": lease_s,  # a worker that was silent for so long is dead
        "max_attempts": max_attempts,  # deliveries of a task, at most
        "waiting": [],  # what no worker has in hand, oldest first
        "held": {},  # task id -> whatever you keep of a task in a worker's hands
        "alive": {},  # worker -> when it was last heard of
        "dead": [],  # ids of tasks that were given up: the dead letters
    }


# %% [markdown]
# ## Predict
# Two services with the same model get the same burst: for four seconds three times as many photos as the
# first one can read. Each photo must be *accepted* within a second. The first service has the model inside
# the web server. Of its photos, how many are answered?

# %%
lab.predict(
    "answered",
    "Share of the burst that the one-process app answers",
    unit="%",
    range=(0, 100),
)

# %% tags=["solution-only"]
lab.predict("answered", guess=40, low=10, high=70)

# %% [markdown]
# ## Build
# ### A ticket for a photo
# `POST /v1/pins` says 202, *accepted*, with a task id; `GET /v1/pins/{id}` says how it stands. The id is
# the only thing that protects an answer from strangers. And networks repeat requests: a phone that heard
# nothing sends its photo again. If it sends the same **idempotency key** with it, the photo is read once.
# (RFC 9110 for the numbers; the key as in the IETF draft *The Idempotency-Key HTTP Header Field*.)


# %% task="desk"
def submit(desk, photo, now_s, key=None):
    """Take a photo in.

    A key that belongs to a known task names that task: the same photo gets the same id, another
    photo is a mistake of the caller. Without a key each photo is a task of its own.

    Args:
        desk: as `new_desk` returns it; changed in place.
        photo: bytes.
        key: text, or None.

    Returns:
        (status, task_id): (202, id), a text of at least 16 characters that nobody can guess;
        (422, None) for a known key with another photo.
    """
    ### BEGIN SOLUTION
    task_id = desk["keys"].get(key)
    if task_id is not None and look_up(desk, task_id, now_s)[0] != 404:
        return (202, task_id) if desk["tasks"][task_id]["photo"] == photo else (422, None)
    task_id = secrets.token_hex(16)
    desk["tasks"][task_id] = {"photo": photo, "answer": None, "answered_s": None}
    if key is not None:
        desk["keys"][key] = task_id
    return 202, task_id
    ### END SOLUTION


def store(desk, task_id, answer, now_s):
    """Keep the answer to a task; the first one counts, later ones change nothing.

    Returns:
        True if this was the first; False if not, or if there is no such task.
    """
    ### BEGIN SOLUTION
    task = desk["tasks"].get(task_id)
    if task is None or task["answered_s"] is not None:
        return False
    task["answer"], task["answered_s"] = answer, now_s
    return True
    ### END SOLUTION


def look_up(desk, task_id, now_s):
    """Say how a task stands.

    Returns:
        (202, None) as long as it has no answer, however long that takes; (200, answer) until
        ttl_s seconds after the answer was stored; (404, None) then, and for an unknown id.
    """
    ### BEGIN SOLUTION
    task = desk["tasks"].get(task_id)
    if task is None:
        return 404, None
    if task["answered_s"] is None:
        return 202, None
    if now_s > task["answered_s"] + desk["ttl_s"]:
        return 404, None
    return 200, task["answer"]
    ### END SOLUTION


# %% check="desk"
lab.check("desk")

# %% [markdown]
# ### A door that can say no
# A queue that accepts everything promises what it cannot keep: at three times the capacity the wait grows
# by two seconds each second. A good service says 429, *too many requests*, early, and `Retry-After` with a
# number that was **measured**: how long until half of the places are free.


# %% task="door"
def drain_rate(finished_at_s, now_s, window_s=2.0):
    """Return answers a second over the last window_s seconds.

    Args:
        finished_at_s: when each answer was given [s], in order.

    Returns:
        Answers in (now_s - window_s, now_s], divided by window_s. [1/s]
    """
    ### BEGIN SOLUTION
    return sum(now_s - window_s < at <= now_s for at in finished_at_s) / window_s
    ### END SOLUTION


def admit(depth, limit, rate_per_s):
    """Say whether one more photo may come in.

    Args:
        depth: tasks without an answer.
        limit: how many there may be.
        rate_per_s: as drain_rate returns it.

    Returns:
        (status, retry_after_s): (202, None) if there is room; else (429, seconds), a whole
        number: until depth has fallen to half of the limit at this rate, rounded up, but 1 at
        least and 60 at most. If nothing drains, 60.
    """
    ### BEGIN SOLUTION
    if depth < limit:
        return 202, None
    if rate_per_s <= 0:
        return 429, 60
    return 429, min(60, max(1, math.ceil((depth - limit / 2) / rate_per_s)))
    ### END SOLUTION


# %% check="door"
lab.check("door")

# %% [markdown]
# ### In a worker's hands
# The worst moment is between *taken* and *answered*. If a task leaves the queue when it is taken, it dies
# with its worker. So a task stays in the queue's books until its answer is **acknowledged**. A worker
# says now and then that it lives (a *heartbeat*); if it is silent for `lease_s`, its tasks go to others.
# Not by the age of the task: a slow worker is not dead, and its task would be computed twice.
#
# And then there is the photo that *kills* its worker. It comes back, kills the next one, and so on for
# ever, with all who were in its batch. Two rules end that: a task of a dead worker comes **alone**, and
# after `max_attempts` deliveries it becomes a **dead letter**, for people to look at.


# %% task="hand"
def put(queue, task_id):
    """Queue a task that is new."""
    ### BEGIN SOLUTION
    queue["waiting"].append(task_id)
    ### END SOLUTION


def beat(queue, worker, now_s):
    """Note that a worker lives."""
    ### BEGIN SOLUTION
    queue["alive"][worker] = now_s
    ### END SOLUTION


def acknowledge(queue, task_id):
    """Strike a task off: its answer stands. It is never given out again, wherever it was."""
    ### BEGIN SOLUTION
    queue["held"].pop(task_id, None)
    if task_id in queue["waiting"]:
        queue["waiting"].remove(task_id)
    ### END SOLUTION


def take(queue, worker, count, now_s):
    """Give tasks to a worker; that it asks is a sign of life too.

    First come the tasks of workers who were silent for more than lease_s, one alone at a time,
    the one first taken first. One that was delivered max_attempts times already is not
    delivered again: its id goes to queue["dead"]. If there are none, the oldest waiting tasks.

    Args:
        worker: its name, text.
        count: tasks that it wants at most.

    Returns:
        List of (task_id, attempt), attempt 1 for the first delivery; empty if there is nothing.
    """
    ### BEGIN SOLUTION
    beat(queue, worker, now_s)
    for task_id, (holder, attempt) in list(queue["held"].items()):
        if now_s - queue["alive"][holder] <= queue["lease_s"]:
            continue
        del queue["held"][task_id]
        if attempt >= queue["max_attempts"]:
            queue["dead"].append(task_id)
            continue
        queue["held"][task_id] = worker, attempt + 1
        return [(task_id, attempt + 1)]
    taken, queue["waiting"] = queue["waiting"][:count], queue["waiting"][count:]
    queue["held"].update(dict.fromkeys(taken, (worker, 1)))
    return [(task_id, 1) for task_id in taken]
    ### END SOLUTION


# %% check="hand"
lab.check("hand")

# %% [markdown]
# ### One run for many photos
# A worker that finds sixteen photos runs the model once on all of them. Two questions. **How long to wait
# for more?** Not at all when the service is idle: a lone photo would only be late. **And if one photo makes
# the model fail?** Then the other fifteen must not fail with it. Halve the batch until the bad one stands
# alone: for one bad photo among $n$ that costs about $2\log_2 n$ further runs, not $n$.


# %% task="batch"
def wait_more_s(taken, last_batch, waited_s, max_batch=16, window_s=0.005):
    """Return how much longer a worker collects photos before it runs the model [s].

    Args:
        taken: photos in hand.
        last_batch: photos in the batch before; 0 or 1 means that the service is idle.
        waited_s: since the first of them was taken.

    Returns:
        What is left of window_s; 0 (now!) with nothing in hand, with a full batch, if the
        service is idle, or if the window is over.
    """
    ### BEGIN SOLUTION
    if taken == 0 or taken >= max_batch or last_batch <= 1:
        return 0.0
    return max(0.0, window_s - waited_s)
    ### END SOLUTION


def answer_all(predict, photos):
    """Run the model on a batch so that a bad photo fails alone.

    Args:
        predict: function, list of photos -> list of as many answers; raises if one is bad.
        photos: list of bytes, perhaps empty.

    Returns:
        List as long as photos: for each its answer, or the exception that it caused when it
        ran alone.
    """
    ### BEGIN SOLUTION
    if not photos:
        return []
    try:
        return list(predict(photos))
    except Exception as error:
        if len(photos) == 1:
            return [error]
    half = len(photos) // 2
    return answer_all(predict, photos[:half]) + answer_all(predict, photos[half:])
    ### END SOLUTION


# %% check="batch"
lab.check("batch")

# %% [markdown]
# ### In a box
# A colleague has put the worker into a container image. It runs on his laptop. It is 2 GB large, takes a
# minute to rebuild after each change of a comment, and does not stop when it is told to.

# %%
FIRST_IMAGE = """
FROM python
COPY . /app
WORKDIR /app
ENV BROKER_PASSWORD=pin560001
RUN pip install torch onnxruntime redis numpy
CMD python -m worker --model reader.onnx
"""

# %% [markdown]
# Mend it. What counts (each is a line of Docker's own documentation):
# - A base with a version, slim: `python:3.11-slim`. Tomorrow's `python` is another one.
# - Packages with versions (`onnxruntime==1.18.0`, or `-r requirements.txt`), `--no-cache-dir`, and no
#   torch: the worker runs ONNX.
# - First the requirements, then `pip install`, then the code: a layer is built again only if something
#   before it changed.
# - No secret in the image: everybody who has the image can read it.
# - `CMD` as a list. As plain text it runs under a shell; process 1 is then the shell, and does not hand
#   SIGTERM on: the worker is killed in the middle of its batch.
# - A user that is not root, and a `HEALTHCHECK`.
#
# The second function returns what `compose.yaml` holds, as a dict (compose reads JSON too, since YAML
# does): three services, `gateway`, `worker` and `broker`, the broker's image `valkey/valkey:8`.


# %% task="image"
def worker_image():
    """Return the text of the worker's Dockerfile."""
    ### BEGIN SOLUTION
    return """
FROM python:3.11-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
USER 1000:1000
HEALTHCHECK --interval=10s CMD ["python", "-m", "worker", "--is-alive"]
CMD ["python", "-m", "worker", "--model", "reader.onnx"]
"""
    ### END SOLUTION


def compose():
    """Return the compose file as a dict: {"services": {...}, "volumes": {...}}.

    - gateway: image "pins-gateway:1", the only one whose ports are published, on port 8000;
    - worker: image "pins-worker:1", two of it (deploy: replicas), at most 512m of memory each,
      restarted when it dies, and given 30 s to finish its batch when it must stop (10 s is what
      Docker gives by itself);
    - broker: keeps its data when it is killed (its command begins valkey-server, with an
      append-only file, on a named volume at /data), and says when it can serve (a healthcheck);
    - gateway and worker start when the broker is healthy, not when its container was made.
    """
    ### BEGIN SOLUTION
    after = {"broker": {"condition": "service_healthy"}}
    return {
        "services": {
            "gateway": {
                "image": "pins-gateway:1",
                "ports": ["127.0.0.1:8000:8000"],
                "restart": "unless-stopped",
                "depends_on": after,
            },
            "worker": {
                "image": "pins-worker:1",
                "restart": "unless-stopped",
                "stop_grace_period": "30s",
                "depends_on": after,
                "deploy": {"replicas": 2, "resources": {"limits": {"memory": "512m"}}},
            },
            "broker": {
                "image": "valkey/valkey:8",
                "command": ["valkey-server", "--appendonly", "yes"],
                "volumes": ["tasks:/data"],
                "healthcheck": {"test": ["CMD", "valkey-cli", "ping"], "interval": "2s"},
            },
        },
        "volumes": {"tasks": {}},
    }
    ### END SOLUTION


# %% check="image"
lab.check("image")

# %% [markdown]
# ### A drill: the answers that never came
# A colleague wrote the worker's step. All tests are green. Each time a worker dies, a few customers wait
# for ever. The broker here is a small one that can kill: at event number `kill_at` it raises `Killed`, as
# `kill -9` would end the worker there, and what was noted before stays noted.


# %%
class Killed(BaseException):
    """The worker is gone: no line of it runs any more."""


class SmallBroker:
    """Tasks, answers and acknowledgements; ends the worker before event number `kill_at`."""

    def __init__(self, photos, kill_at=None):
        self.photos, self.kill_at = dict(photos), kill_at
        self.answers, self.acknowledged, self.events = {}, [], []

    def take(self, count):
        """Return up to `count` pairs (task_id, photo) that are not acknowledged."""
        left = [item for item in self.photos.items() if item[0] not in self.acknowledged]
        self.note("take")
        return left[:count]

    def store(self, task_id, answer):
        """Keep an answer; the first one counts."""
        self.note(f"store {task_id}")
        self.answers.setdefault(task_id, answer)

    def acknowledge(self, task_id):
        """Strike a task off: it is not given out again."""
        self.note(f"acknowledge {task_id}")
        self.acknowledged.append(task_id)

    def note(self, event):
        if len(self.events) == self.kill_at:
            self.kill_at = None  # the next worker lives
            raise Killed(event)
        self.events.append(event)


def common_step(broker, predict):
    """The broken one: take a batch, read it, hand the answers in."""
    batch = broker.take(4)
    for task_id, _ in batch:
        broker.acknowledge(task_id)
    answers = predict([photo for _, photo in batch])
    for (task_id, _), answer in zip(batch, answers, strict=True):
        broker.store(task_id, answer)


def read_lengths(photos):
    """Stand in for a model: a photo's answer is its number of bytes."""
    return [len(photo) for photo in photos]


with when_ready():
    broker = SmallBroker({"a": b"1", "b": b"22", "c": b"333"})
    common_step(broker, read_lengths)
    print("nobody dies:", broker.answers, "acknowledged:", broker.acknowledged)

# %% [markdown]
# Mend it, and write the test that would have caught it: let the worker die at *every* event once. (A
# worker that does not acknowledge at all also keeps every promise, and works for ever.)


# %% task="drill"
def worker_step(broker, predict):
    """Take up to four tasks, run predict once on their photos, and hand the answers in.

    Whenever it is killed, no task may be lost; once a task is answered and acknowledged it is
    not computed again.

    Args:
        broker: with take, store and acknowledge, as SmallBroker has them.
        predict: function, list of photos -> list of answers.
    """
    ### BEGIN SOLUTION
    batch = broker.take(4)
    answers = predict([photo for _, photo in batch])
    for (task_id, _), answer in zip(batch, answers, strict=True):
        broker.store(task_id, answer)
        broker.acknowledge(task_id)
    ### END SOLUTION


def survives_any_kill(step):
    """Test a worker's step: is every task answered, wherever its first worker was killed?

    Args:
        step: function (broker, predict), like those above.

    Returns:
        True if it is, and if all tasks are struck off in the end; False if not.
    """
    ### BEGIN SOLUTION
    photos = {f"task-{number}": bytes(number) for number in range(1, 8)}
    for kill_at in range(20):
        broker = SmallBroker(photos, kill_at)
        for _ in range(6):
            try:
                step(broker, read_lengths)
            except Killed:
                continue
        is_right = broker.answers == {name: len(photo) for name, photo in photos.items()}
        if not is_right or set(broker.acknowledged) != set(photos):
            return False
    return True
    ### END SOLUTION


# %% check="drill"
lab.check("drill")

# %% [markdown]
# ## Measure
# Now the real thing: the trained reader as an ONNX file, behind two services with the same HTTP face.
# *Naive*: one process, the model inside the web server. *Decoupled*: gateway with its broker, and one
# worker. Each gets the same burst of photos, three times as many as the naive app reads in a closed loop,
# from locust on the same cores. In the middle of the second burst the only worker is killed with `kill
# -9`.

# %%
from scalelab.compress import export_onnx, onnx_session
from scalelab.core.stats import compare_paired
from scalelab.data import compose_pins
from scalelab.loadtest import Target, run_burst, run_closed
from scalelab.serve import running_stack
from scalelab.train import trained_reader

BURST_S, FACTOR, PATIENCE_S = 4.0, 3.0, 1.0
HEADERS = {"Content-Type": "application/octet-stream"}
images = compose_pins(64, "test", seed=9).images
bodies = tuple(image.tobytes() for image in images)
folder = tempfile.TemporaryDirectory(prefix="scalelab-lab12-", ignore_cleanup_errors=True)
model_path = Path(folder.name) / "reader.onnx"
bursts, rates = {}, {}


def closed_rate(url, path):
    """Return answers a second to 32 users, each of whom waits for its answer: the capacity."""
    return run_closed(Target(url, path, bodies, HEADERS), 32, 2.0).throughput_per_s


def answered_by(burst, seconds):
    """Return the share of a burst's photos that were answered within so many seconds."""
    in_time = sum(count for value, count in burst.latency.buckets if value <= seconds)
    return in_time / burst.offered


# %%
def run_bursts():
    """Burst on both services; the claim is about what was promised and what was kept."""
    export_onnx(trained_reader(), model_path)
    with running_stack(model_path=model_path, naive=True) as app:
        rates["naive"] = closed_rate(app.url, "/v1/pins")
        photos = Target(app.url, "/v1/pins", bodies, HEADERS)
        bursts["naive"] = run_burst(photos, FACTOR * rates["naive"], BURST_S, PATIENCE_S)
    killed = []
    with running_stack(model_path=model_path, workers=1) as stack:
        rates["decoupled"] = closed_rate(stack.url, "/v1/pins?wait_s=5")
        photos = Target(stack.url, "/v1/pins", bodies, HEADERS)
        bursts["decoupled"] = run_burst(
            photos,
            FACTOR * rates["naive"],
            BURST_S,
            PATIENCE_S,
            during=(BURST_S / 2, lambda: killed.append(stack.kill_worker())),
        )
    naive, decoupled = bursts["naive"], bursts["decoupled"]
    times = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20)
    table = [
        {
            "seconds": seconds,
            "model in the web server": round(100 * answered_by(naive, seconds), 1),
            "decoupled, worker killed": round(100 * answered_by(decoupled, seconds), 1),
        }
        for seconds in times
    ]
    is_kept = bool(killed) and decoupled.lost == 0 == decoupled.answered_with_error
    took_all = decoupled.accepted >= 0.98 * decoupled.offered
    is_apart = naive.answered_share < 0.7
    figure = plot_lines(
        table,
        "seconds",
        [name for name in table[0] if name != "seconds"],
        title="Photos of the burst that were answered",
        x_title="seconds after the photo was meant to leave",
        y_title="answered, %",
    )
    figure.update_xaxes(
        type="log", tickvals=[0.01, 0.1, 1, 10], ticktext=["0.01", "0.1", "1", "10"]
    )
    figure.update_yaxes(range=[0, 104])
    return Measurement(
        100 * naive.answered_share,
        unit="%",
        verdict="FAIL" if not is_kept else "PASS" if took_all and is_apart else "INCONCLUSIVE",
        detail=f"{naive.offered:,} and {decoupled.offered:,} photos at "
        f"{FACTOR * rates['naive']:,.0f} a second. In the web server: {naive.answered:,} "
        f"answered, {naive.failed:,} timed out or broke. "
        f"Decoupled: {decoupled.accepted:,} accepted, {decoupled.answered:,} answered, "
        f"{decoupled.lost:,} lost, workers killed: {len(killed)}.",
        figure=figure,
        table=table,
        alt="Two lines over the time since a photo was meant to leave, 0.01 to 20 seconds. "
        f"The model in the web server ends at {table[-1]['model in the web server']} %, "
        "decoupled at "
        f"{table[-1]['decoupled, worker killed']} %.",
    )


measured = lab.measure("answered", run_bursts, unit="%")
measured

# %% [markdown]
# Where the line of the decoupled service is flat, photos waited for the new worker: nobody noticed but by the
# clock.
#
# **What does a batch buy?** Count first: 200 photos at once, and how many runs of the model they took.
# (Each answer says how many photos ran with it: a photo in a batch of eight is an eighth of a run.) Then
# time: one run of sixteen against sixteen runs of one, in turn.

# %%
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen


def ask(url, body=None):
    """Return what the service says, as a dict: POST with a body, else GET."""
    with urlopen(Request(url, body, HEADERS if body else {}), timeout=30) as reply:
        return json.load(reply)


with when_ready():
    measured.value
    with (
        running_stack(model_path=model_path, workers=1) as stack,
        ThreadPoolExecutor(8) as pool,
    ):
        photos = (bodies * 4)[:200]
        tickets = list(pool.map(lambda body: ask(f"{stack.url}/v1/pins", body), photos))
        said = [
            ask(f"{stack.url}/v1/pins/{ticket['task_id']}?wait_s=20") for ticket in tickets
        ]
    runs = np.sum([1 / answer["batch"] for answer in said])
    print(f"{len(said)} photos took {runs:.0f} runs of the model")
    session = onnx_session(model_path)
    for size in (4, 16):
        paired = compare_paired(
            lambda size=size: [session.predict(image[None]) for image in images[:size]],
            lambda size=size: session.predict(images[:size]),
            pairs=9,
            min_block_s=0.05,
        )
        print(f"{size:2} photos in one run: {paired.ratio} times as many a second (9 pairs)")

# %% [markdown]
# ## Explain
# A model for the back of an envelope: water in a tub. Photos come at rate $\lambda$ for $T$ seconds and
# leave at rate $\mu$. After the burst $(\lambda - \mu)\,T$ are left; the last answer comes at $\lambda
# T/\mu$, so its photo waited
#
# $$w = T \left(\frac{\lambda}{\mu} - 1\right) \quad \text{if } \lambda > \mu, \text{ else almost nothing.}$$
#
# For $\mu$ take what each service answered in its closed loop. The naive app queues too, in its sockets,
# but its clients have a patience of $p$ seconds. Who arrives $t$ seconds into the burst finds
# $(\lambda - \mu)\,t$ photos before it, and waits $t\,(\lambda/\mu - 1)$. That passes $p$ at
#
# $$t^* = \frac{p}{\lambda/\mu - 1}, \qquad \text{so a share of } \frac{t^*}{T} \text{ is answered.}$$
#
# All who come later give up; and the app, which does not know, reads their photos all the same.

# %%
with when_ready():
    measured.value
    offered_rate = FACTOR * rates["naive"]
    for name, burst in bursts.items():
        over = max(0.0, offered_rate / rates[name] - 1)
        print(
            f"{name}: {rates[name]:,.0f} answers a second in a closed loop, "
            f"{offered_rate:,.0f} came"
        )
        if name == "naive":
            share = min(1.0, PATIENCE_S / over / BURST_S) if over else 1.0
            print(f"  answered: model {share:.0%}, measured {burst.answered_share:.0%}")
        else:
            wait_s, slowest_s = BURST_S * over, burst.latency.percentile(99)
            print(
                f"  the last waited: model {wait_s:.1f} s, "
                f"measured {slowest_s:.1f} s (99th percentile)"
            )

# %% [markdown]
# Account for what the model leaves over:
# - The worker was killed. What does that cost, in seconds: to notice, to start a new one, to load the
#   model? Where is it in the numbers?
# - How many photos did the naive app read in the four seconds, and for how many of them did somebody still
#   wait?
# - Locust, gateway and worker share the cores here. Whose rate falls in the burst, and why?
#
# No machine grades this: your words are kept, and an instructor may read them.

# %%
lab.explain("residual", "")

# %% tags=["solution-only"]
lab.explain(
    "residual",
    "The kill costs the time to notice a closed connection (nothing), to start Python, "
    "load ONNX Runtime and warm up (a second or more), in which mu is zero: the last "
    "photo waits that much longer. The naive app reads a third of the photos, but cannot "
    "know whose client left: most of its answers nobody reads. In the burst locust sends "
    "three times as much as in the closed loop, and takes its share of the two cores from "
    "gateway and worker: mu is smaller than measured alone. Batches work against that: "
    "the longer the queue, the fuller they are.",
)

# %% [markdown]
# <details><summary>When yours is written: what a good answer names</summary>
#
# - A number of seconds for the kill, and that the queue waits meanwhile, nothing more.
# - Work for clients who are gone: it costs capacity exactly when there is none.
# - That generator and service share a machine here, so the measured capacity is a lower bound.
#
# </details>

# %% [markdown]
# ## Cost
# A million photos at the rate that each service holds, on a rented machine of two cores.

# %%
from scalelab.cost import cost_per_million

with when_ready():
    measured.value
    for name, rate in rates.items():
        lab.cost(cost_per_million(rate, currency="INR"), what=f"a million photos, {name}")

# %% [markdown]
# **Take with you:** never the model in the web server's process; 202 and an id nobody can guess; one key,
# one task; acknowledge *after* the answer stands; a dead worker's tasks alone, and not for ever; say 429
# early, with a measured number. The broker here is the one of `scalelab serve up`; with `--broker
# redis://...` it is a server of its own, and gateways and workers may be many.

# %%
lab.progress()
