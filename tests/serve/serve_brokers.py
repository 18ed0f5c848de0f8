"""The servers that the contract of brokers is checked on, and a queue with both its sides at hand."""

import asyncio
import os
import shutil
import socket
import sys
import threading
import time
from contextlib import closing, nullcontext, suppress

import pytest

from scalelab.core.errors import ConfigError
from scalelab.core.machine import free_port
from scalelab.core.processes import run, start, stop_tree
from scalelab.serve.broker import (
    Answer,
    BrokerAway,
    BrokerLimits,
    Put,
    open_dead_letters,
    open_gateway_side,
    open_worker_side,
)
from scalelab.serve.embedded import prepare_embedded
from scalelab.serve.protocol import DONE, Task, answer

LIMITS = BrokerLimits(max_depth=50, worker_ttl_s=60.0)
PATIENCE_S = 30.0
PAYLOAD = bytes(range(256)) * 4
DEBIANS_RABBIT = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""the wrapper in /usr/sbin would change the user"""


def wait_until(is_so, what, *, patience_s=PATIENCE_S):
    """Return the first true answer."""
    until_s = time.monotonic() + patience_s
    while not (found := is_so()):
        assert time.monotonic() < until_s, f"not within {patience_s} s: {what}"
        threading.Event().wait(0.005)
    return found


def repeat(step):
    """Do what may be repeated until the broker is there; return what came of it."""

    def tried():
        try:
            return [step()]
        except BrokerAway:
            return []

    return wait_until(tried, "a broker that answers")[0]


def task(deadline_s=60.0, payload=PAYLOAD, priority=1):
    """Make a task that the gateway named `gateway` waits for."""
    return Task(os.urandom(16).hex(), payload, "gateway", deadline_s, priority)


def done(delivery, **fields):
    """Make the answer to a delivery."""
    return Answer(delivery, answer(delivery.task.task_id, DONE, **fields))


def among(kinds):
    """Run a test on these kinds of servers."""
    marked = [
        pytest.param(one, marks=[pytest.mark.redis] if one is Redis else [], id=one.name) for one in kinds
    ]
    return pytest.mark.parametrize("server", marked, indirect=True, scope="module")


class Server:
    """A broker's server in a process of its own, which can be killed and started again on its data."""

    def __init__(self, folder):
        self.folder = folder
        self.process = None
        self.prepare()

    def start(self):
        with (self.folder / "log").open("ab") as output:
            self.process = start(self.command(), output=output, env=self.env())

    def env(self):
        return {}

    def settle(self):
        """Wait until the server itself can survive a kill."""

    def kill(self):
        """What a kill -9 or a power failure of the process does."""
        stop_tree(self.process.pid, grace_s=0)
        self.process.wait()

    stop = kill

    def wait(self):
        """Wait until it answers."""
        wait_until(self.answers, f"an answer of {self.name}; its log: {self.folder / 'log'}")

    def url_of(self, queue):
        return self.url

    def die(self, queue, side):
        """Let a worker be seen as dead."""
        side.sever()


class Valkey(Server):
    name = "embedded"

    def prepare(self):
        self.embedded = prepare_embedded(self.folder, free_port())
        self.url = self.embedded.url

    def command(self):
        return list(self.embedded.command)

    def answers(self):
        from scalelab.serve.redis_broker import connect

        try:
            with closing(connect(self.url)):
                return True
        except ConfigError:
            return False

    def die(self, queue, side):
        from scalelab.serve.redis_broker import connect, forget_worker, key_prefix

        with closing(connect(self.url)) as client:
            forget_worker(client, key_prefix(queue), side._name)


class Redis(Valkey):
    name = "redis"

    def command(self):
        binary = shutil.which("redis-server") or pytest.skip(
            "redis-server is not installed: make system-packages"
        )
        return [binary, *super().command()[1:]]


class Fake(Valkey):
    """A server in pure Python, without a journal: it cannot be killed and come back."""

    name = "fakeredis"

    def prepare(self):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self):
        code = f"import fakeredis; fakeredis.TcpFakeServer(('127.0.0.1', {self.port})).serve_forever()"
        return [sys.executable, "-c", code]

    def wait(self):
        """Load the scripts: unlike Redis it closes the connection after an error such as NOSCRIPT."""
        from scalelab.serve import redis_broker, redis_scripts

        super().wait()
        with closing(redis_broker.connect(self.url)) as client:
            for name in (
                "PUT",
                "TAKE",
                "FINISH",
                "CANCEL",
                "GIVE_BACK",
                "TAKE_OVER",
                "BEAT",
                "HEALTH",
                "RETRY",
            ):
                client.script_load(getattr(redis_scripts, name))


