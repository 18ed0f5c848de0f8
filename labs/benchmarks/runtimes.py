# %% [markdown]
# # One reader, six runtimes
# The same weights as Python says (torch eager), translated by torch.compile, and as one ONNX file in ONNX
# Runtime and in OpenVINO; the last two in int8 as well. Do they read the same, what does each buy at which
# batch, and which of those that are listed can be used on this machine?

# %% tags=["parameters"]
calibration_pins: int = 256  # images of the training split that set the ranges of int8
test_pins: int = 3000  # images of the test split: all of its 1,000 digits, each about 18 times
most_lost: float = 0.005  # share of digits that int8 may lose: half a point
pairs: int = 15  # interleaved pairs for each ratio
min_block_s: float = 0.05  # each side of a pair repeats its call for at least this long [s]
artifacts: str = ""  # folder shared by the points; empty: runs/lab/artifacts
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
import torch

from scalelab.bench import artifacts_folder, claim, write_record
from scalelab.compress import export_onnx, guard_accuracy, quantize_openvino, quantize_static
from scalelab.compress.compare import compare_accuracy, compare_latency
from scalelab.compress.graphs import ModuleSession, check_parity, check_provider
from scalelab.compress.runtimes import compiled_session, onnx_session, openvino_session, torch_session
from scalelab.compress.runtimes.intel import devices
from scalelab.core.errors import MissingDependency
from scalelab.core.records import metric
from scalelab.core.stats import judge
from scalelab.data import compose_pins
from scalelab.models import save_reader
from scalelab.train import trained_reader

BATCHES = (1, 7, 32)
folder = artifacts_folder(artifacts)
torch.set_num_threads(1)
reader = trained_reader()
weights = save_reader(reader, folder / "shipped.safetensors")

# %% [markdown]
# ## One export, two quantizers
# ONNX Runtime's and NNCF, OpenVINO's own. Both learn the ranges on the same training images.

# %%
calibration = compose_pins(calibration_pins, "train", seed=2)
fp32 = export_onnx(reader, folder / "shipped.onnx", batches=BATCHES)
int8 = quantize_static(fp32.path, folder / "shipped-int8.onnx", calibration.images)
nncf = quantize_openvino(fp32.path, folder / "shipped-int8.xml", calibration.images)
fp32, int8, nncf

# %% [markdown]
# ## Open all of them, one thread each

# %%
openers = {
    "torch eager": lambda: torch_session(weights),
    "torch.compile": lambda: compiled_session(weights),
    "ONNX Runtime fp32": lambda: onnx_session(fp32.path),
    "ONNX Runtime int8": lambda: onnx_session(int8.path),
    "OpenVINO fp32": lambda: openvino_session(fp32.path),
    "OpenVINO int8": lambda: openvino_session(nncf.path),
}
sessions, absent = {}, {}
for name, open_one in openers.items():
    try:
        sessions[name] = open_one()
    except MissingDependency as error:  # torch.compile without a C++ compiler: a row less, and said
        absent[name] = error.message
eager = sessions["torch eager"]
exact = [name for name in sessions if "int8" not in name]
quantized = [name for name in sessions if "int8" in name]
absent or "all six"

# %% [markdown]
# ## Parity with torch eager at batch 1, 7 and 32
# And once with the module left in training mode: batch norm then mixes the images of a batch.

# %%
test = compose_pins(test_pins, "test", seed=1)
parity = {name: check_parity(eager, sessions[name], test.images, batches=BATCHES) for name in sessions}
in_training = check_parity(eager, ModuleSession(trained_reader().train()), test.images, batches=BATCHES)
guards = {
    name: guard_accuracy(eager, sessions[name], test.images, test.labels, at_most=most_lost)
    for name in quantized
}
scores = compare_accuracy(sessions, test.images, test.labels)
for name, guard in guards.items():
    print(f"{name}: {guard}")
print("left in training mode:", in_training)

# %% [markdown]
# ## What each buys, in pairs with torch eager

# %%
rows = compare_latency(
    sessions, test.images, baseline="torch eager", batches=BATCHES, pairs=pairs, min_block_s=min_block_s
)
speedup = {(row.name, row.batch): row.speedup for row in rows}
apart = {name: max(row.max_abs_error for row in parity[name].rows) for name in sessions}
print(f"{'':<18} {'MiB':>6} {'apart':>8} {'digits':>8}   times as fast as eager at batch {BATCHES}")
for name, session in sessions.items():
    times = "   ".join(str(speedup[name, batch]) for batch in BATCHES)
    size = session.bytes / 2**20
    print(f"{name:<18} {size:>6.2f} {apart[name]:>8.1e} {100 * scores[name].digit:>6.2f} %   {times}")

# %% [markdown]
# ## Listed is not usable

# %%
providers = [check_provider(f"{name}ExecutionProvider") for name in ("CPU", "CUDA", "Tensorrt", "OpenVINO")]
print(*providers, f"OpenVINO finds {', '.join(devices())}", sep="\n")

# %%


faster = {batch: max(sessions, key=lambda name: speedup[name, batch].median) for batch in BATCHES}
smaller = {name: fp32.bytes / sessions[name].bytes for name in quantized}
slug = {name: name.lower().replace(" ", "_").replace(".", "_") for name in sessions}
write_record(
    record_path,
    "runtimes",
    parameters={"calibration_pins": calibration_pins, "test_pins": test_pins, "pairs": pairs},
    metrics=[
        *(metric(f"digit_accuracy_{slug[name]}", "share", scores[name].digit) for name in sessions),
        *(metric(f"model_bytes_{slug[name]}", "B", sessions[name].bytes) for name in sessions),
        *(metric(f"max_abs_error_{slug[name]}", "1", apart[name]) for name in sessions),
        *(
            metric(f"speedup_{slug[row.name]}_batch_{row.batch}", "1", row.speedup.median)
            for row in rows
            if row.name != "torch eager"
        ),
        *(metric(f"digits_lost_{slug[name]}", "share", guards[name].lost.median) for name in quantized),
    ],
    notes={
        "claims": [
            claim(
                f"{name} computes what eager torch computes (1e-4), at batch 1, 7 and 32",
                parity[name].holds,
                f"largest difference of a logit {apart[name]:.1e}",
            )
            for name in exact[1:]
        ]
        + [
            claim(
                "a module left in training mode is found out",
                not in_training.holds and not (in_training.is_repeatable and in_training.is_batch_free),
                f"{max(row.max_abs_error for row in in_training.rows):.2g} apart",
            )
        ]
        + [
            claim(
                f"{name} loses at most {100 * most_lost:g} points of digit accuracy",
                guards[name].verdict,
                f"{100 * guards[name].lost.median:.2f} [{100 * guards[name].lost.low:.2f}, "
                f"{100 * guards[name].lost.high:.2f}] points, {smaller[name]:.2f} times smaller",
            )
            for name in quantized
        ]
        + [
            claim(
                f"{name} is faster than eager torch at batch 1",
                judge(speedup[name, 1], at_least=1),
                f"{speedup[name, 1]} times as fast",
            )
            for name in sessions
            if name != "torch eager"
        ],
        "bought": "; ".join(
            f"at batch {batch} {faster[batch]} is the fastest, {speedup[faster[batch], batch]} times eager"
            for batch in BATCHES
        ),
        "method": f"the reader that ships (width 256), one thread; ratios from {pairs} interleaved pairs, "
        "with 95 % intervals; OpenVINO computes in float32 where it does not in int8",
        "absent": absent,
        "providers": [str(provider) for provider in providers],
        "devices": devices(),
        "quiet": all(row.is_quiet for row in rows),
    },
)
