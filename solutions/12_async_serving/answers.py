"""Trial answers of lab 12: right in several styles, wrong in the ways that are often seen."""

from scalelab.grading.trials import Task

DESK = """
def submit(desk, photo, now_s, key=None):
    task_id = desk["keys"].get(key)
    if task_id is not None and look_up(desk, task_id, now_s)[0] != 404:
        return (202, task_id) if desk["tasks"][task_id]["photo"] == photo else (422, None)
    task_id = secrets.token_hex(16)
    desk["tasks"][task_id] = {"photo": photo, "answer": None, "answered_s": None, "at": now_s}
    if key is not None:
        desk["keys"][key] = task_id
    return 202, task_id

def store(desk, task_id, answer, now_s):
    task = desk["tasks"].get(task_id)
    if task is None or task["answered_s"] is not None:
        return False
    task["answer"], task["answered_s"] = answer, now_s
    return True

def look_up(desk, task_id, now_s):
    task = desk["tasks"].get(task_id)
    if task is None:
        return 404, None
    if task["answered_s"] is None:
        return 202, None
    if now_s > task["answered_s"] + desk["ttl_s"]:
        return 404, None
    return 200, task["answer"]
"""


def desk(*changes: str) -> str:
    source = DESK
    for change, to in zip(changes[::2], changes[1::2], strict=True):
        assert change in source, change
        source = source.replace(change, to)
    return source


AGAIN = "if task_id is not None and look_up(desk, task_id, now_s)[0] != 404:"
SAME = 'return (202, task_id) if desk["tasks"][task_id]["photo"] == photo else (422, None)'
FIRST = 'if task is None or task["answered_s"] is not None:'

DESK_TASK = Task(
    right=[
        DESK,
        """
import uuid

def _forget(desk, now_s):
    late = [i for i, (_, said) in desk["tasks"].items() if said and now_s - said[1] > desk["ttl_s"]]
    for i in late:
        del desk["tasks"][i]
    desk["keys"] = {k: i for k, i in desk["keys"].items() if i in desk["tasks"]}

def submit(desk, photo, now_s, key=None):
    _forget(desk, now_s)
    if key in desk["keys"]:
        known = desk["keys"][key]
        if desk["tasks"][known][0] != photo:
            return 422, None
        return 202, known
    new = str(uuid.uuid4())
    desk["tasks"][new] = [photo, None]
    if key is not None:
        desk["keys"][key] = new
    return 202, new

def store(desk, task_id, answer, now_s):
    _forget(desk, now_s)
    if task_id not in desk["tasks"] or desk["tasks"][task_id][1] is not None:
        return False
    desk["tasks"][task_id][1] = (answer, now_s)
    return True

def look_up(desk, task_id, now_s):
    _forget(desk, now_s)
    if task_id not in desk["tasks"]:
        return 404, None
    said = desk["tasks"][task_id][1]
    return (202, None) if said is None else (200, said[0])
""",
        """
import os
import hashlib

def submit(desk, photo, now_s, key=None):
    digest = hashlib.sha256(photo).hexdigest()
    if key is not None and key in desk["keys"]:
        old, used_for = desk["keys"][key]
        if look_up(desk, old, now_s)[0] in (200, 202):
            if used_for == digest:
                return (202, old)
            return (422, None)
    i = os.urandom(12).hex()
    desk["tasks"][i] = ()
    if key is not None:
        desk["keys"][key] = (i, digest)
    return (202, i)

def store(desk, task_id, answer, now_s):
    if desk["tasks"].get(task_id, "unknown") != ():
        return False
    desk["tasks"][task_id] = (answer, now_s + desk["ttl_s"])
    return True

def look_up(desk, task_id, now_s):
    try:
        answer, until = desk["tasks"][task_id]
    except KeyError:
        return [404, None]
    except ValueError:
        return [202, None]
    return [404, None] if now_s >= until else [200, answer]
""",
    ],
    wrong={
        "not-a-pair": desk("return 202, task_id", "return task_id"),
        "pair-swapped": desk("return 202, task_id", "return task_id, 202"),
        "wrong-status": desk("return 202, task_id", "return 201, task_id"),
        "id-no-text": desk("secrets.token_hex(16)", "secrets.token_bytes(16)"),
        "short-id": desk("secrets.token_hex(16)", "secrets.token_hex(4)"),
        "guessable-id": desk("secrets.token_hex(16)", "f\"{len(desk['tasks']):016}\""),
        "same-photo-merged": desk("secrets.token_hex(16)", "photo.hex()"),
        "key-ignored": desk(AGAIN, "if False:"),
        "key-hides-photo": desk(SAME, "return 202, task_id"),
        "key-too-short": desk(
            AGAIN, "if task_id is not None and look_up(desk, task_id, now_s)[0] == 202:"
        ),
        "key-outlives-task": desk(AGAIN, "if task_id is not None:"),
        "unknown-crashes": desk(
            'task = desk["tasks"].get(task_id)\n    if task is None:',
            'task = desk["tasks"][task_id]\n    if task is None:',
        ),
        "unknown-found": desk(
            '        return 404, None\n    if task["answered_s"] is None:',
            '        return 202, None\n    if task["answered_s"] is None:',
        ),
        "waiting-expires": desk(
            "        return 202, None\n    if now_s >",
            '        late = now_s > task["at"] + desk["ttl_s"]\n        return (404 if late else 202), None\n'
            "    if now_s >",
        ),
        "ttl-from-submit": desk('now_s > task["answered_s"]', 'now_s > task["at"]'),
        "last-answer-wins": desk(FIRST, "if task is None:"),
        "answer-lost": desk('return 200, task["answer"]', 'return 200, task["photo"]'),
        "store-says-nothing": desk("now_s\n    return True", "now_s\n    return None"),
        "answers-stay": desk('if now_s > task["answered_s"] + desk["ttl_s"]:', "if False:"),
        "empty-answer": desk('if task["answered_s"] is None:', 'if not task["answer"]:'),
    },
    crashing="""
def submit(desk, photo, now_s, key=None):
    desk["tasks"].append(photo)
    return 202, "0" * 32

def store(desk, task_id, answer, now_s):
    return True

def look_up(desk, task_id, now_s):
    return 202, None
""",
)