class Rabbit(Server):
    """A node of its own name, in folders of its own, beside whatever runs on this machine."""

    name = "rabbitmq"

    def prepare(self):
        self.binary = shutil.which(DEBIANS_RABBIT) or shutil.which("rabbitmq-server")
        self.port, self.names_port = free_port(), free_port()
        self.url = f"amqp://scalelab:secret@127.0.0.1:{self.port}"
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            "default_user = scalelab",
            "default_pass = secret",
            "disk_free_limit.absolute = 10MB",
            "vm_memory_high_watermark.absolute = 400MB",
        ]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "env.conf").touch()

    def begin(self):
        """Start without waiting, beside other tests: it takes a quarter of a minute. Where it is, that is."""
        if self.binary:
            command = ["epmd", "-port", str(self.names_port), "-address", "127.0.0.1"]
            self.names = start(command, env=self.env())
            self.start()

    def wait(self):
        if not self.binary:
            pytest.skip("rabbitmq-server is not installed: make system-packages")
        super().wait()

    def env(self):
        here = {
            "RABBITMQ_MNESIA_BASE": "data",
            "RABBITMQ_LOG_BASE": "logs",
            "RABBITMQ_CONFIG_FILE": "rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": "plugins",
            "RABBITMQ_CONF_ENV_FILE": "env.conf",
            "RABBITMQ_PID_FILE": "pid",
            "HOME": "",  # its cookie
        }
        return {
            **{name: str(self.folder / file) for name, file in here.items()},
            "RABBITMQ_NODENAME": f"scalelab{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none",
            "ERL_EPMD_PORT": str(self.names_port),
        }

    def command(self):
        return [self.binary]

    def settle(self):
        """Wait until the node has noted on its disk that it keeps streams.

        It does so some seconds after the first stream of its life; killed before, it comes back without them.
        """
        wait_until(
            lambda: any(
                b"stream_coordinator" in path.read_bytes() for path in self.folder.rglob("names.dets")
            ),
            "the note of its streams",
        )

    def control(self, *words):
        """Run rabbitmqctl on this node."""
        program = self.binary.replace("rabbitmq-server", "rabbitmqctl")
        finished = run([program, *words], env=self.env(), timeout_s=60.0)
        assert finished.returncode == 0, finished.output

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                return True
        except OSError:
            return False

    def stop(self):
        if self.binary:
            self.kill()
            stop_tree(self.names.pid, grace_s=0)
            self.names.wait()


class Local(Server):
    """No server: the gateway's side is the broker, and its journal is what comes back."""

    name = "local"

    def prepare(self):
        self.addresses = {}

    def start(self):
        """It runs where a gateway's side is open."""

    kill = stop = wait = start

    def url_of(self, queue):
        from scalelab.serve.local.address import Address

        if queue not in self.addresses:
            self.addresses[queue] = Address.new(self.folder / queue, free_port())
        return self.addresses[queue].url()

    def die(self, queue, side):
        side._link.close()


class Queue:
    """A queue of its own on a shared server; all gateways' sides live in one loop, in a thread."""

    def __init__(self, server):
        self.server, self.name = server, os.urandom(4).hex()
        self.url = server.url_of(self.name)
        self.workers, self.gateways, self.dead = {}, {}, set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_S)

    def worker(self, name, limits=LIMITS):
        if self.server.name == "local":
            self.side("gateway", limits)
        side = open_worker_side(self.url, queue=self.name, name=name, limits=limits)
        self.workers[name] = side
        return side

    def side(self, name="gateway", limits=LIMITS):
        """Return a gateway's side; that of the local broker is alone, so that another one is a restart."""
        if (name, limits) not in self.gateways:
            if self.server.name == "local":
                self.close_gateways()
            side = open_gateway_side(self.url, queue=self.name, name=name, limits=limits)
            self.run(side.start())
            self.gateways[name, limits] = side
        return self.gateways[name, limits]

    def put(self, *tasks, key="", digest="", limits=LIMITS):
        return self.run(self.side(limits=limits).put([Put(task, key, digest) for task in tasks]))

    def look_up(self, *task_ids, name="gateway"):
        return self.run(self.side(name).look_up(task_ids))

    def cancel(self, task_id, name="gateway"):
        return self.run(self.side(name).cancel(task_id))

    def answers(self, name="gateway"):
        return self.run(self.side(name).next_answers())

    def health(self):
        return self.run(self.side().health())

    def letters(self):
        return open_dead_letters(self.url, queue=self.name, limits=LIMITS)

    def die(self, name):
        self.dead.add(name)
        self.server.die(self.name, self.workers[name])

    def taken_again(self, worker):
        """Wait for a task that comes once more."""
        return wait_until(lambda: worker.take_over() or worker.take(1, 0), "a task that comes again")[0]

    def restart(self):
        """Kill the server and start it again on its data; both sides stay as they are."""
        self.server.settle()
        self.server.kill()
        self.server.start()
        self.server.wait()

    def close_gateways(self):
        for side in self.gateways.values():
            self.run(side.close())
        self.gateways.clear()

    def close(self):
        for name, side in self.workers.items():
            with suppress(BrokerAway) if name in self.dead else nullcontext():
                side.leave()
        self.close_gateways()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
