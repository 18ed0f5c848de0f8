# %% [markdown]
# # From which width on does int8 pay?
# One dense layer of growing width, in fp32 and in int8, in turn. The conversions cost about the same at every
# width, the product costs its square: below some width the integers are slower.

# %% tags=["parameters"]
widest: int = 2048  # widths are 32, 64, ... up to this one
batches: int = 2  # 1: batch 1 alone; 2: batch 32 too
pairs: int = 15  # interleaved pairs for each ratio
min_block_s: float = 0.05  # each side of a pair repeats its call for at least this long [s]
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
from scalelab.bench import claim, write_record
from scalelab.compress.numbers import smallest_that_pays, sweep_widths
from scalelab.compress.numbers.threshold import int8_instructions
from scalelab.core.machine import fingerprint
from scalelab.core.records import metric
from scalelab.core.stats import Verdict, compare_paired

widths = [width for width in (32, 64, 128, 256, 512, 1024, 2048, 4096) if width <= widest]

# %% [markdown]
# ## The sweep

# %%
sweeps = {
    batch: sweep_widths(
        widths,
        batch=batch,
        compare=lambda a, b: compare_paired(a, b, pairs=pairs, min_block_s=min_block_s),
        on_row=lambda row: print(f"{row.width:>5}  {row.speedup} times as fast  {row.pays.value}"),
    )
    for batch in (1, 32)[:batches]
}

# %% [markdown]
# ## The threshold

# %%
thresholds = {batch: smallest_that_pays(rows) for batch, rows in sweeps.items()}
instructions = ", ".join(int8_instructions(fingerprint()["flags"])) or "none for bytes"
narrow, wide = sweeps[1][0], sweeps[1][-1]
found = ", ".join(
    f"{f'from width {width} on' if width else 'at no width'} at batch {batch}"
    for batch, width in thresholds.items()
)
write_record(
    record_path,
    "int8_threshold",
    parameters={"widest": widest, "batches": batches, "pairs": pairs, "min_block_s": min_block_s},
    metrics=[
        metric("width", "1", widths),
        *(
            metric(f"speedup_batch_{batch}", "1", [row.speedup.median for row in rows])
            for batch, rows in sweeps.items()
        ),
        *(metric(f"threshold_batch_{batch}", "1", width) for batch, width in thresholds.items() if width),
    ],
    notes={
        "claims": [
            claim(
                f"int8 is slower at width {narrow.width}, batch 1",
                None if narrow.pays is Verdict.INCONCLUSIVE else narrow.pays is Verdict.FAIL,
                f"{narrow.speedup} times as fast",
            ),
            claim(
                f"int8 is faster at width {wide.width}, batch 1",
                wide.pays,
                f"{wide.speedup} times as fast",
            ),
        ],
        "bought": f"int8 is faster {found}; instructions: {instructions}",
        "method": f"one dense layer, ONNX Runtime, one thread; {pairs} interleaved pairs, 95 % intervals",
        "quiet": all(row.is_quiet for rows in sweeps.values() for row in rows),
    },
)
