# %% [markdown]
# # Rung 2: gradient accumulation
# A batch that does not fit in memory is taken in bites. The step stays the same only if every bite weighs
# as much as it has targets; "divide by the number of bites" is wrong as soon as the last one is ragged.

# %% tags=["parameters"]
batch_size: int = 250  # images of one optimizer step
width: int = 2048  # units of each dense layer
seed: int = 0
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
from scalelab.bench import claim, write_record
from scalelab.core.records import metric
from scalelab.train import measure_accumulation

# %% [markdown]
# ## The same gradient, in bites
# `relative_error` is the distance to the full batch's gradient, `error_of_step_mean` what a mean of the
# bites' means would give. Activations are counted in bytes that autograd keeps for the backward pass.

# %%
report = measure_accumulation(batch_size=batch_size, width=width, seed=seed)
report

# %%
whole, *bites = report.rows
saved_share = bites[-1].saved_bytes / whole.saved_bytes
worst = max(row.relative_error for row in bites)
same_gradient = claim(
    "accumulated gradients equal the full batch's, ragged last bite included (1e-6 relative, in float64)",
    worst <= 1e-6,
    f"largest relative error {worst:.1e} ({max(row.float32_error for row in bites):.1e} in float32) "
    f"over micro-batches {', '.join(str(row.micro_batch) for row in bites)} of {batch_size}; "
    f"a mean of the bites' means is {report.error_of_step_mean:.0%} off",
)
write_record(
    record_path,
    "accumulation",
    parameters={"batch_size": batch_size, "width": width},
    metrics=[
        metric("throughput", "1/s", batch_size / bites[-1].seconds),
        metric("micro_batch", "images", [row.micro_batch for row in report.rows]),
        metric("saved_bytes", "B", [row.saved_bytes for row in report.rows]),
        metric("step_time", "s", [row.seconds for row in report.rows]),
        metric("relative_error", "1", [row.relative_error for row in report.rows]),
    ],
    notes={
        "throughput_of": "training images",
        "claims": [same_gradient],
        "bought": f"the same step in {saved_share:.1%} of the activation memory and "
        f"{bites[-1].seconds / whole.seconds:.2f} times the time",
        "method": "gradients of one step against the full batch's; bytes by autograd's saved-tensor hooks",
    },
    seed=seed,
)
