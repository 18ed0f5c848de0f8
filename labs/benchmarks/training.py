# %% [markdown]
# # Training on several ranks: what it costs, what it buys
# Six questions about one machine, answered by counting, or by turns taken in pairs. How much does our loop
# add to torch's? How much faster are two ranks than one? What does an exchange cost on a slow cable? Does the
# injected link do what it was told? How much memory do shards save? How long does a pipeline stand empty?

# %% tags=["parameters"]
blocks: int = 15  # turns of four steps for each loop
frameworks: bool = True  # also by accelerate, Lightning and DeepSpeed, where installed
ddp_batch: int = 32  # windows of text of a step, over both ranks
ddp_width: int = 128  # of the character GPT
ddp_steps: int = 60  # measured steps of each way, 4 a turn
cable_turns: int = 9  # optimizer steps over the real cable, of 8 batches each
cable_width: int = 1024  # of the dense layers whose gradients cross it
link_alpha_s: float = 0.01  # latency of the injected link [s]
link_bytes_per_s: float = 10e6  # bandwidth of the injected link
peak_width: int = 512  # of the character GPT whose state is sharded
peak_layers: int = 6  # of it
stages: int = 4  # of the pipeline, emulated
stage_s: float = 0.03  # forward pass of an emulated stage [s]
seed: int = 0
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
from dataclasses import replace

from scalelab.bench import claim, write_record
from scalelab.core.errors import UserError
from scalelab.core.records import metric
from scalelab.core.stats import judge
from scalelab.train import DdpConfig, run_ddp
from scalelab.train.data_parallel import Link
from scalelab.train.data_parallel.link_fit import fit_injected_link
from scalelab.train.data_parallel.real_link import RealLinkConfig, compare_over_real_link
from scalelab.train.frameworks import OPTIONAL, FrameworksConfig, compare_frameworks, installed_ways
from scalelab.train.parallel import bubble, measure_bubble
from scalelab.train.parallel.peak import PeakConfig, compare_peaks

claims = []

# %% [markdown]
# ## What a loop costs
# The character GPT, one thread a rank. Each way is compared with the one it is built on.

# %%
loops = FrameworksConfig(blocks=blocks, seed=seed)
if frameworks:
    loops = replace(loops, ways=(*loops.ways, *installed_ways()))
overhead = compare_frameworks(loops)
limits = {"ours alone": 1.02, "ours over DDP": 1.03}
for one in overhead.overheads:
    print(f"{one.way:<14} {one.ratio.ratio} times {one.base}; weights {one.difference:.0e} apart")
    if one.way in limits:
        text = f"{one.way} takes at most {limits[one.way]:g} times as long as {one.base}"
        claims.append(
            claim(text, judge(one.ratio.ratio, at_most=limits[one.way]), f"{one.ratio.ratio} times")
        )
for way in OPTIONAL if frameworks else ():
    if way not in loops.ways:
        print(f"{way} is not installed, so not compared")
apart = max(one.difference for one in overhead.overheads)
claims.append(
    claim("every loop ends with the weights of its base", apart < 1e-4, f"at most {apart:.0e} apart")
)

# %% [markdown]
# ## Two ranks beside one
# A GPT computes much for each byte of its gradient; dense layers would not.

# %%
ddp = run_ddp(DdpConfig(2, ddp_batch, ddp_steps, ddp_width, seed, model="gpt"))
claims += [
    claim(
        "DDP of the character GPT on two ranks of one thread is at least 1.7 times as fast as one",
        judge(ddp.speedup.ratio, at_least=1.7),
        f"{ddp.speedup.ratio} times",
    ),
    claim(
        "DDP exchanges exactly four bytes a parameter and step",
        ddp.bytes_per_step == ddp.expected_bytes_per_step,
        f"{ddp.bytes_per_step:,} bytes",
    ),
    claim("both ranks end with the same parameters", ddp.same_parameters, "sha256 of each rank"),
]
ddp.rows

# %% [markdown]
# ## An exchange each time, or one for eight batches, over a real cable
# Two network namespaces stand for two machines, and `tc` slows the cable between them to 1 Gbit/s.

# %%
try:
    cable = compare_over_real_link(RealLinkConfig(turns=cable_turns, width=cable_width, seed=seed))
except UserError as error:  # no Linux, no iproute2, or nobody may make namespaces
    cable = None
    print(f"not run here: {error}")
