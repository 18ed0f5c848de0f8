# %% [markdown]
# # Our service beside others
# The same model, the same bodies, two workers of one thread each, in one run: `scalelab serve` with its local
# broker and with Valkey, mosec, LitServe, FastAPI with the model inside, on demand BentoML and Celery.
# The ceiling is two processes that run the bare runtime, read before and after each window. Systems take
# turns, A B C, C B A, ...; a number is the median of the rounds.

# %% tags=["parameters"]
workload: str = "tokens"  # tokens: small int8 transformer; digits: a CNN that costs less than its request
systems: str = "mosec-raw,mosec-json,ours,ours-valkey,fastapi-2,litserve"  # in this order, then backwards
peers: str = "all"  # that may be installed, as mosec,litserve; none: only ours and the naive app
rounds: int = 3  # visits to each system
closed_s: float = 3.0  # closed loop of 64 connections [s]
knee_s: float = 4.0  # Poisson window of each rate that is tried [s]; 0: no search
calm_s: float = 4.0  # Poisson window at half of mosec's knee [s]; 0: none
kill_requests: int = 2000  # sent at 250/s while one worker is killed with -9; 0: none
ceiling_s: float = 0.8  # one reading of the ceiling [s]
seed: int = 0  # of weights, bodies and arrivals
artifacts: str = ""  # folder shared by the points; empty: runs/lab/artifacts
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
import sys
import time

from scalelab.bench import artifacts_folder, write_record
from scalelab.core.paths import shipped

sys.path.insert(0, str(shipped("benchmarks")))

from peers.environment import choose
from peers.makers import make_model
from peers.rounds import Effort, compare
from peers.table import claims, markdown, metrics
from peers.workload import WORKLOADS

chosen, python, absent = choose(systems, peers)
model_path = make_model(WORKLOADS[workload], artifacts_folder(artifacts), seed=seed)
[system.name for system in chosen], absent

# %%
started_s = time.monotonic()
effort = Effort(
    rounds=rounds,
    ceiling_s=ceiling_s,
    closed_s=closed_s,
    knee_s=knee_s,
    calm_s=calm_s,
    kill_requests=kill_requests,
)
log = (artifacts_folder(artifacts) / f"serving-{workload}.log").open("w", buffering=1)


def say(line: str) -> None:
    print(line)
    print(line, file=log)  # papermill shows a cell's output at its end: this can be watched


findings = compare(WORKLOADS[workload], chosen, model_path, python, effort, seed=seed, say=say)
log.close()
findings.absent.update(absent)
print(markdown(findings))

# %%
write_record(
    record_path,
    f"serving-{workload}",
    parameters={
        "workload": workload,
        "systems": systems,
        "rounds": rounds,
        "closed_s": closed_s,
        "knee_s": knee_s,
        "calm_s": calm_s,
        "kill_requests": kill_requests,
    },
    metrics=metrics(findings),
    notes={
        "claims": claims(findings),
        "table": markdown(findings),
        "absent": findings.absent,
        "seconds": time.monotonic() - started_s,
        "method": f"two workers of one thread, the load generator on the same cores; {rounds} interleaved "
        "rounds; a rate that is x % too high adds x % of a Poisson window to its last latency, so a knee "
        f"may be up to {20 / max(knee_s, 1):.0f} % high, for every system alike; "
        "random weights from a seed: the time of a trained model, and no accuracy",
    },
    seed=seed,
)
