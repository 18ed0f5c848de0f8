"""All settings of a stack in one frozen value, as a file between the processes."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scalelab.core.errors import ConfigError
from scalelab.core.lazy import need_installed
from scalelab.serve.batching import BatchPolicy
from scalelab.serve.broker import BrokerLimits, check_url, need_client
from scalelab.serve.contract import load_contract
from scalelab.serve.guard import read_keys
from scalelab.serve.protocol import MAX_BODY_BYTES
from scalelab.serve.service import DEFAULT_MODEL, check_model

_PACKAGES = ("fastapi", "uvicorn", "httptools", "PIL", "msgpack", "prometheus_client")
BROKER_VARIABLE = "SCALELAB_BROKER"
"""the broker's URL goes by environment: command lines and files are seen by others, and it has a password"""


@dataclass(frozen=True)
class StackSettings:
    """What `scalelab serve up` can be told."""

    model_path: str
    model: str = DEFAULT_MODEL
    """``module:factory``"""
    contract: str = "scalelab.serve.pins:CONTRACT"
    """``module:NAME``: what this model takes and gives"""
    workers: int = 1
    threads: int = 1
    """of the model, per worker: two processes of one thread beat one of two"""
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one"""
    naive: bool = False
    """the model inside the web server, and nothing else: the baseline"""
    queue: str = "pins"
    """stacks of the same queue on the same broker share their work"""
    max_body_bytes: int = MAX_BODY_BYTES
    upload_timeout_s: float = 10.0
    """for head and body of a request to arrive; then 408"""
    idle_timeout_s: float = 30.0
    """a connection without a request is closed after this time"""
    max_connections: int = 16_000
    """if there are more, the longest idle one is closed"""
    heartbeat_s: float = 15.0
    """between comments in a stream of events"""
    rate_limit: float = 0.0
    """requests a second that one client may send; 0 sets no limit"""
    api_key_file: str = ""
    """whoever wants tasks must send a key from this file; empty: nobody is asked"""
    deadline_s: float = 600.0
    """for tasks that come without one of their own"""
    run_limit_s: float = 60.0
    """a model that runs longer on one batch hangs: its worker ends, and its tasks are tried one by one"""
    worker_memory_bytes: int = 0
    """a worker that uses more is ended and started anew; 0: no limit"""
    policy: BatchPolicy = field(default_factory=BatchPolicy)
    limits: BrokerLimits = field(default_factory=BrokerLimits)

    def check(self, broker: str = "") -> None:
        """Refuse what cannot work, before a process is started.

        Raises:
            ConfigError, DataError, MissingDependency: the message names the value.
        """
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} does not exist", hint="give 1 to 65535, or 0 for a free one")
        if not 1 <= self.workers <= 64:
            raise ConfigError(f"{self.workers} workers", hint="give 1 to 64; more than cores do not help")
        if self.threads < 1:
            raise ConfigError(f"{self.threads} threads cannot run a model", hint="give 1 or more")
        if self.run_limit_s <= 0:
            raise ConfigError(f"a run limit of {self.run_limit_s:g} s", hint="give more than 0 seconds")
        if self.worker_memory_bytes < 0:
            raise ConfigError(
                f"a memory limit of {self.worker_memory_bytes} bytes", hint="give 0 for no limit"
            )
        if self.limits.max_depth < 1:
            raise ConfigError(
                f"a queue of {self.limits.max_depth} tasks refuses every request", hint="give 1 or more"
            )
        self._check_access()
        need_installed(_PACKAGES, extra="serve")  # here, where the hint is seen, not in a child's log
        item_bytes = load_contract(self.contract).payload_bytes
        if self.max_body_bytes < item_bytes:
            raise ConfigError(
                f"bodies of at most {self.max_body_bytes} bytes hold no item of {item_bytes}",
                hint=f"give {item_bytes} or more; JSON needs about three times as much",
            )
        check_model(self.model, self.model_path)
        if broker:
            check_url(broker)
            need_client(broker)

    def _check_access(self) -> None:
        if not 0 <= self.rate_limit < float("inf"):
            raise ConfigError(f"a rate limit of {self.rate_limit:g} requests a second", hint="give 0 or more")
        if self.naive and (self.api_key_file or self.rate_limit):
            raise ConfigError(
                "the naive app knows neither API keys nor a rate limit",
                hint="leave --naive out, or --api-key-file and --rate-limit",
            )
        if self.api_key_file:
            read_keys(Path(self.api_key_file))

    def exposure(self) -> str:
        """Return a warning if other machines can ask and nobody is asked for a key, else nothing."""
        is_ours = self.host in ("localhost", "::1") or self.host.startswith("127.")
        if is_ours or self.api_key_file:
            return ""
        return (
            f"anybody who reaches {self.host} can use this service: --api-key-file FILE asks for a key, "
            "--host 127.0.0.1 keeps it on this machine"
        )

    def write(self, path: Path) -> None:
        """Write the settings for the child processes, which find the old or the new ones, never half."""
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self), indent=1))
        os.replace(fresh, path)

    @classmethod
    def read(cls, path: Path) -> StackSettings:
        """Read what `write` wrote."""
        fields = json.loads(path.read_text())
        policy, limits = BatchPolicy(**fields.pop("policy")), BrokerLimits(**fields.pop("limits"))
        return cls(**fields, policy=policy, limits=limits)


def broker_url() -> str:
    """Return the broker's URL that the stack gave to this child process."""
    url = os.environ.get(BROKER_VARIABLE, "")
    if not url:
        raise ConfigError(f"{BROKER_VARIABLE} is not set", hint="start this process by `scalelab serve up`")
    return url