RATE = """
def drain_rate(finished_at_s, now_s, window_s=2.0):
    return sum(now_s - window_s < at <= now_s for at in finished_at_s) / window_s
"""
ADMIT = """
def admit(depth, limit, rate_per_s):
    if depth < limit:
        return 202, None
    if rate_per_s <= 0:
        return 429, 60
    return 429, min(60, max(1, math.ceil((depth - limit / 2) / rate_per_s)))
"""


def rate(body: str) -> str:
    return f"\ndef drain_rate(finished_at_s, now_s, window_s=2.0):\n    {body}\n" + ADMIT


def admit(change: str, to: str) -> str:
    assert change in ADMIT
    return RATE + ADMIT.replace(change, to)


DOOR_TASK = Task(
    right=[
        RATE + ADMIT,
        """
def drain_rate(finished_at_s, now_s, window_s=2.0):
    at = np.asarray(finished_at_s, dtype=float)
    return np.count_nonzero((at > now_s - window_s) & (at <= now_s)) / window_s

def admit(depth, limit, rate_per_s):
    if depth >= limit:
        over = depth - limit / 2
        seconds = -(-over // rate_per_s) if rate_per_s > 0 else 60
        return [429, int(np.clip(seconds, 1, 60))]
    return [202, None]
""",
        """
import bisect

def drain_rate(finished_at_s, now_s, window_s=2.0):
    first = bisect.bisect_right(finished_at_s, now_s - window_s)
    last = bisect.bisect_right(finished_at_s, now_s)
    return (last - first) / window_s

def admit(depth, limit, rate_per_s):
    if depth < limit:
        return (202, None)
    for seconds in range(1, 60):
        if depth - seconds * rate_per_s <= limit / 2:
            return (429, seconds)
    return (429, 60)
""",
    ],
    wrong={
        "ever-counted": rate("return len(finished_at_s) / window_s"),
        "count-not-rate": rate(
            "return float(sum(now_s - window_s < at <= now_s for at in finished_at_s))"
        ),
        "rate-of-all": rate("return len(finished_at_s) / now_s"),
        "gaps-counted": rate(
            "return (sum(now_s - window_s < at <= now_s for at in finished_at_s) - 1) / window_s"
        ),
        "future-counted": rate(
            "return sum(now_s - window_s < at for at in finished_at_s) / window_s"
        ),
        "window-ignored": rate(
            "return sum(now_s - 2.0 < at <= now_s for at in finished_at_s) / 2.0"
        ),
        "wrong-rate": rate(
            "return 1.0 + sum(now_s - window_s < at <= now_s for at in finished_at_s) / window_s"
        ),
        "not-a-pair": admit("return 202, None", "return 202"),
        "too-early-no": admit("depth < limit", "depth < limit / 2"),
        "waits-for-nothing": admit("202, None", "202, 0"),
        "one-too-many": admit("depth < limit", "depth <= limit"),
        "wrong-status": admit("429, min", "503, min"),
        "not-whole": admit(
            "math.ceil((depth - limit / 2) / rate_per_s)", "(depth - limit / 2) / rate_per_s"
        ),
        "whole-queue": admit("(depth - limit / 2)", "depth"),
        "comes-too-early": admit("math.ceil(", "math.floor("),
        "wrong-wait": admit("math.ceil(", "2 + math.ceil("),
        "without-bounds": admit(
            "min(60, max(1, math.ceil((depth - limit / 2) / rate_per_s)))",
            "math.ceil((depth - limit / 2) / rate_per_s)",
        ),
        "nothing-drains": admit("if rate_per_s <= 0:\n        return 429, 60\n    ", ""),
    },
    crashing="""
def drain_rate(finished_at_s, now_s, window_s=2.0):
    return finished_at_s.count(now_s > 0) / window_s + finished_at_s["last"]

def admit(depth, limit, rate_per_s):
    return 202, None
""",
)

