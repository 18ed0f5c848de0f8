# %% [markdown]
# # Rung 5: int8
# Weights and activations as 8-bit integers, with ranges calibrated on training images. A quarter of the
# bytes; and where a prediction waits for memory, about a quarter of the time. What does it cost in parcels?

# %% tags=["parameters"]
calibration_pins: int = 256  # images of the training split that set the ranges
test_pins: int = 2000  # images of the test split
min_iterations: int = 300  # single predictions that are timed (p99 needs 100)
pairs: int = 15  # interleaved pairs for each ratio
instance: str = "aws.c5.large"  # row of the price book
artifacts: str = ""  # folder shared by the rungs; empty: runs/lab/artifacts, then the demo's
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
from scalelab.bench import artifacts_folder, claim, latency_metrics, need_artifact, write_record
from scalelab.compress import quantize_static
from scalelab.compress.compare import compare_accuracy, compare_latency
from scalelab.compress.runtimes import onnx_session, torch_session
from scalelab.core.records import metric
from scalelab.core.stats import measure
from scalelab.cost import cost_per_million
from scalelab.data import compose_pins

folder = artifacts_folder(artifacts)
fp32 = need_artifact(folder, "reader.onnx", made_by="road_onnx.ipynb")
reader = need_artifact(folder, "reader.safetensors", made_by="road_prototype.ipynb")

# %% [markdown]
# ## Quantize

# %%
calibration = compose_pins(calibration_pins, "train", seed=2)
quantized = quantize_static(fp32, folder / "reader-int8.onnx", calibration.images)
quantized

# %% [markdown]
# ## Three sessions of one model, in turn

# %%
test = compose_pins(test_pins, "test", seed=1)
sessions = {
    "eager": torch_session(reader, threads=1),
    "onnx": onnx_session(fp32, threads=1),
    "int8": onnx_session(quantized.path, threads=1),
}
scores = compare_accuracy(sessions, test.images, test.labels)
rows = compare_latency(sessions, test.images, baseline="eager", pairs=pairs)
scores, rows

# %%
one = test.images[:1]
single_s = measure(lambda: sessions["int8"].predict(one), min_iterations=min_iterations, min_duration_s=1.0)
speedup = {row.batch: row.speedup for row in rows if row.name == "int8"}
images_per_s = next(row.images_per_s for row in rows if row.name == "int8" and row.batch == 32)
usd = cost_per_million(images_per_s, instance)
inr = cost_per_million(images_per_s, instance, currency="INR")
smaller = fp32.stat().st_size / quantized.bytes
lost = scores["eager"].digit - scores["int8"].digit
write_record(
    record_path,
    "int8",
    parameters={"calibration_pins": calibration_pins, "test_pins": test_pins, "pairs": pairs},
    metrics=[
        metric("digit_accuracy", "share", scores["int8"].digit),
        metric("pin_accuracy", "share", scores["int8"].pin),
        *latency_metrics(single_s),
        metric("latency", "s", single_s),
        metric("throughput", "1/s", images_per_s),
        metric("speedup_batch_1", "1", speedup[1].median),
        metric("speedup_batch_32", "1", speedup[32].median),
        metric("model_bytes", "B", quantized.bytes),
        metric("usd_per_million", "USD", usd.amount),
        metric("inr_per_million", "INR", inr.amount),
    ],
    notes={
        "throughput_of": "predictions, batch 32",
        "claims": [
            claim("int8 is at least 3.5 times smaller than fp32", smaller >= 3.5, f"{smaller:.2f} times"),
            claim(
                "int8 costs at most 0.5 points of digit accuracy",
                lost <= 0.005,
                f"{-100 * lost:+.2f} points on {6 * test_pins:,} digits of the test split",
            ),
        ],
        "bought": f"{speedup[1]} times as fast as eager torch at batch 1, {speedup[32]} at batch 32; "
        f"{smaller:.2f} times smaller; digit accuracy {-100 * lost:+.2f} points",
        "method": f"ONNX Runtime, one thread; ratios from {pairs} interleaved pairs, with 95 % intervals",
    },
)
