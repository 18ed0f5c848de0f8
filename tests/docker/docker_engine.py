"""Docker where its daemon answers, else podman with runc: the same words for both."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass

HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
PODMAN = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file")
# bridges, more files and health checks by systemd are what a container inside a container cannot have
PODMAN_RUN = ("--ulimit", "nofile=1024:20000", "--ulimit", "nproc=4096:4096", "--no-healthcheck")


@dataclass(frozen=True)
class Engine:
    """How containers are run here."""

    name: str

    def call(self, *words: str, check: bool = True) -> str:
        """Run a command of the engine; return what it and the container said."""
        prefix = PODMAN if self.name == "podman" else (self.name,)
        done = subprocess.run(
            [*prefix, *words],
            cwd=tempfile.gettempdir(),  # podman's keeper leaves a file `oom` where it was started
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0 or not check, f"{self.name} {' '.join(words)}:\n{done.stdout}"
        return done.stdout

    def run(self, name, image, *words, env=None, mounts=(), memory="", detached=True):
        """Start a container as compose.yaml does: read-only, without rights, on the host's network."""
        options = [
            *HARDENED,
            *(PODMAN_RUN if self.name == "podman" else ()),
            "--network=host",
            "--name",
            name,
        ]
        for key, value in (env or {}).items():
            options += ["--env", f"{key}={value}"]
        for mount in mounts:
            options += ["--volume", mount]
        if memory:
            options += ["--memory", memory, "--memory-swap", memory]
        return self.call("run", *(["--detach"] if detached else []), *options, image, *words, check=detached)

    def state(self, name: str) -> dict[str, object]:
        """Return whether a container runs, and its exit code."""
        (facts,) = json.loads(self.call("inspect", name))
        return dict(facts["State"])

    def config(self, image: str) -> dict[str, object]:
        """Return the configuration in an image."""
        (facts,) = json.loads(self.call("image", "inspect", image))
        return {"Healthcheck": facts.get("Healthcheck"), **facts["Config"]}
