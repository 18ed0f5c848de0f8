# %% [markdown]
# # Rung 3: data parallel training
# Two processes take half of the images each and sum their gradients. What they gain in arithmetic they pay
# in bytes: every step moves every gradient. For a wide network on one machine that may be a loss.

# %% tags=["parameters"]
processes: int = 2  # ranks, one thread each
device: str = "cpu"  # cpu (gloo); cuda: a GPU for each rank, and NCCL; auto
batch_size: int = 64  # images of one step, over all ranks
steps: int = 12  # measured steps of each variant
width: int = 2048  # units of each dense layer
seed: int = 0
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
from scalelab.bench import claim, write_record
from scalelab.core.records import metric
from scalelab.core.stats import estimate_median
from scalelab.train import DdpConfig, run_ddp

# %% [markdown]
# ## Run it under torchrun

# %%
config = DdpConfig(processes=processes, batch_size=batch_size, steps=steps, width=width, seed=seed)
report = run_ddp(config, device=device)
report

# %%
claims = [
    claim(
        f"{processes} ranks end with the same parameters",
        report.same_parameters,
        f"checksums gathered from {report.world_size} ranks",
    ),
    claim(
        "every gradient byte is accounted for",
        report.bytes_per_step == report.expected_bytes_per_step,
        f"{report.bytes_per_step:,} bytes handed to all-reduce a step and rank, "
        f"parameters x 4 = {report.expected_bytes_per_step:,}",
    ),
]
rows = [
    {"name": row.name, "images_per_s": row.images_per_s, "bytes_per_step": row.bytes_per_step}
    for row in report.rows
]
write_record(
    record_path,
    "ddp",
    parameters={
        "processes": processes,
        "batch_size": batch_size,
        "steps": steps,
        "width": width,
        "device": report.device,
    },
    metrics=[metric("throughput", "1/s", rows[1]["images_per_s"]), metric("ddp_ratio", "1", report.ratios)],
    notes={
        "throughput_of": "training images",
        "ddp": rows,
        "claims": claims,
        "bought": f"{estimate_median(report.ratios)} times one process's images a second; "
        f"{estimate_median(report.ratios_no_sync)} if gradients are exchanged only every few batches",
        "method": f"{report.world_size} {'NCCL' if report.device == 'cuda' else 'gloo'} ranks of torchrun, "
        "one thread each, in turn with one process of one thread",
    },
    seed=seed,
)