HAND = """
def put(queue, task_id):
    queue["waiting"].append(task_id)

def beat(queue, worker, now_s):
    queue["alive"][worker] = now_s

def acknowledge(queue, task_id):
    queue["held"].pop(task_id, None)
    if task_id in queue["waiting"]:
        queue["waiting"].remove(task_id)

def take(queue, worker, count, now_s):
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
"""


def hand(*changes: str) -> str:
    source = HAND
    for change, to in zip(changes[::2], changes[1::2], strict=True):
        assert change in source, change
        source = source.replace(change, to)
    return source


ORPHAN = '        queue["held"][task_id] = worker, attempt + 1\n        return [(task_id, attempt + 1)]\n'
HOLD = 'queue["held"].update(dict.fromkeys(taken, (worker, 1)))'
SILENT = 'if now_s - queue["alive"][holder] <= queue["lease_s"]:'
LATER = """    found = []
    for task_id, (holder, attempt) in list(queue["held"].items()):
        if now_s - queue["alive"][holder] > queue["lease_s"]:
            del queue["held"][task_id]
            if attempt >= queue["max_attempts"]:
                queue["dead"].append(task_id)
            else:
                found.append((task_id, attempt + 1))
"""
HEAD = HAND[: HAND.index("    for task_id, (holder")]

