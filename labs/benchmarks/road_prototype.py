# %% [markdown]
# # Rung 1: the prototype
# A network that a student would write first: a small convolutional stem, then dense layers far wider than
# the task needs. It reads a whole PIN code from one image. How good is it, how fast, and what would a million
# predictions cost if we shipped the notebook as it is?

# %% tags=["parameters"]
steps: int = 0  # optimizer steps; 0: the recipe's own number
width: int = 2048  # units of each dense layer
test_pins: int = 2000  # images of the test split
digit_floor: float = 0.975  # share of digits that must be right
pin_floor: float = 0.86  # share of PIN codes that must be right
train_limit_s: float = 90.0  # training time on two cores that are otherwise idle [s]
min_iterations: int = 300  # single predictions that are timed (p99 needs 100)
instance: str = "aws.c5.large"  # row of the price book
seed: int = 0
artifacts: str = ""  # folder shared by the rungs; empty: runs/lab/artifacts, then the demo's
record_path: str = ""  # where to write the RunRecord; empty: show only

# %%
from dataclasses import asdict

from scalelab.bench import artifacts_folder, claim, latency_metrics, write_record
from scalelab.compress.compare import predict_all
from scalelab.compress.runtimes import torch_session
from scalelab.core.records import metric
from scalelab.core.stats import measure
from scalelab.cost import cost_per_million
from scalelab.data import compose_pins
from scalelab.models import accuracy, save_reader
from scalelab.train import TrainConfig, train_reader

folder = artifacts_folder(artifacts)

# %% [markdown]
# ## Train
# Every step sees freshly composed PIN codes from 3,500 source digits, none of which the other splits use.

# %%
config = TrainConfig(width=width, seed=seed, **({"steps": steps} if steps else {}))
model, training = train_reader(config)
path = folder / "reader.safetensors"
save_reader(model, path)
(
    training.accuracy,
    f"{training.seconds:.0f} s",
    [round(loss, 3) for loss in training.losses[:: max(1, config.steps // 10)]],
)

# %% [markdown]
# ## Read the test split
# A PIN code is right only if all six digits are.

# %%
test = compose_pins(test_pins, "test", seed=1)
session = torch_session(path, threads=1)
score = accuracy(predict_all(session, test.images), test.labels)
score

# %% [markdown]
# ## One prediction, and a batch of 32
# One thread, eager mode. The wide layers hold tens of megabytes of weights that every call reads from memory:
# once for one image, once for 32.

# %%
one, many = test.images[:1], test.images[:32]
single_s = measure(lambda: session.predict(one), min_iterations=min_iterations, min_duration_s=1.0)
batch_s = measure(lambda: session.predict(many), min_iterations=20, min_duration_s=1.0)
images_per_s = 32 / sorted(batch_s)[len(batch_s) // 2]
usd = cost_per_million(images_per_s, instance)
inr = cost_per_million(images_per_s, instance, currency="INR")
usd, inr

# %%
write_record(
    record_path,
    "prototype",
    parameters={"steps": config.steps, "width": width, "test_pins": test_pins},
    metrics=[
        metric("digit_accuracy", "share", score.digit),
        metric("pin_accuracy", "share", score.pin),
        *latency_metrics(single_s),
        metric("latency", "s", single_s),
        metric("throughput", "1/s", images_per_s),
        metric("train_time", "s", training.seconds),
        metric("model_bytes", "B", path.stat().st_size),
        metric("usd_per_million", "USD", usd.amount),
        metric("inr_per_million", "INR", inr.amount),
    ],
    notes={
        "throughput_of": "predictions, batch 32",
        "bought": f"a baseline: {score.pin:.1%} of the PIN codes right, trained in {training.seconds:.0f} s",
        "training": asdict(config),
        "claims": [
            claim(
                f"at least {digit_floor:.1%} of the digits and {pin_floor:.0%} of the PIN codes are right",
                score.digit >= digit_floor and score.pin >= pin_floor,
                f"{score.digit:.2%} of the digits, {score.pin:.2%} of {score.n_pins:,} PIN codes",
            ),
            claim(
                f"training takes under {train_limit_s:.0f} s on two cores",
                # a busy machine stretches the wall clock, not the processor time
                training.seconds < train_limit_s or (None if training.cpu_s < 2 * train_limit_s else False),
                f"{training.seconds:.0f} s, {training.cpu_s:.0f} s of processor time, {training.steps} steps"
                + (
                    "" if training.seconds < train_limit_s else "; if other work slowed it, try again without"
                ),
            ),
        ],
        "method": f"trained {training.seconds:.0f} s; eager torch, one thread; "
        f"cost at the rate of batch 32 on {usd.instance} ({usd.kind}, {usd.region}), "
        f"prices of {usd.prices_date}",
    },
    seed=seed,
)
