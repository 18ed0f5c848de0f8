# %% [markdown]
# # Lab 06: Gradient accumulation
# A large batch on a small memory, in bites. It is four lines of code, and one of them is easy to get
# wrong.
#
# ## Question
# A batch of 70 photos does not fit into memory; 32 do. So you take 32 + 32 + 6, call `backward()` three
# times, divide by three, and step. Nothing complains. **Is that the step that 70 photos at once would
# have taken?**

# %%
from scalelab import Lab

lab = Lab("06_gradient_accumulation")

# %% [markdown]
# ## What you need
# PyTorch, and about 75 minutes. No earlier lab. The network is the course's PIN reader: a photo of a
# handwritten PIN code goes in, six digits come out. Some digits of a photo carry no label (illegible):
# their label is `IGNORE` and they teach nothing. What counts is therefore not photos but **targets**:
# digits that have a label. (In a language model they are the target *tokens*, and padding is what carries
# none. The rule is the same.)
#
# Shapes in this notebook: B = photos, H = 28 rows, W = 168 columns, P = 6 digits. `nats` gives the
# *summed* loss, so that you decide what to divide it by.

# %%
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from scalelab.classroom import Measurement, when_ready
from scalelab.classroom.figures import plot_lines
from scalelab.core.stats import compare_paired
from scalelab.core.units import format_bytes
from scalelab.data import compose_pins
from scalelab.models import PinReader
from scalelab.train import IGNORE

torch.set_num_threads(
    1
)  # two threads on a busy machine wait for each other, and times mean nothing


def photos(n, seed):
    """Return n photos (n, 28, 168) uint8 and their digits (n, 6) int64."""
    drawn = compose_pins(n, "train", seed=seed)
    return torch.from_numpy(drawn.images), torch.from_numpy(drawn.labels).long()


def cut(images, labels, sizes):
    """Cut a batch into micro-batches: a list of (images, labels)."""
    return list(zip(images.split(sizes), labels.split(sizes), strict=True))


def nats(model, images_BHW, labels_BP):
    """Return the summed cross-entropy of all labelled digits [nats], a tensor of one number."""
    logits_BPK = model(images_BHW)  # (B, 6, 10)
    return F.cross_entropy(
        logits_BPK.flatten(0, 1), labels_BP.flatten(), ignore_index=IGNORE, reduction="sum"
    )


def tiny_reader(seed=0):
    """Return a PIN reader of few weights; in .eval() batch norm ignores other photos."""
    torch.manual_seed(seed)
    return PinReader(width=16, channels=(2, 3, 4)).eval()