HAND_TASK = Task(
    right=[
        HAND,
        """
def put(queue, task_id):
    queue["waiting"].append({"id": task_id, "attempts": 0})

def beat(queue, worker, now_s):
    queue["alive"][worker] = now_s

def acknowledge(queue, task_id):
    queue["waiting"] = [task for task in queue["waiting"] if task["id"] != task_id]
    queue["held"] = {i: task for i, task in queue["held"].items() if i != task_id}

def _give(queue, worker, task):
    task["attempts"] += 1
    task["worker"] = worker
    queue["held"].pop(task["id"], None)
    queue["held"][task["id"]] = task
    return task["id"], task["attempts"]

def take(queue, worker, count, now_s):
    beat(queue, worker, now_s)
    silent = {w for w, last in queue["alive"].items() if now_s - last > queue["lease_s"]}
    orphans = [task for task in queue["held"].values() if task["worker"] in silent]
    for task in orphans:
        if task["attempts"] < queue["max_attempts"]:
            return [_give(queue, worker, task)]
        del queue["held"][task["id"]]
        queue["dead"].append(task["id"])
    given = []
    while queue["waiting"] and len(given) < count:
        given.append(_give(queue, worker, queue["waiting"].pop(0)))
    return given
""",
        """
from collections import deque

def put(queue, task_id):
    queue.setdefault("line", deque()).append(task_id)

def beat(queue, worker, now_s):
    queue["alive"].update({worker: now_s})

def acknowledge(queue, task_id):
    queue["held"].pop(task_id, None)

def take(queue, worker, count, now_s):
    beat(queue, worker, now_s)
    orphan = next(
        (
            (i, n)
            for i, (w, n) in queue["held"].items()
            if queue["alive"][w] < now_s - queue["lease_s"]
        ),
        None,
    )
    if orphan is None:
        line = queue.get("line", deque())
        taken = [line.popleft() for _ in range(min(count, len(line)))]
        for i in taken:
            queue["held"][i] = [worker, 1]
        return tuple((i, 1) for i in taken)
    i, n = orphan
    del queue["held"][i]
    if n == queue["max_attempts"]:
        queue["dead"] += [i]
        return take(queue, worker, count, now_s)
    queue["held"][i] = [worker, n + 1]
    return ((i, n + 1),)
""",
    ],
    wrong={
        "no-attempt": hand("return [(task_id, 1) for task_id in taken]", "return taken"),
        "too-many": hand(
            'queue["waiting"][:count], queue["waiting"][count:]', 'queue["waiting"], []'
        ),
        "given-twice": hand(
            'taken, queue["waiting"] = queue["waiting"][:count], queue["waiting"][count:]',
            'taken = queue["waiting"][:count]',
        ),
        "not-given": hand(
            'queue["waiting"][:count], queue["waiting"][count:]',
            'queue["waiting"][:1], queue["waiting"][count:]',
        ),
        "not-in-order": hand(
            'queue["waiting"].append(task_id)', 'queue["waiting"].insert(0, task_id)'
        ),
        "first-is-one": hand("(task_id, 1) for", "(task_id, 0) for"),
        "slow-is-not-dead": hand(
            HOLD,
            HOLD.replace("(worker, 1)", "(worker + str(now_s), 1)")
            + '\n    queue["alive"][worker + str(now_s)] = now_s',
        ),
        "taking-is-no-sign": hand(
            "    beat(queue, worker, now_s)\n",
            '    queue["alive"].setdefault(worker, now_s)\n',
            "if now_s - queue",
            "if holder == worker or now_s - queue",
        ),
        "too-early": hand(
            '<= queue["lease_s"]',
            '<= 0.5 * queue["lease_s"]',
            "if now_s - queue",
            "if holder == worker or now_s - queue",
        ),
        "lost-with-worker": hand(HOLD, "pass"),
        "orphans-together": HEAD
        + LATER
        + """    if not found:
        found = [(task_id, 1) for task_id in queue["waiting"][:count]]
        queue["waiting"] = queue["waiting"][count:]
    queue["held"].update({i: (worker, n) for i, n in found})
    return found
""",
        "orphans-last": HEAD
        + LATER.replace(
            "found.append((task_id, attempt + 1))",
            'queue["waiting"].append(task_id)\n                queue.setdefault("n", {})[task_id] = attempt',
        )
        + """    found = [(i, queue.get("n", {}).get(i, 0) + 1) for i in queue["waiting"][:1]]
    queue["waiting"] = queue["waiting"][1:]
    again = queue.get("n", {})
    while len(found) < count and queue["waiting"] and found[-1][1] == 1:
        if queue["waiting"][0] in again:
            break
        found.append((queue["waiting"].pop(0), 1))
    queue["held"].update({i: (worker, n) for i, n in found})
    return found
""",
        "attempts-forgotten": hand("return [(task_id, attempt + 1)]", "return [(task_id, 1)]"),
        "acknowledged-runs-again": hand('    queue["held"].pop(task_id, None)\n', ""),
        "late-answer-runs-again": hand(
            '    queue["held"].pop(task_id, None)\n',
            '    if queue["held"].get(task_id, ("", 9))[1] == 1:\n        del queue["held"][task_id]\n',
        ),
        "second-acknowledge": hand(
            'queue["held"].pop(task_id, None)\n', 'queue["held"].pop(task_id)\n'
        ),
        "no-dead-letters": hand('if attempt >= queue["max_attempts"]:', "if False:"),
        "dies-early": hand(
            'attempt >= queue["max_attempts"]', 'attempt + 1 >= queue["max_attempts"]'
        ),
        "empty-handed": hand(
            'queue["dead"].append(task_id)\n            continue',
            'queue["dead"].append(task_id)\n            return []',
        ),
        "dead-not-kept": hand('            queue["dead"].append(task_id)\n', ""),
    },
    crashing="""
def put(queue, task_id):
    queue["waiting"].push(task_id)

def beat(queue, worker, now_s):
    queue["alive"][worker] = now_s

def acknowledge(queue, task_id):
    pass

def take(queue, worker, count, now_s):
    return []
""",
)