else:
    claims += [
        claim(
            "no_sync over 8 batches is at least 3 times as fast on a cable of 1 Gbit/s",
            judge(cable.speedup.ratio, at_least=3),
            f"{cable.speedup.ratio} times",
        ),
        claim(
            "no_sync over 8 batches hands over exactly an eighth of the bytes",
            cable.handed_share == 1 / 8,
            f"{cable.handed_share:.6g}; the cable's own counter says {cable.wire_share:.4f}",
        ),
        claim(
            "the cable lets through no more than it was told",
            cable.cable_bytes_per_s <= 1.02 * 125e6,
            f"{cable.cable_bytes_per_s * 8 / 1e6:.0f} Mbit/s by an all-reduce",
        ),
    ]
cable

# %% [markdown]
# ## The injected link
# It runs everywhere, so its latency and bandwidth must be what was asked for.

# %%
asked = Link(link_alpha_s, link_bytes_per_s)
fitted = fit_injected_link(asked)
off = max(
    max(abs(one.alpha_s / asked.alpha_s - 1), abs(one.bytes_per_s / asked.bytes_per_s - 1))
    for one in fitted.values()
)
claims.append(
    claim(
        "the injected link's latency and bandwidth are found again within 15 %",
        off <= 0.15,
        "; ".join(
            f"{kind}: {one.alpha_s * 1e3:.3g} ms, {one.bytes_per_s / 1e6:.3g} MB/s"
            for kind, one in fitted.items()
        )
        + f", asked for {asked.alpha_s * 1e3:g} ms, {asked.bytes_per_s / 1e6:g} MB/s",
    )
)
fitted

# %% [markdown]
# ## Shards of the state
# Two ranks with half of parameters, gradients and moments each. What counts is the peak.

# %%
peaks = compare_peaks(PeakConfig(width=peak_width, layers=peak_layers, seed=seed))
claims += [
    claim(
        "FSDP2 holds at most 0.51 of DDP's state on each of two ranks",
        peaks.state_share <= 0.51,
        f"{peaks.state_share:.4f}",
    ),
    claim("FSDP2's peak of memory is below DDP's", peaks.peak_share < 1, f"{peaks.peak_share:.3f} of it"),
]
peaks.rows

# %% [markdown]
# ## The bubble of a pipeline
# Stages that sleep instead of computing: emulated, since few processors cannot show the bubble of real ones.

# %%
few, many = stages, 3 * stages
bubbles = {m: measure_bubble(stages, m, forward_s=stage_s) for m in (few, many)}
for m, found in bubbles.items():
    print(f"{m} micro-batches: {found:.3f} measured, {bubble(stages, m):.3f} by (p-1)/(m+p-1)")
claims.append(
    claim(
        "a pipeline's bubble is not below (p-1)/(m+p-1) and shrinks with more micro-batches",
        bubbles[many] < bubbles[few] and all(f >= 0.99 * bubble(stages, m) for m, f in bubbles.items()),
        "; ".join(f"m={m}: {f:.3f}, formula {bubble(stages, m):.3f}" for m, f in bubbles.items()),
    )
)

# %%
ratios = [one.ratio for one in overhead.overheads]
paired = [*ratios, ddp.speedup, *([cable.speedup] if cable else [])]
write_record(
    record_path,
    "training",
    parameters={"blocks": blocks, "ddp_steps": ddp_steps, "ddp_batch": ddp_batch, "cable_turns": cable_turns},
    metrics=[
        *(
            metric(f"time_of_{one.way.replace(' ', '_').lower()}", "1", one.ratio.ratio.median)
            for one in overhead.overheads
        ),
        metric("throughput", "1/s", ddp.rows[1].images_per_s),
        metric("ddp_speedup", "1", ddp.ratios),
        *([metric("no_sync_speedup", "1", cable.speedup.ratio.median)] if cable else []),
        metric("fsdp_state_share", "1", peaks.state_share),
        metric("fsdp_peak_share", "1", peaks.peak_share),
        *(metric(f"bubble_of_{m}", "1", found) for m, found in bubbles.items()),
    ],
    notes={
        "throughput_of": "windows of text in training",
        "claims": claims,
        "bought": f"two ranks are {ddp.speedup.ratio} times as fast as one"
        + (f"; no_sync {cable.speedup.ratio} times on 1 Gbit/s" if cable else "")
        + f"; shards need {peaks.peak_share:.2f} of the peak",
        "method": "gloo ranks of one thread each; ratios from interleaved turns with 95 % intervals; bytes "
        "counted, memory by the system's high-water mark; injected link and emulated stages are called so",
        "quiet": all(one.is_quiet for one in paired),
    },
    seed=seed,
)