def flat_gradient(model):
    """Return all gradients as one long vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters()])


images, labels = photos(70, seed=0)
logits = tiny_reader()(images)
f"photos {tuple(images.shape)}, labels {tuple(labels.shape)}, logits {tuple(logits.shape)}"

# %% [markdown]
# ## Predict
# Take the gradient of 70 photos at once as the truth, a long arrow in the space of the weights. Take the
# same photos as 32 + 32 + 6, average each micro-batch, and divide the sum by three.
#
# How long is the difference of the two arrows, in per cent of the true one? 0 % is perfect; 100 % is as
# wrong as having no gradient at all.

# %%
lab.predict(
    "ragged_error",
    "How wrong is the gradient of 32 + 32 + 6, divided by steps?",
    unit="%",
    range=(0, 150),
)

# %% tags=["solution-only"]
lab.predict("ragged_error", guess=20, low=3, high=80)

# %% [markdown]
# ## Build
# ### Who weighs how much?
# The loss of a batch is a mean over its targets. Cut the batch in pieces: with which weight must the mean
# of each piece go into the mean of the whole?


# %% task="weights"
def micro_batch_weights(labels):
    """Return the weight of each micro-batch's mean loss in the mean loss of the whole batch.

    Args:
        labels: list of tensors (B, 6) int64, one a micro-batch; B differs. IGNORE: a digit
            without label.

    Returns:
        List (or tensor) of numbers, one a micro-batch; they add up to 1.
    """
    ### BEGIN SOLUTION
    targets = [int((labels_BP != IGNORE).sum()) for labels_BP in labels]
    return [count / sum(targets) for count in targets]
    ### END SOLUTION


# %% check="weights"
lab.check("weights")

# %% [markdown]
# ### The ragged last micro-batch
# `.grad` adds up: each `backward()` puts its gradient on top of what is there, until somebody clears it.
# That is the whole trick of accumulation, and also its trap. The other half of the trick is memory: a graph
# lives from its forward pass to its `backward()`, and only one may live at a time.


# %% task="accumulate"
def accumulate(model, micro_batches):
    """Leave in each parameter's .grad what one backward over all photos at once would leave.

    The rule of memory: one micro-batch's graph is alive at a time. Each goes through the model
    by itself, and its `backward()` is done before the next one goes through.

    Args:
        model: maps images (B, 28, 168) uint8 to logits (B, 6, 10) float32. Old gradients in it
            do not count.
        micro_batches: list of (images (B, 28, 168) uint8, labels (B, 6) int64); B differs.

    Returns:
        The mean loss over all targets of all micro-batches [nats per digit]: a number (a float
        or a tensor of one number).
    """
    ### BEGIN SOLUTION
    targets = sum(int((labels_BP != IGNORE).sum()) for _, labels_BP in micro_batches)
    model.zero_grad()
    loss = 0.0
    for images_BHW, labels_BP in micro_batches:
        share = nats(model, images_BHW, labels_BP) / targets
        share.backward()  # the graph of this micro-batch is freed here
        loss += share.item()
    return loss
    ### END SOLUTION


# %% check="accumulate"
lab.check("accumulate")

# %% [markdown]
# ### Clip, then step
# Long gradients are shortened to `max_grad_norm` before the step. Shortening keeps the direction, if it
# is done to the whole gradient. When do you have the whole gradient?


# %% task="step"
def accumulated_step(model, optimizer, micro_batches, max_grad_norm=float("inf")):
    """Take one optimizer step on the gradient of all micro-batches together.

    Args:
        model, micro_batches: as for `accumulate`.
        optimizer: over model.parameters().
        max_grad_norm: the L2 norm of the whole gradient is clipped to this.

    Returns:
        The norm before clipping: a number (a float, or a tensor of one number).
    """
    ### BEGIN SOLUTION
    accumulate(model, micro_batches)
    found_norm = nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    return float(found_norm)
    ### END SOLUTION


# %% check="step"
lab.check("step")

# %% [markdown]
# ### What is saved: bytes
# Why all this? `backward()` needs what the forward pass saw: the *activations*. Autograd keeps them, and
# lets you look:
#
# ```python
# def pack(tensor):     # called with each tensor that is kept for backward
#     ...               # look at it
#     return tensor
#
# with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
#     model(images)
# ```
#
# Count honestly: weights are there anyway; a tensor that is kept twice exists once (same `data_ptr()`); a
# slice of a large tensor counts with its own bytes only.


# %% task="bytes"
def saved_bytes(model, images):
    """Return the bytes of activations that autograd keeps after model(images); no weights.

    Args:
        model: any nn.Module.
        images: its input, a tensor (B, ...).

    Returns:
        Bytes, an int. Each tensor counts once.
    """
    ### BEGIN SOLUTION
    weights = {
        parameter.untyped_storage().data_ptr()
        for parameter in (*model.parameters(), *model.buffers())
    }
    kept = {}  # holding the tensors keeps their addresses from being used again

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
    ### END SOLUTION


# %% check="bytes"
lab.check("bytes")

# %% [markdown]
# ### Even less: forget, and compute again
# Accumulation cuts the batch. *Activation checkpointing* cuts the network: keep only what goes into each
# block, and when backward arrives there, run the block once more.
# `checkpoint(function, x, use_reentrant=False)` does it for one function. (Random numbers, such as
# dropout's, are drawn again as they were.)


# %% task="checkpoint"
def run_checkpointed(blocks, x):
    """Send x through all blocks, keeping only the input of each block for backward.

    Args:
        blocks: sequence of nn.Module; each takes what the one before it gives.
        x: tensor, the input of the first block.

    Returns:
        What the last block gives: the same values and, after backward(), the same gradients as
        without.
    """
    ### BEGIN SOLUTION
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False)
    return x
    ### END SOLUTION


# %% check="checkpoint"
lab.check("checkpoint")

# %% [markdown]
# ### A drill: photos that teach nothing
# Here is an epoch that looks right, and its loss goes down. Below it trains on seven micro-batches, three
# to a step. Look at the count of steps, and at how far the weights would be if the last five photos had
# never been taken.


# %%
def common_epoch(model, optimizer, micro_batches, per_step):
    """The broken epoch."""
    steps = 0
    optimizer.zero_grad()
    for number, (images_BHW, labels_BP) in enumerate(micro_batches, start=1):
        loss = nats(model, images_BHW, labels_BP) / (labels_BP != IGNORE).sum()
        (loss / per_step).backward()
        if number % per_step == 0:
            optimizer.step()
            optimizer.zero_grad()
            steps += 1
    return steps


def weights_after(epoch, micro_batches, per_step):
    """Return how many steps an epoch says it took, and all weights after it as a vector."""
    model = tiny_reader()
    steps = epoch(model, torch.optim.SGD(model.parameters(), lr=0.2), micro_batches, per_step)
    return steps, nn.utils.parameters_to_vector(model.parameters()).detach()


week = cut(*photos(65, seed=3), [10] * 6 + [5])
steps, after_all = weights_after(common_epoch, week, per_step=3)
_, without_last = weights_after(common_epoch, week[:6], per_step=3)
difference = (after_all - without_last).norm()
f"{steps} steps; without the last five photos the weights differ by {difference:g}"

# %% [markdown]
# Find the cause, mend the epoch (use your `accumulated_step`), and write the test that would have caught
# it.


# %% task="epoch"
def train_epoch(model, optimizer, micro_batches, per_step):
    """Learn from every micro-batch, in order, `per_step` of them to a step; no clipping.

    Args:
        model, optimizer, micro_batches: as for `accumulated_step`.
        per_step: how many micro-batches make a full step.

    Returns:
        The number of steps, an int.
    """
    ### BEGIN SOLUTION
    groups = [
        micro_batches[first : first + per_step]
        for first in range(0, len(micro_batches), per_step)
    ]
    for group in groups:
        accumulated_step(model, optimizer, group)
    return len(groups)
    ### END SOLUTION


def counts_every_photo(epoch):
    """Test an epoch: does it learn from micro-batches that do not fill a step?

    Args:
        epoch: function (model, optimizer, micro_batches, per_step) -> steps, like those above.

    Returns:
        True if it does, False if not.
    """
    ### BEGIN SOLUTION
    few = cut(*photos(9, seed=4), [3, 3, 3])
    steps, moved = weights_after(epoch, few, per_step=2)
    _, without = weights_after(epoch, few[:2], per_step=2)
    return steps == 2 and not torch.equal(moved, without)
    ### END SOLUTION


# %% check="epoch"
lab.check("epoch")

# %% [markdown]
# ## Measure
# A larger reader takes ten ordinary steps first, so that it is a reader in training and not a random one.
# Then, for last micro-batches of 1 to 32 photos, three gradients of the same photos: at once, by *your*
# `accumulate`, and "divided by the number of steps". Each on five fresh batches.

# %%
from scalelab.train import accumulate_step

torch.manual_seed(0)
reader = PinReader(width=256).train()
optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-3)
for step in range(10):
    accumulate_step(reader, optimizer, [photos(64, seed=100 + step)])
reader.eval()  # batch norm: with live statistics no cut would equal the whole
LAST, BATCHES = (1, 2, 4, 6, 8, 16, 24, 32), 5
noise_of, truth_of, losses = {}, {}, {}


def gradient(micro_batches):
    """Return mean loss and gradient by your `accumulate`."""
    loss = accumulate(reader, micro_batches)
    return loss, flat_gradient(reader)


def relative(found, wanted):
    """Return how far a gradient is off, in per cent of the right one."""
    return 100 * float((found - wanted).norm() / wanted.norm())


def measure_last(last):
    """Return the errors [%] of five batches cut into 32 + 32 + last: by steps, by targets."""
    by_steps, by_targets = [], []
    for seed in range(BATCHES):
        batch = photos(64 + last, seed=200 + seed)
        pieces = cut(*batch, [32, 32, last])
        loss, truth = gradient([batch])
        means = [gradient([piece]) for piece in pieces]
        by_steps.append(relative(sum(part for _, part in means) / 3, truth))
        by_targets.append(relative(gradient(pieces)[1], truth))
        losses[last, seed] = loss, sum(mean for mean, _ in means) / 3
        truth_of[last, seed] = float(truth.norm() ** 2)
        noise_of[last, seed] = 16 * float((means[0][1] - means[1][1]).norm() ** 2)
    return by_steps, by_targets


# %%
def run_cuts():
    """Measure all cuts and draw both rules over the size of the last micro-batch."""
    rows = []
    for last in LAST:
        by_steps, by_targets = (sorted(errors) for errors in measure_last(last))
        rows.append(
            {
                "last micro-batch": last,
                "by steps, %": float(f"{by_steps[2]:.3g}"),
                "lowest": float(f"{by_steps[0]:.3g}"),
                "highest": float(f"{by_steps[-1]:.3g}"),
                "by targets, %": float(f"{by_targets[2]:.2g}"),
            }
        )
    figure = plot_lines(
        rows,
        "last micro-batch",
        ["by steps, %", "by targets, %"],
        title="The same photos, two rules",
        x_title="photos in the last micro-batch",
        y_title="gradient off by, %",
        is_log=True,
        colours=("#c8433f", "#3b7dd8"),
    )
    ragged = rows[LAST.index(6)]
    largest = max(row["by targets, %"] for row in rows)
    whole_loss, steps_loss = losses[6, 0]
    return Measurement(
        ragged["by steps, %"],
        unit="%",
        values=[row["by steps, %"] for row in rows],
        verdict="PASS" if ragged["lowest"] > 10 and largest < 0.1 else "FAIL",
        detail="32 + 32 + 6 divided by steps: off by "
        f"{ragged['lowest']:.0f} to {ragged['highest']:.0f} % over five batches; weighted by "
        f"targets: at most {largest:.5f} %. The loss shows nothing: {whole_loss:.3f} nats at "
        f"once, {steps_loss:.3f} as a mean of three means. No error, no warning.",
        figure=figure,
        table=rows,
        alt="Two lines over the size of the last micro-batch, logarithmic. Divided by steps: "
        f"from {rows[0]['by steps, %']:.0f} % at 1 photo to {rows[-1]['by steps, %']:.5f} % at "
        f"32. Weighted by targets: never above {largest:.5f} %.",
    )


measured = lab.measure("ragged_error", run_cuts, unit="%")
measured

# %% [markdown]
# And the memory: a batch of 128 photos, in ever smaller bites; last, all 128 at once but every block in a
# checkpoint. What checkpoints keep, autograd's hooks do not see, so it is counted at the blocks' doors:
# the bytes that go in.

# %%
batch_128, _ = photos(128, seed=7)
inked = batch_128.unsqueeze(1).float() / 255
stem, head = reader.stem, reader.head
# each block: a convolution or a dense layer, and what follows it
blocks = [stem[:3], stem[3:6], stem[6:], head[:4], head[4:7], head[7:]]
plain = nn.Sequential(*blocks)
doors = []

with when_ready():
    for bite in (128, 32, 8):
        kept = format_bytes(saved_bytes(reader, batch_128[:bite]))
        print(f"bites of {bite:3}: {kept:>9} kept for backward")
    handles = [
        block.register_forward_pre_hook(lambda block, given: doors.append(given[0]))
        for block in blocks
    ]
    try:
        run_checkpointed(blocks, inked)
    finally:
        for handle in handles:
            handle.remove()
    kept_at_doors = sum(x.numel() * x.element_size() for x in doors)
    again = compare_paired(
        lambda: run_checkpointed(blocks, inked).square().mean().backward(),
        lambda: plain(inked).square().mean().backward(),
        pairs=7,
    )
    kept = format_bytes(kept_at_doors)
    print(f"128, checkpointed: {kept:>9} kept, the rest is computed again")
    print(f"time with checkpoints / without: {again.ratio} (median and interval of 7 pairs)")
    print("a model of it: 4/3 = 1.33 (forward, forward again, backward = 2 forwards)")

# %% [markdown]
# ## Explain
# Why about a half, and not 5 % or 500 %? A model for the back of an envelope: a photo's gradient is the
# common direction plus noise of its own. The mean of $n$ photos then has the noise $S/n$, where $S$ is
# the noise of one photo. With the right weights $w_i = n_i/N$ and the wrong ones $1/k$,
#
# $$\text{error}^2 = \frac{S}{|g|^2} \sum_i \Bigl(\tfrac1k - w_i\Bigr)^2 \frac{1}{n_i} .$$
#
# $S$ costs nothing extra: the two micro-batches of 32 are two measurements of the same thing, and their
# squared distance is $2S/32$ on average. So here is the prediction, from 32 + 32 photos and the length of
# the gradient alone.

# %%
with when_ready():
    rows = measured.table
    print("last | model, %  measured, %  residual, points")
    for row in rows:
        last = row["last micro-batch"]
        sizes = (32, 32, last)
        spread = sum((1 / 3 - size / sum(sizes)) ** 2 / size for size in sizes)
        noises = sorted(noise_of[last, seed] / truth_of[last, seed] for seed in range(BATCHES))
        noise = noises[BATCHES // 2]
        expected, found = 100 * (noise * spread) ** 0.5, row["by steps, %"]
        print(f"{last:4} | {expected:8.1f} {found:12.1f} {found - expected:+17.1f}")

    noise_only = 100 * (70 * sum((1 / 3 - n / 70) ** 2 / n for n in (32, 32, 6))) ** 0.5
    print(
        f"\n32 + 32 + 6 in the limit where a gradient is nothing but noise: {noise_only:.0f} %"
    )

# %% [markdown]
# Account for what the models leave over:
# - A last micro-batch of one or two photos: the model uses *average* noise. Is a typical photo an average
#   one?
# - Would the error be larger or smaller if photos agreed less? What does the formula say in the limit?
# - Why is the ratio of times not exactly 4/3?
#
# No machine grades this: your words are kept, and an instructor may read them.

# %%
lab.explain("residual", "")

# %% tags=["solution-only"]
lab.explain(
    "residual",
    "S is an average, and a few loud photos carry much of it. A typical photo is quieter, "
    "so the median of five batches lies below the model, and the more so the smaller the "
    "last piece is. Photos that agree less make S larger beside the gradient, and the error "
    "grows towards the limit of pure noise. The ratio of times rests on what backward "
    "really costs beside forward: the first block, for one, needs no gradient of its input.",
)

# %% [markdown]
# <details><summary>When yours is written: what a good answer names</summary>
#
# - The sign of the residual, and where it is largest: with numbers of the table.
# - What separates an average from a typical value when a few values are very large.
# - The limit of the formula for photos that have nothing in common, and the number printed for it.
# - One part of the network for which backward costs less than two forward passes, or more.
#
# </details>

# %% [markdown]
# ## Cost
# Accumulation buys memory, not time: the same arithmetic in more, smaller pieces. One step of 70 photos
# in three bites, timed here and multiplied by ten thousand:

# %%
from scalelab.core.stats import estimate_median, measure
from scalelab.cost import cost_of_training

bites = cut(images, labels, [32, 32, 6])
with when_ready():
    step_s = estimate_median(
        measure(lambda: accumulated_step(reader, optimizer, bites, 1.0), min_iterations=8)
    )
    low_s, middle_s, high_s = step_s.low, step_s.median, step_s.high
    print(f"one step: {middle_s * 1e3:.0f} [{low_s * 1e3:.0f}, {high_s * 1e3:.0f}] ms")
    lab.cost(cost_of_training(10_000 * middle_s, currency="INR"), what="ten thousand steps")

# %% [markdown]
# **Take with you:** sum the losses, divide by all targets, clear once, clip once, step once, and do not
# forget the remainder. `scalelab.train.accumulate_step` does it for the labs that follow.

# %%
lab.progress()