WAIT = """
def wait_more_s(taken, last_batch, waited_s, max_batch=16, window_s=0.005):
    if taken == 0 or taken >= max_batch or last_batch <= 1:
        return 0.0
    return max(0.0, window_s - waited_s)
"""
APART = """
def answer_all(predict, photos):
    if not photos:
        return []
    try:
        return list(predict(photos))
    except Exception as error:
        if len(photos) == 1:
            return [error]
    half = len(photos) // 2
    return answer_all(predict, photos[:half]) + answer_all(predict, photos[half:])
"""


def wait(change: str, to: str) -> str:
    assert change in WAIT
    return WAIT.replace(change, to) + APART


def apart(body: str) -> str:
    return WAIT + "\ndef answer_all(predict, photos):\n" + body


BATCH_TASK = Task(
    right=[
        WAIT + APART,
        """
def wait_more_s(taken, last_batch, waited_s, max_batch=16, window_s=0.005):
    is_busy = last_batch > 1
    is_open = 0 < taken < max_batch
    return (window_s - waited_s) * (is_busy and is_open and waited_s < window_s)

def answer_all(predict, photos):
    answers = [None] * len(photos)
    parts = [(0, len(photos))] if photos else []
    while parts:
        low, high = parts.pop()
        try:
            answers[low:high] = predict(photos[low:high])
        except Exception as error:
            if high - low == 1:
                answers[low] = error
            else:
                middle = (low + high) // 2
                parts += [(low, middle), (middle, high)]
    return answers
""",
        """
def wait_more_s(taken, last_batch, waited_s, max_batch=16, window_s=0.005):
    left = float(np.clip(window_s - waited_s, 0, None))
    if not taken:
        return 0
    if last_batch in (0, 1):
        return 0
    return left if taken < max_batch else 0

def answer_all(predict, photos):
    try:
        return predict(photos) if photos else []
    except Exception as problem:
        middle = len(photos) // 2
        if not middle:
            return (problem,)
        left, right = (answer_all(predict, part) for part in (photos[:middle], photos[middle:]))
        return (*left, *right)
""",
    ],
    wrong={
        "waits-when-idle": wait(" or last_batch <= 1", ""),
        "full-waits": wait(" or taken >= max_batch", ""),
        "waits-for-nobody": wait("taken == 0 or ", ""),
        "waits-below-zero": wait("max(0.0, window_s - waited_s)", "window_s - waited_s"),
        "window-restarts": wait(
            "max(0.0, window_s - waited_s)", "window_s if waited_s < window_s else 0.0"
        ),
        "never-waits": wait("max(0.0, window_s - waited_s)", "0.0"),
        "exception-escapes": apart("    return predict(photos)\n"),
        "answers-missing": apart(
            APART.split("\n", 2)[2].replace("return [error]", "return []")
        ),
        "neighbours-fail": apart(
            "    try:\n        return predict(photos)\n    except Exception as error:\n"
            "        return [error] * len(photos)\n"
        ),
        "order-lost": apart(
            APART.split("\n", 2)[2]
            .replace(
                "answer_all(predict, photos[:half]) + answer_all(predict, photos[half:])",
                "answer_all(predict, photos[half:]) + answer_all(predict, photos[:half])",
            )
            .replace("list(predict(photos))", "list(predict(photos))[::-1]")
        ),
        "no-exception-kept": apart(
            APART.split("\n", 2)[2].replace("return [error]", "return [None]")
        ),
        "anothers-exception": apart(
            APART.split("\n", 2)[2].replace(
                "return [error]", "return [ValueError('bad photo')]"
            )
        ),
        "one-by-one": apart(
            "    answers = []\n    for photo in photos:\n        try:\n"
            "            answers += predict([photo])\n        except Exception as error:\n"
            "            answers.append(error)\n    return answers\n"
        ),
        "too-many-runs": apart(
            "    try:\n        return predict(photos)\n    except Exception:\n        pass\n"
            "    answers = []\n    for photo in photos:\n        try:\n"
            "            answers += predict([photo])\n        except Exception as error:\n"
            "            answers.append(error)\n    return answers\n"
        ),
    },
    crashing="""
def wait_more_s(taken, last_batch, waited_s, max_batch=16, window_s=0.005):
    return max(window_s - waited_s, taken.size)

def answer_all(predict, photos):
    return predict(photos.tolist())
""",
)

