# %% [markdown]
# # The reader that ships with ScaleLab, as ONNX and as int8
# No training: suites about serving and cost begin here. The graph must compute what torch computes, and int8
# must read as well, before anybody asks how fast they are.

# %% tags=["parameters"]
calibration_pins: int = 512  # images of the training split that int8 is calibrated with
test_pins: int = 2000  # images of the test split
most_lost: float = 0.005  # share of digits that int8 may read wrong beyond fp32
artifacts: str = ""  # folder shared by the points; empty: runs/lab/artifacts
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
from scalelab.bench import artifacts_folder, claim, write_record
from scalelab.compress import export_onnx, onnx_session, quantize_static
from scalelab.compress.compare import compare_accuracy
from scalelab.core.records import metric
from scalelab.data import compose_pins
from scalelab.train.shipped import trained_reader

folder = artifacts_folder(artifacts)
fp32 = export_onnx(trained_reader(), folder / "reader.onnx")
int8 = quantize_static(
    fp32.path, folder / "reader-int8.onnx", compose_pins(calibration_pins, "train", seed=2).images
)
fp32, int8

# %%
test = compose_pins(test_pins, "test", seed=1)
scores = compare_accuracy(
    {"fp32": onnx_session(fp32.path, threads=1), "int8": onnx_session(int8.path, threads=1)},
    test.images,
    test.labels,
)
scores

# %%
lost = scores["fp32"].digit - scores["int8"].digit
write_record(
    record_path,
    "shipped_reader",
    parameters={"calibration_pins": calibration_pins, "test_pins": test_pins},
    metrics=[
        metric("digit_accuracy", "share", scores["fp32"].digit),
        metric("pin_accuracy", "share", scores["fp32"].pin),
        metric("digit_accuracy_int8", "share", scores["int8"].digit),
        metric("pin_accuracy_int8", "share", scores["int8"].pin),
        metric("model_bytes", "B", fp32.bytes),
        metric("model_bytes_int8", "B", int8.bytes),
    ],
    notes={
        "claims": [
            claim(
                "the ONNX graph computes what eager torch computes (1e-4)",
                fp32.max_abs_error <= 1e-4,
                f"largest difference of a logit {fp32.max_abs_error:.1e} over batches {fp32.batches}",
            ),
            claim(
                f"int8 reads at most {100 * most_lost:g} points fewer digits",
                lost <= most_lost,
                f"{scores['fp32'].digit:.2%} and {scores['int8'].digit:.2%} of the digits, n = {test_pins}",
            ),
        ],
        "bought": f"{int8.bytes / fp32.bytes:.0%} of the bytes for {100 * lost:.2f} points of accuracy",
        "method": "the shipped weights, exported and quantized statically; accuracy on the test split",
    },
)
