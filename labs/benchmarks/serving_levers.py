# %% [markdown]
# # What each lever of a service buys
# The same model and the same load generator, one thing changed at a time: the model inside the web server or
# behind a queue, the batching window, the number of workers, the broker. First a closed loop, for the rate;
# then arrivals at random, for the latency that people see.

# %% tags=["parameters"]
design: str = "decoupled"  # decoupled; naive has the model inside the web server and no levers
workers: int = 1  # processes that run the model, one thread each
window_s: float = 0.0  # how long a batch may wait for more [s]
max_batch: int = 16  # images in one run of the model
broker: str = ""  # empty: in the gateway; embedded: (our own Valkey), or the address of a Redis or RabbitMQ
users: int = 32  # of the closed loop
closed_s: float = 3.0  # its length [s]
budget_s: float = 20.0  # for the search of the knee [s]; 0: a window at half the closed loop's rate instead
open_s: float = 3.0  # length of that window [s]
slo_p95_s: float = 0.2  # latency target, from the intended send time [s]
model: str = "reader.onnx"  # a file among the artifacts
instance: str = "aws.c5.large"  # row of the price book
seed: int = 0  # of the arrivals
artifacts: str = ""  # folder shared by the points; empty: runs/lab/artifacts, then the demo's
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
import statistics

from scalelab.bench import (
    artifacts_folder,
    claim,
    knee_metrics,
    knee_note,
    need_artifact,
    write_record,
)
from scalelab.classroom.figures import plot_lines
from scalelab.core.errors import ConfigError, did_you_mean
from scalelab.core.records import metric
from scalelab.cost import cost_per_million
from scalelab.data import compose_pins
from scalelab.loadtest import Target, find_knee, run_closed, run_open
from scalelab.serve import running_stack
from scalelab.serve.batching import BatchPolicy

DESIGNS = ("naive", "decoupled")
if design not in DESIGNS:
    raise ConfigError(f"there is no design {design!r}", hint=did_you_mean(design, DESIGNS))
is_naive = design == "naive"
path = need_artifact(artifacts_folder(artifacts), model, made_by="shipped_reader.ipynb")
bodies = tuple(image.tobytes() for image in compose_pins(64, "test", seed=1).images)
levers = {} if is_naive else {"workers": workers, "policy": BatchPolicy(max_batch, window_s)}
route = "/v1/pins" if is_naive else "/v1/pins?wait_s=5"

# %% [markdown]
# ## The closed loop, then the open one
# Of the closed loop only the rate counts: its users wait for each other's answers, and so hide stalls.

# %%
with running_stack(model_path=path, broker=broker, naive=is_naive, **levers) as stack:
    target = Target(stack.url, route, bodies, {"Content-Type": "application/octet-stream"})
    closed = run_closed(target, users, closed_s, 0.5)
    knee = budget_s and find_knee(
        target,
        slo_p95_s,
        budget_s=budget_s,
        window_s=2.0,
        confirm_s=3.0,
        start_rate_per_s=0.8 * closed.throughput_per_s,
        seed=seed,
    )
    calm = None if knee else run_open(target, closed.throughput_per_s / 2, open_s, 0.5, seed=seed)
    memory = stack.memory_bytes()
    stats = stack.stats()
closed.throughput_per_s, knee.rate_per_s if knee else calm.p95_s, stats

# %%
tried: dict[int, list[float]] = {}
for point in knee.curve() if knee else []:
    if point.result.p95_s is not None:
        tried.setdefault(round(point.rate_per_s), []).append(point.result.p95_s * 1e3)
curve = [{"requests a second": rate, "p95 [ms]": statistics.median(seen)} for rate, seen in tried.items()]
plot_lines(curve, "requests a second", ["p95 [ms]"], y_title="p95 [ms]") if curve else "no search"

# %%
held = knee.held_rate_per_s if knee else closed.throughput_per_s
asked = closed.ok + closed.rejected + sum(closed.errors.values())
write_record(
    record_path,
    "serving_levers",
    parameters={
        "design": design,
        "workers": workers,
        "window_s": window_s,
        "max_batch": max_batch,
        "broker": broker.partition("@")[2] or broker,
        "users": users,
        "slo_p95_s": slo_p95_s,
    },
    metrics=[
        metric("closed_rate", "1/s", closed.throughput_per_s),
        *(knee_metrics(knee) if knee else [m for m in calm.metrics() if m.name.startswith("latency_")]),
        metric("peak_memory", "B", sum(memory.values())),
        metric("errors", "1", sum(closed.errors.values())),
        metric("usd_per_million", "USD", cost_per_million(held, instance).amount),
        metric("inr_per_million", "INR", cost_per_million(held, instance, currency="INR").amount),
    ],
    notes={
        "throughput_of": f"requests, p95 < {slo_p95_s * 1e3:g} ms",
        "slo_p95_s": slo_p95_s,
        "knee": knee_note(knee) if knee else None,
        "claims": [
            claim(
                "every request of the closed loop got a good answer",
                closed.ok == asked > 0,
                f"{closed.ok:,} of {asked:,}",
            )
        ],
        "bought": f"{closed.throughput_per_s:,.0f} requests a second of {users} users"
        + (f", {knee.rate_per_s:,.0f} on target" if knee else ""),
        "memory_bytes": memory,
        "method": f"closed loop of {users} users for {closed_s:g} s; Poisson arrivals, latency from the "
        "intended send time; the load generator on the same cores",
    },
    seed=seed,
)