IMAGE = '''
def worker_image():
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
'''
COMPOSE = """
def compose():
    after = {"broker": {"condition": "service_healthy"}}
    limits = {"memory": "512m"}
    gateway = {"image": "pins-gateway:1", "ports": ["8000:8000"], "depends_on": after}
    worker = {
        "image": "pins-worker:1", "restart": "always", "stop_grace_period": "30s",
        "depends_on": after, "deploy": {"replicas": 2, "resources": {"limits": limits}},
    }
    broker = {
        "image": "valkey/valkey:8", "command": ["valkey-server", "--appendonly", "yes"],
        "volumes": ["tasks:/data"], "healthcheck": {"test": ["CMD", "valkey-cli", "ping"]},
    }
    services = {"gateway": gateway, "worker": worker, "broker": broker}
    return {"services": services, "volumes": {"tasks": {}}}
"""


def image(change: str, to: str) -> str:
    assert change in IMAGE
    return IMAGE.replace(change, to) + COMPOSE


def compose(change: str, to: str) -> str:
    assert change in COMPOSE
    return IMAGE + COMPOSE.replace(change, to)


IMAGE_TASK = Task(
    right=[
        IMAGE + COMPOSE,
        """
def worker_image():
    lines = [
        "# syntax=docker/dockerfile:1",
        "FROM python:3.12.4-slim-bookworm",
        "ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1",
        "RUN pip install \\\\",
        "    onnxruntime==1.18.0 \\\\",
        "    redis==5.0.1 numpy==1.26.4",
        "COPY --chown=reader worker.py reader.onnx /app/",
        "WORKDIR /app",
        "USER reader",
        "HEALTHCHECK CMD python -m worker --is-alive",
        'ENTRYPOINT ["python", "-m", "worker"]',
        'CMD ["--model", "reader.onnx"]',
    ]
    return "\\n".join(lines)

def compose():
    healthy = lambda: {"broker": {"condition": "service_healthy", "restart": True}}
    return dict(
        services=dict(
            broker=dict(
                image="valkey/valkey:8", restart="always", volumes=["journal:/data"],
                command="valkey-server --appendonly yes --appendfsync everysec",
                healthcheck=dict(test="valkey-cli ping", interval="1s", retries=30),
            ),
            gateway=dict(image="pins-gateway:1", ports=["0.0.0.0:8000:8080/tcp"], depends_on=healthy()),
            worker=dict(
                image="pins-worker:1", mem_limit="512M", scale=2, restart="on-failure:5",
                stop_grace_period="30s", depends_on=healthy(),
            ),
        ),
        volumes=dict(journal=None),
    )
""",
        """
def worker_image():
    return "\\n".join([
        "from python:3.11-alpine",
        "run addgroup -S pins && adduser -S pins -G pins",
        "copy requirements.txt /tmp/requirements.txt",
        "run python -m pip install --no-cache-dir --requirement /tmp/requirements.txt",
        "add worker /app/worker",
        "user pins:pins",
        "healthcheck --timeout=2s CMD test -e /tmp/alive",
        'cmd ["python", "-m", "worker"]',
    ])

def compose():
    made = {"services": {}, "volumes": {"d": {"driver": "local"}}}
    wait = {"broker": {"condition": "service_healthy"}}
    made["services"]["gateway"] = {
        "image": "pins-gateway:1", "ports": ["127.0.0.1:8000:8000"], "depends_on": wait,
    }
    made["services"]["worker"] = {
        "image": "pins-worker:1", "restart": "unless-stopped", "stop_grace_period": "30s", "ports": [],
        "depends_on": wait,
        "deploy": {"replicas": 2, "resources": {"limits": {"memory": "512M", "cpus": "1"}}},
    }
    made["services"]["broker"] = {
        "image": "valkey/valkey:8", "command": ["valkey-server", "--save", "", "--appendonly", "yes"],
        "volumes": ["d:/data:rw"], "healthcheck": {"test": ["CMD-SHELL", "valkey-cli ping"]},
    }
    return made
""",
    ],
    wrong={
        "no-dockerfile": image("USER 1000:1000", "user=1000"),
        "no-base": image("FROM python:3.11-slim\n", ""),
        "base-floats": image("python:3.11-slim", "python"),
        "base-large": image("python:3.11-slim", "python:3.11"),
        "secret-inside": image("WORKDIR /app", "ENV BROKER_PASSWORD=pin560001"),
        "nothing-installed": image(
            "RUN pip install --no-cache-dir -r requirements.txt", "RUN true"
        ),
        "carries-torch": image("-r requirements.txt", "torch==2.3.0 onnxruntime==1.18.0"),
        "pins-missing": image("-r requirements.txt", "onnxruntime redis==5.0.1"),
        "keeps-the-cache": image(" --no-cache-dir", ""),
        "no-code": image("COPY . .\n", ""),
        "builds-all-again": image("COPY requirements.txt .", "COPY . ."),
        "no-command": image('CMD ["python", "-m", "worker", "--model", "reader.onnx"]\n', ""),
        "shell-form": image(
            'CMD ["python", "-m", "worker", "--model", "reader.onnx"]', "CMD python -m worker"
        ),
        "runs-as-root": image("USER 1000:1000", "USER root"),
        "no-health": image(
            'HEALTHCHECK --interval=10s CMD ["python", "-m", "worker", "--is-alive"]\n', ""
        ),
        "services-missing": compose('"gateway": gateway, ', ""),
        "other-images": compose("valkey/valkey:8", "redis:7"),
        "door-open": compose(
            '"image": "valkey/valkey:8"', '"image": "valkey/valkey:8", "ports": ["6379:6379"]'
        ),
        "no-door": compose('"8000:8000"', '"8080:80"'),
        "broker-forgets": compose(', "--appendonly", "yes"', ""),
        "broker-homeless": compose('"volumes": {"tasks": {}}', '"volumes": {}'),
        "broker-silent": compose(
            ', "healthcheck": {"test": ["CMD", "valkey-cli", "ping"]}', ""
        ),
        "starts-too-early": compose("service_healthy", "service_started"),
        "nobody-restarts": compose('"always"', '"no"'),
        "killed-in-batch": compose(' "stop_grace_period": "30s",', ""),
        "no-limit": compose(', "resources": {"limits": limits}', ""),
        "one-worker": compose('"replicas": 2', '"replicas": 1'),
    },
    crashing="""
def worker_image():
    return FIRST_IMAGE.replace("python", 3.11)

def compose():
    return {}
""",
)

