# %% [markdown]
# # Rung 4: ONNX
# The same weights as a graph that needs no Python and no torch. First the proof that it computes the same,
# at batch sizes other than the one it was exported with; then what the runtime buys.

# %% tags=["parameters"]
test_pins: int = 2000  # images of the test split
min_iterations: int = 300  # single predictions that are timed (p99 needs 100)
pairs: int = 15  # interleaved pairs for each ratio
instance: str = "aws.c5.large"  # row of the price book
artifacts: str = ""  # folder shared by the rungs; empty: runs/lab/artifacts, then the demo's
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
from scalelab.bench import artifacts_folder, claim, latency_metrics, need_artifact, write_record
from scalelab.compress import export_onnx
from scalelab.compress.compare import compare_latency, predict_all
from scalelab.compress.runtimes import onnx_session, torch_session
from scalelab.core.records import metric
from scalelab.core.stats import measure
from scalelab.cost import cost_per_million
from scalelab.data import compose_pins
from scalelab.models import accuracy, load_reader

folder = artifacts_folder(artifacts)
reader = need_artifact(folder, "reader.safetensors", made_by="road_prototype.ipynb")

# %% [markdown]
# ## Export, and check batch sizes 1, 7 and 32

# %%
export = export_onnx(load_reader(reader), folder / "reader.onnx")
export

# %% [markdown]
# ## Accuracy and speed, in pairs with eager torch

# %%
test = compose_pins(test_pins, "test", seed=1)
session = onnx_session(export.path, threads=1)
score = accuracy(predict_all(session, test.images), test.labels)
rows = compare_latency(
    {"eager": torch_session(reader, threads=1), "onnx": session}, test.images, baseline="eager", pairs=pairs
)
rows

# %%
one = test.images[:1]
single_s = measure(lambda: session.predict(one), min_iterations=min_iterations, min_duration_s=1.0)
speedup = {row.batch: row.speedup for row in rows if row.name == "onnx"}
images_per_s = next(row.images_per_s for row in rows if row.name == "onnx" and row.batch == 32)
usd = cost_per_million(images_per_s, instance)
inr = cost_per_million(images_per_s, instance, currency="INR")
write_record(
    record_path,
    "onnx",
    parameters={"test_pins": test_pins, "pairs": pairs},
    metrics=[
        metric("digit_accuracy", "share", score.digit),
        metric("pin_accuracy", "share", score.pin),
        *latency_metrics(single_s),
        metric("latency", "s", single_s),
        metric("throughput", "1/s", images_per_s),
        metric("speedup_batch_1", "1", speedup[1].median),
        metric("speedup_batch_32", "1", speedup[32].median),
        metric("model_bytes", "B", export.bytes),
        metric("usd_per_million", "USD", usd.amount),
        metric("inr_per_million", "INR", inr.amount),
    ],
    notes={
        "throughput_of": "predictions, batch 32",
        "claims": [
            claim(
                "the ONNX graph computes what eager torch computes (1e-4)",
                export.max_abs_error <= 1e-4,
                f"largest difference of a logit {export.max_abs_error:.1e} over batches {export.batches}",
            )
        ],
        "bought": f"{speedup[1]} times as fast as eager torch at batch 1, {speedup[32]} at batch 32; "
        "a worker without torch",
        "method": f"ONNX Runtime, one thread; ratios from {pairs} interleaved pairs, with 95 % intervals",
    },
)
