# %% [markdown]
# # Rung 6: the naive app
# The model inside the web server: what everybody writes first. One process parses requests and computes
# predictions, one at a time. How many requests a second does it hold with p95 under 200 ms, and what becomes
# of a burst of five times that?

# %% tags=["parameters"]
model: str = "reader.onnx"  # the model that is served, a file among the artifacts
budget_s: float = 45.0  # time for the search of the knee [s]
burst_s: float = 4.0  # length of the burst [s]; 0: no burst
burst_factor: float = 5.0  # times the rate that the naive app holds
slo_p95_s: float = 0.2  # latency target, from the intended send time [s]
test_pins: int = 2000  # images of the test split
instance: str = "aws.c5.large"  # row of the price book
artifacts: str = ""  # folder shared by the rungs; empty: runs/lab/artifacts, then the demo's
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
import json

from scalelab.bench import artifacts_folder, burst_note, knee_metrics, knee_note, need_artifact, write_record
from scalelab.compress.compare import predict_all
from scalelab.compress.runtimes import onnx_session
from scalelab.core.records import metric
from scalelab.cost import cost_per_million
from scalelab.data import compose_pins
from scalelab.loadtest import Target, find_knee, run_burst
from scalelab.models import accuracy
from scalelab.serve import running_stack

folder = artifacts_folder(artifacts)
path = need_artifact(folder, model, made_by="road_onnx.ipynb and road_int8.ipynb")
test = compose_pins(test_pins, "test", seed=1)
score = accuracy(predict_all(onnx_session(path), test.images), test.labels)
bodies = tuple(image.tobytes() for image in test.images[:64])
headers = {"Content-Type": "application/octet-stream"}

# %% [markdown]
# ## The knee, then the burst
# Requests arrive at random (Poisson), whether or not earlier ones were answered, as they do from people who
# do not know each other. Latency counts from the moment a request was meant to leave.

# %%
with running_stack(model_path=path, naive=True) as app:
    target = Target(app.url, "/v1/pins", bodies, headers)
    knee = find_knee(target, slo_p95_s, budget_s=budget_s)
    burst = run_burst(target, burst_factor * knee.held_rate_per_s, burst_s) if burst_s else None
    memory = sum(app.memory_bytes().values())
(folder / f"naive-{path.stem}.json").write_text(
    json.dumps({"rate_per_s": knee.held_rate_per_s, **knee_note(knee)})
)
(
    [(point.rate_per_s, point.verdict.value, point.result.p95_s) for point in knee.points],
    burst and burst_note(burst),
)

# %%
usd = cost_per_million(knee.held_rate_per_s, instance)
inr = cost_per_million(knee.rate_per_s, instance, currency="INR")
write_record(
    record_path,
    "naive",
    parameters={"model": model, "budget_s": budget_s, "burst_s": burst_s, "slo_p95_s": slo_p95_s},
    metrics=[
        metric("digit_accuracy", "share", score.digit),
        metric("pin_accuracy", "share", score.pin),
        *knee_metrics(knee),
        metric("model_bytes", "B", path.stat().st_size),
        metric("peak_memory", "B", memory),
        metric("usd_per_million", "USD", usd.amount),
        metric("inr_per_million", "INR", inr.amount),
    ],
    notes={
        "throughput_of": "requests, p95 < 200 ms",
        "knee": knee_note(knee),
        "burst": burst and burst_note(burst),
        "bought": f"{knee.held_rate_per_s:,.0f} requests a second on target"
        + (
            f"; of a burst of {burst_factor:g} times that, {burst.answered_share:.0%} answered"
            if burst
            else ""
        ),
        "method": f"{model} inside a FastAPI app, one process; Poisson arrivals, locust on the same cores",
    },
)