STEP = """
def worker_step(broker, predict):
    batch = broker.take(4)
    answers = predict([photo for _, photo in batch])
    for (task_id, _), answer in zip(batch, answers, strict=True):
        broker.store(task_id, answer)
        broker.acknowledge(task_id)
"""
SURVIVES = """
def survives_any_kill(step):
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
"""


def step(body: str) -> str:
    return (
        f"\ndef worker_step(broker, predict):\n    batch = broker.take(4)\n{body}" + SURVIVES
    )


def survives(change: str, to: str) -> str:
    assert change in SURVIVES
    return STEP + SURVIVES.replace(change, to)


IN = "        broker.store(task_id, answer)\n        broker.acknowledge(task_id)\n"
BOTH = "    for (task_id, _), answer in zip(batch, answers, strict=True):\n"
RUN = "    answers = predict([photo for _, photo in batch])\n"

DRILL_TASK = Task(
    right=[
        STEP + SURVIVES,
        """
def worker_step(broker, predict):
    batch = broker.take(4)
    if not batch:
        return
    ids, photos = zip(*batch, strict=True)
    for task_id, answer in zip(ids, predict(list(photos)), strict=True):
        broker.store(task_id, answer)
    for task_id in ids:
        broker.acknowledge(task_id)

def survives_any_kill(step):
    names = [chr(97 + n) for n in range(5)]
    photos = {name: name.encode() * (ord(name) - 90) for name in names}
    kill_at = 0
    while True:
        broker = SmallBroker(photos, kill_at)
        was_killed = False
        for _ in range(9):
            try:
                step(broker, read_lengths)
            except BaseException:
                was_killed = True
        if any(broker.answers.get(name) != len(photos[name]) for name in names):
            return False
        if any(name not in broker.acknowledged for name in names):
            return False
        if not was_killed:
            return True
        kill_at += 1
""",
        """
def worker_step(broker, predict):
    batch = dict(broker.take(4))
    for task_id, answer in zip(batch, predict(list(batch.values()))):
        broker.store(task_id, answer)
        broker.acknowledge(task_id)

def survives_any_kill(step):
    def end(kill_at):
        broker = SmallBroker({n: "x".encode() * n for n in (3, 5, 7, 9, 11)}, kill_at)
        for _ in range(8):
            try:
                step(broker, read_lengths)
            except Killed:
                pass
        return broker

    return all(
        sorted(broker.answers.items()) == [(n, n) for n in (3, 5, 7, 9, 11)]
        and {3, 5, 7, 9, 11} <= set(broker.acknowledged)
        for broker in map(end, range(16))
    )
""",
    ],
    wrong={
        "acknowledged-too-early": step(
            "    for task_id, _ in batch:\n        broker.acknowledge(task_id)\n"
            + RUN
            + BOTH
            + "        broker.store(task_id, answer)\n"
        ),
        "not-answered": step(
            "    if len(batch) == 4:\n        batch = batch[:3]\n"
            + RUN
            + BOTH
            + "        if len(batch) == 3:\n            broker.store(task_id, answer)\n"
            "            broker.acknowledge(task_id)\n"
        ),
        "answers-mixed": step(RUN + BOTH.replace("answers", "answers[::-1]") + IN),
        "never-acknowledged": step(
            "    batch = [pair for pair in broker.take(99) if pair[0] not in broker.answers][:4]\n"
            + RUN
            + BOTH
            + "        broker.store(task_id, answer)\n"
        ),
        "unknown-id": step(
            RUN
            + "    for place, answer in enumerate(answers):\n        broker.store(place, answer)\n"
            "        broker.acknowledge(batch[place][0])\n"
        ),
        "no-batches": step(
            "    for task_id, photo in batch:\n        broker.store(task_id, predict([photo])[0])\n"
            "        broker.acknowledge(task_id)\n"
        ),
        "done-again": step("    batch = list(broker.photos.items())\n" + RUN + BOTH + IN),
        "no-yes-or-no": survives("return True", "return 'yes'"),
        "test-blames": survives(
            "broker.answers == {name: len(photo) for name, photo in photos.items()}",
            "len(broker.events) <= 16",
        ),
        "test-kills-nobody": survives("for kill_at in range(20):", "for kill_at in [None]:"),
        "test-kills-once": survives("for kill_at in range(20):", "for kill_at in [5]:"),
        "test-small-batches": survives(
            "for number in range(1, 8)", "for number in range(1, 4)"
        ),
        "test-works-for-ever": survives(" or set(broker.acknowledged) != set(photos)", ""),
    },
    crashing="""
def worker_step(broker, predict):
    for task in broker.take(4):
        broker.store(task.id, predict(task))

def survives_any_kill(step):
    return True
""",
)

ANSWERS = {
    "desk": DESK_TASK,
    "door": DOOR_TASK,
    "hand": HAND_TASK,
    "batch": BATCH_TASK,
    "image": IMAGE_TASK,
    "drill": DRILL_TASK,
}
