# %% [markdown]
# # The ladder: prune, distil, int8
# The reader of rung 1 holds far more than its task needs. Here it is cut to a few channels, taught by what it
# was, rewritten for the kernels that run it, and its dense layers become integers. How small, how fast, and
# at what price in digits? Over several seeds, since one student may be lucky.

# %% tags=["parameters"]
lessons: int = 16000  # training images that the teacher reads once, for all students
steps: int = 1200  # optimizer steps of each student
seeds: int = 5  # students
test_pins: int = 3000  # images of the test split: all of its 1,000 digits, each about 18 times
most_lost: float = 0.005  # share of digits that may be lost: half a point
min_iterations: int = 300  # single predictions that are timed (p99 needs 100)
pairs: int = 15  # interleaved pairs for each ratio
instance: str = "aws.c5.large"  # row of the price book
artifacts: str = ""  # folder shared by the points; empty: runs/lab/artifacts, then the demo's
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
from dataclasses import replace

import torch

from scalelab.bench import artifacts_folder, claim, latency_metrics, need_artifact, write_record
from scalelab.compress.compare import compare_latency, predict_all
from scalelab.compress.guard import guard_logits, lost_over_seeds
from scalelab.compress.runtimes import onnx_session, torch_session
from scalelab.compress.shrink import DistillConfig, LadderConfig, climb_ladder, prepare_lessons
from scalelab.compress.shrink.ladder import each_seed
from scalelab.core.records import metric
from scalelab.core.stats import judge, measure
from scalelab.cost import cost_per_million
from scalelab.data import compose_pins
from scalelab.models import load_reader
from scalelab.train.loop import HARDER

folder = artifacts_folder(artifacts)
reader = need_artifact(folder, "reader.safetensors", made_by="road_prototype.ipynb")
torch.set_num_threads(1)
teacher = load_reader(reader)

# %% [markdown]
# ## The teacher reads the lessons once
# More distorted than the test, since 3,500 digits must stand for all handwriting.

# %%
taught = prepare_lessons(teacher, lessons, seed=77, augmentation=HARDER)

# %% [markdown]
# ## The students

# %%
config = LadderConfig(distillation=DistillConfig(steps=steps))
config = replace(config, calibration_images=min(config.calibration_images, lessons))
ladders = [climb_ladder(teacher, taught, folder, one) for one in each_seed(config, range(seeds))]
ladders[0]

# %% [markdown]
# ## What it costs: the same images, read by the teacher and by each student

# %%
test = compose_pins(test_pins, "test", seed=1)
eager = torch_session(reader, threads=1)
expected = predict_all(eager, test.images)
logits = [predict_all(onnx_session(one.int8.path), test.images) for one in ladders]
guards = [guard_logits(expected, found, test.labels, at_most=most_lost) for found in logits]
lost = lost_over_seeds(expected, logits, test.labels)
for guard in guards:
    print(guard)
lost

# %% [markdown]
# ## What it buys, in pairs with eager torch, one thread

# %%
sessions = {
    "eager": eager,
    "student fp32": onnx_session(ladders[0].fp32.path, threads=1),
    "student int8": onnx_session(ladders[0].int8.path, threads=1),
}
rows = compare_latency(sessions, test.images, baseline="eager", pairs=pairs)
rows

# %%
speedup = {(row.name, row.batch): row.speedup for row in rows}
int8 = {batch: speedup["student int8", batch] for batch in (1, 32)}
smaller = reader.stat().st_size / ladders[0].int8.bytes
one = test.images[:1]
single_s = measure(
    lambda: sessions["student int8"].predict(one), min_iterations=min_iterations, min_duration_s=1.0
)
images_per_s = next(row.images_per_s for row in rows if (row.name, row.batch) == ("student int8", 32))
usd = cost_per_million(images_per_s, instance)
inr = cost_per_million(images_per_s, instance, currency="INR")

in_points = f"{100 * lost.median:.2f} [{100 * lost.low:.2f}, {100 * lost.high:.2f}]"
each = ", ".join(f"{100 * guard.lost.median:.2f}" for guard in guards)
write_record(
    record_path,
    "ladder",
    parameters={"lessons": lessons, "steps": steps, "seeds": seeds, "test_pins": test_pins, "pairs": pairs},
    metrics=[
        metric("digit_accuracy", "share", [guard.candidate.digit for guard in guards]),
        metric("pin_accuracy", "share", [guard.candidate.pin for guard in guards]),
        metric("digits_lost", "share", [guard.lost.median for guard in guards]),
        metric("training", "s", [made.training.seconds for made in ladders]),
        *latency_metrics(single_s),
        metric("latency", "s", single_s),
        metric("throughput", "1/s", images_per_s),
        metric("speedup_batch_1", "1", int8[1].median),
        metric("speedup_batch_32", "1", int8[32].median),
        metric("fp32_speedup_batch_1", "1", speedup["student fp32", 1].median),
        metric("fp32_speedup_batch_32", "1", speedup["student fp32", 32].median),
        metric("model_bytes", "B", ladders[0].int8.bytes),
        metric("teacher_bytes", "B", reader.stat().st_size),
        metric("usd_per_million", "USD", usd.amount),
        metric("inr_per_million", "INR", inr.amount),
    ],
    notes={
        "throughput_of": "predictions, batch 32",
        "ladder": [
            {"name": name, "bytes": session.bytes, **{f"batch_{n}": speedup[name, n].median for n in (1, 32)}}
            for name, session in sessions.items()
        ],
        "claims": [
            claim("the student is at least 40 times smaller", smaller >= 40, f"{smaller:.0f} times"),
            claim("at least 15 times as fast at batch 1", judge(int8[1], at_least=15), f"{int8[1]} times"),
            claim("at least 25 times as fast at batch 32", judge(int8[32], at_least=25), f"{int8[32]} times"),
            claim(
                f"at most {100 * most_lost:g} points of digit accuracy are lost, over the seeds",
                judge(lost, at_most=most_lost),
                f"{in_points} points on {6 * test_pins:,} digits of the test split; each seed: {each}",
            ),
        ],
        "bought": f"{smaller:.0f} times smaller, {int8[1]} times as fast as eager torch at batch 1 and "
        f"{int8[32]} at batch 32, for {in_points} points of digit accuracy",
        "method": f"one thread; ratios from {pairs} interleaved pairs, accuracy from {seeds} "
        f"student{'s' * (seeds > 1)} of {steps:,} steps on the same images, both with 95 % intervals; the "
        "seed draws the order of the lessons",
        "quiet": all(row.is_quiet for row in rows),
    },
)
