# %% [markdown]
# # A transformer in int8: MiniLM
# Six layers, 22.6 million weights, half of them one vector a word piece. int8 is a quarter of the bytes and
# faster; but do the vectors still find the same neighbours? The cosine to the fp32 vector is close to 1 in
# every recipe, and says little: what counts is which sentence a search returns.

# %% tags=["parameters"]
texts: int = 7000  # docstring sentences of the standard library whose nearest neighbours are compared
calibration: int = 300  # sentences of other modules that set the ranges of NNCF's int8
length: int = 32  # tokens of a sentence
pairs: int = 15  # interleaved pairs for each ratio
min_block_s: float = 0.05  # each side of a pair repeats its call for at least this long [s]
artifacts: str = ""  # folder shared by the points; empty: runs/lab/artifacts
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
import torch

from scalelab.bench import artifacts_folder, claim, write_record
from scalelab.compress.transformer import (
    agreement,
    export_encoder,
    quantize_encoder,
    sentences,
    text_session,
    tokenize,
)
from scalelab.compress.transformer.text_sessions import embed_all
from scalelab.core.records import metric
from scalelab.core.stats import compare_paired, judge

folder = artifacts_folder(artifacts)
torch.set_num_threads(1)

# %% [markdown]
# ## One export, two recipes
# ONNX Runtime finds the range of an activation at each call; NNCF learns it beforehand, and first scales down
# the few channels that are far larger than the others.

# %%
fp32 = export_encoder(folder / "minilm.onnx")
dynamic = quantize_encoder(fp32.path, folder / "minilm-int8.onnx")
learned_on = tokenize(sentences(calibration, "val"), length)
smooth = quantize_encoder(fp32.path, folder / "minilm-int8.xml", learned_on)
sessions = {
    "torch eager": text_session(),
    "ONNX Runtime fp32": text_session(fp32.path),
    "OpenVINO fp32": text_session(fp32.path, runtime="openvino"),
    "ONNX Runtime int8": text_session(dynamic.path),
    "OpenVINO int8": text_session(smooth.path),
}
eager = sessions["torch eager"]
int8 = [name for name in sessions if "int8" in name]
exact = [name for name in sessions if "fp32" in name]
fp32, dynamic, smooth

# %% [markdown]
# ## Whose nearest neighbours stay?

# %%
measured = tokenize(sentences(texts), length)
reference = embed_all(eager, measured)
found = {name: agreement(reference, embed_all(session, measured)) for name, session in sessions.items()}
for name, one in found.items():
    print(f"{name:<18} {one}")

# %% [markdown]
# ## How fast, in pairs with torch eager
# Every sentence fills all its tokens: fillers would be work for nothing.

# %%
words = sentences(4 * 32)
full = tokenize([" ".join(words[at : at + 4]) for at in range(0, len(words), 4)], length)
speedup, quiet = {}, True
for batch in (1, 32):
    tokens = full[:batch]
    for name, session in sessions.items():
        paired = compare_paired(
            lambda tokens=tokens: eager.embed(tokens),
            lambda session=session, tokens=tokens: session.embed(tokens),
            pairs=pairs,
            min_block_s=min_block_s,
        )
        speedup[name, batch] = paired.ratio
        quiet = quiet and paired.is_quiet
print(f"{'':<18} {'MiB':>6} {'smaller':>8}   times as fast as eager at batch 1 and 32")
for name, session in sessions.items():
    times = "   ".join(str(speedup[name, batch]) for batch in (1, 32))
    print(f"{name:<18} {session.bytes / 2**20:>6.1f} {eager.bytes / session.bytes:>7.2f}x   {times}")

# %%

best = max(int8, key=lambda name: found[name].top1.median)
smaller = eager.bytes / sessions[best].bytes
top1 = found[best].top1
slug = {name: name.lower().replace(" ", "_") for name in sessions}
write_record(
    record_path,
    "minilm",
    parameters={"texts": texts, "calibration": calibration, "length": length, "pairs": pairs},
    metrics=[
        *(metric(f"model_bytes_{slug[name]}", "B", sessions[name].bytes) for name in sessions),
        *(metric(f"top1_agreement_{slug[name]}", "share", found[name].top1.median) for name in sessions),
        *(metric(f"cosine_mean_{slug[name]}", "1", found[name].cosine_mean) for name in sessions),
        *(metric(f"cosine_min_{slug[name]}", "1", found[name].cosine_min) for name in sessions),
        *(
            metric(f"speedup_{slug[name]}_batch_{batch}", "1", ratio.median)
            for (name, batch), ratio in speedup.items()
            if name != "torch eager"
        ),
    ],
    notes={
        "claims": [
            claim(
                "fp32 in both runtimes finds what eager torch finds",
                min(found[name].top1.median for name in exact) >= 0.99,
                ", ".join(f"{name} {100 * found[name].top1.median:.2f} %" for name in exact),
            ),
            claim(f"{best} is at least 3.9 times smaller", smaller >= 3.9, f"{smaller:.2f} times"),
            claim(
                f"{best}: at least 93 % of the nearest neighbours stay",
                judge(top1, at_least=0.93),
                f"{100 * top1.median:.1f} [{100 * top1.low:.1f}, {100 * top1.high:.1f}] % of {top1.n:,} "
                "sentences",
            ),
            *(
                claim(
                    f"{best} is at least {bound} times as fast as eager torch at batch {batch}",
                    judge(speedup[best, batch], at_least=bound),
                    f"{speedup[best, batch]} times",
                )
                for batch, bound in ((1, 4), (32, 3))
            ),
        ],
        "bought": f"{best}: {smaller:.2f} times smaller, {speedup[best, 1]} times as fast as eager torch at "
        f"batch 1 and {speedup[best, 32]} at batch 32; {100 * top1.median:.1f} % of the neighbours stay",
        "method": f"{length} tokens, one thread; ratios from {pairs} interleaved pairs, agreement on "
        f"{texts:,} docstring sentences of this Python's standard library, both with 95 % intervals",
        "quiet": quiet,
    },
)
