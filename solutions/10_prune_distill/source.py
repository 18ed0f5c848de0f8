# %% [markdown]
# # Lab 10: Prune and distil
# Make the PIN reader small: by zeros, by whole channels, and by a teacher. Two of the three pay.
#
# ## Question
# Nine of ten weights of the reader can be set to zero, and after a little tuning it still reads. **Is it then
# ten times smaller, and ten times as fast? And if not: what is?**

# %%
from scalelab import Lab

lab = Lab("10_prune_distill")

# %% [markdown]
# ## What you need
# PyTorch and ONNX Runtime, and about 90 minutes. No earlier lab: a trained reader comes with the course (1.5
# million weights, 5.9 MB). It is the *teacher* of this lab; what you make of it are its *students*.
#
# Shapes in this notebook: B = photos, P = 6 digits, K = 10 classes. A digit without label carries `IGNORE`.

# %%
import copy
import gzip
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from scalelab.classroom import Measurement, when_ready
from scalelab.core.stats import compare_paired
from scalelab.core.units import format_bytes
from scalelab.data import compose_pins
from scalelab.models import PinReader, save_reader
from scalelab.train import IGNORE, predict, trained_reader
from scalelab.train.loop import HARDER  # pens sloppier than the test's

torch.set_num_threads(1)  # two threads on a busy machine wait for each other


def photos(n, seed, split="train"):
    """Return n photos (n, 28, 168) uint8 and their digits (n, 6) int64."""
    pens = HARDER if split == "train" else None
    drawn = compose_pins(n, split, seed=seed, augmentation=pens)
    return torch.from_numpy(drawn.images), torch.from_numpy(drawn.labels).long()


def read_right(model, images, labels):
    """Return the share of digits that a model reads right."""
    found = torch.from_numpy(predict(model, images.numpy())).argmax(-1)  # (B, 6)
    return float((found == labels).float().mean())


def tiny_reader(seed=0):
    """Return a PIN reader of few weights, in training mode."""
    torch.manual_seed(seed)
    return PinReader(width=16, channels=(2, 3, 4)).train()


teacher = trained_reader()
weights = dict(teacher.named_parameters())
test_images, test_labels = photos(1000, seed=1, split="test")
n, right = (
    sum(w.numel() for w in weights.values()),
    read_right(teacher, test_images, test_labels),
)
f"{n:,} weights; it reads {100 * right:.1f} % of the test's {test_labels.numel():,} digits"

# %% [markdown]
# ## Predict
# Nine of ten weights of the reader are set to zero: the smallest ones, all layers together. It reads 32
# photos at a time on one thread, in turn with the dense reader.
#
# How many times as fast as the dense reader is it? 1 means no difference.

# %%
lab.predict(
    "zeros_speedup", "90 % zeros: how many times as fast?", unit="times", range=(0, 12)
)

# %% tags=["solution-only"]
lab.predict("zeros_speedup", guess=2, low=0.8, high=6)

# %% [markdown]
# ## Build
# ### Which weights go?
# The smallest, of all layers together. The number that goes must be exact, also where weights are equally
# large (in int8 thousands are): a threshold takes all of a size, or none.


# %% task="mask"
def magnitude_masks(weights, sparsity):
    """Choose which weights stay; the smallest (by absolute value) of all layers together go.

    Args:
        weights: dict, name -> float tensor: all parameters of a network. Those of two axes or
            more (convolutions, dense layers) can be pruned. Biases and batch norms have one
            axis; they are left alone and get no mask.
        sparsity: share of the prunable weights that goes, from 0 to below 1.

    Returns:
        Dict, name -> bool tensor of its weight's shape; True stays. Of all n prunable weights
        exactly round(sparsity * n) are False. Among equals it does not matter which.
    """
    ### BEGIN SOLUTION
    prunable = {name: weight for name, weight in weights.items() if weight.ndim > 1}
    sizes = torch.cat([weight.detach().abs().flatten() for weight in prunable.values()])
    stays = torch.ones(len(sizes), dtype=torch.bool)
    stays[sizes.argsort()[: round(sparsity * len(sizes))]] = False
    parts = stays.split([weight.numel() for weight in prunable.values()])
    return {
        name: part.reshape(weight.shape)
        for (name, weight), part in zip(prunable.items(), parts, strict=True)
    }
    ### END SOLUTION


# %% check="mask"
lab.check("mask")

# %% [markdown]
# ### What do zeros weigh?
# Three ways to write a weight of (rows, columns) into a file:
# - **dense**: all numbers, one after the other;
# - **gzip**: the same bytes, compressed for the way (and unpacked before use);
# - **sparse**: compressed sparse rows (CSR). The numbers that are not zero; for each its column, an int32;
#   and for each row the place where it begins, an int32; one more says where the last row ends.


# %% task="bytes"
def stored_bytes(weight):
    """Count what a weight takes, written down in three ways.

    Args:
        weight: tensor (rows, columns), float32 or float64, without gradient.

    Returns:
        Dict of three ints [bytes]: {"dense": ..., "gzip": ..., "sparse": ...}.
    """
    ### BEGIN SOLUTION
    rows, _ = weight.shape
    kept = int((weight != 0).sum())
    return {
        "dense": weight.numel() * weight.element_size(),
        "gzip": len(gzip.compress(weight.numpy().tobytes())),
        "sparse": kept * (weight.element_size() + 4) + 4 * (rows + 1),
    }
    ### END SOLUTION


# %% check="bytes"
lab.check("bytes")

# %% [markdown]
# Try it on the reader's largest layer. At which share of zeros does a sparse file become the smaller one?

# %%
with when_ready():
    largest = weights["head.1.weight"].detach()  # (256, 3072)
    for share in (0, 0.3, 0.5, 0.7, 0.9):
        mask = magnitude_masks({"w": largest}, share)["w"]
        kib = {kind: round(n / 1024) for kind, n in stored_bytes(largest * mask).items()}
        print(f"{100 * share:3.0f} % zeros: {kib} KiB")

# %% [markdown]
# ### Remove whole channels
# A kernel multiplies dense blocks of numbers. It gains nothing from zeros here and there, but everything from
# a smaller block. So whole channels must go, in three layers at once: the convolution that makes a channel,
# the batch norm that scales it, and the layer that reads it.


# %% task="channels"
def keep_channels(conv, norm, after, keep):
    """Make three neighbouring layers again, with only some of the channels between them.

    In the reader there stand: conv, norm, ReLU, and then `after`: the next convolution, or a
    dense layer behind nn.Flatten() (all positions of channel 0, all of channel 1, ...).

    Args:
        conv: nn.Conv2d with C output channels.
        norm: nn.BatchNorm2d of C channels.
        after: nn.Conv2d of C input channels, or nn.Linear of C * positions inputs.
        keep: list of int, the channels that stay, ascending.

    Returns:
        (conv, norm, after): new layers; the old ones stay as they are. In eval mode the new
        ones give what the old ones would if the other channels were 0 behind the ReLU.
    """
    ### BEGIN SOLUTION
    conv, norm, after = copy.deepcopy((conv, norm, after))
    inputs = keep
    if isinstance(after, nn.Linear):
        positions = after.in_features // norm.num_features
        inputs = [c * positions + p for c in keep for p in range(positions)]
    with torch.no_grad():
        for layer in (conv, norm):
            for values in [*layer.parameters(), *layer.buffers()]:
                if values.ndim > 0:  # batch norm also counts its batches
                    values.data = values[keep].clone()
        after.weight.data = after.weight[:, inputs].clone()
    conv.out_channels = norm.num_features = len(keep)
    if isinstance(after, nn.Linear):
        after.in_features = len(inputs)
    else:
        after.in_channels = len(keep)
    return conv, norm, after
    ### END SOLUTION


# %% check="channels"
lab.check("channels")

# %% [markdown]
# Three times, and the reader is slim. Which channels stay? Those of the largest weights (L1 norm, scaled as
# batch norm will scale them; Li et al. 2017). It cannot read any more; it has yet to be taught.

# %%
TENTH = (8, 12, 30)  # channels that stay of (16, 24, 512)


def slim_reader(model, channels):
    """Return a copy of a reader in which only so many channels of each convolution stay."""
    slim = copy.deepcopy(model)
    for place, count in zip((0, 3, 6), channels, strict=True):
        conv, norm = slim.stem[place : place + 2]
        gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).abs()
        keep = (conv.weight.abs().sum((1, 2, 3)) * gain).topk(count).indices.sort().values
        layers, at = (slim.stem, place + 3) if place < 6 else (slim.head, 1)
        slim.stem[place], slim.stem[place + 1], layers[at] = keep_channels(
            conv, norm, layers[at], keep.tolist()
        )
    slim.config["channels"] = list(channels)
    return slim


with when_ready():
    slim = slim_reader(teacher, TENTH)
    n = sum(p.numel() for p in slim.parameters())
    right = 100 * read_right(slim, test_images, test_labels)
    print(f"{n:,} weights stay; untaught, it reads {right:.1f} % of the digits")

# %% [markdown]
# ### Learn from the teacher
# A label says "7". A teacher says "7, but it could be a 1, and never an 8". And it says so about photos that
# nobody has labelled. Hinton, Vinyals and Dean (2015) soften both sides with a temperature $T$:
#
# $$L = \alpha\, T^2\, \mathrm{KL}\bigl(\mathrm{softmax}(t/T)\,\|\,\mathrm{softmax}(s/T)\bigr) +
# (1-\alpha)\,\mathrm{CE}(\text{labels}, s)$$
#
# with the teacher's logits $t$ and the student's $s$. The gradient of the soft part shrinks as $1/T^2$; hence
# the factor.


# %% task="loss"
def distillation_loss(student, teacher, labels, temperature, alpha):
    """Return alpha * T^2 * KL(teacher || student) + (1 - alpha) * CE, for backward().

    Args:
        student, teacher: logits (B, 6, 10) float32. No gradient may reach the teacher's.
        labels: (B, 6) int64; IGNORE where a digit has none.
        temperature: T > 0. It softens the KL part; the CE part is at T = 1.
        alpha: weight of the teacher, 0 to 1.

    Returns:
        A tensor of one number [nats per digit]. KL is a mean over all B * 6 digits, CE over
        those with a label; where no digit has one, the CE part is 0.
    """
    ### BEGIN SOLUTION
    soft = F.log_softmax(teacher.detach().flatten(0, 1) / temperature, dim=-1)
    own = F.log_softmax(student.flatten(0, 1) / temperature, dim=-1)
    loss = alpha * temperature**2 * F.kl_div(own, soft, reduction="batchmean", log_target=True)
    if (labels != IGNORE).any():
        hard = F.cross_entropy(student.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
        loss = loss + (1 - alpha) * hard
    return loss
    ### END SOLUTION


# %% check="loss"
lab.check("loss")

# %% [markdown]
# ### Which of them would anybody choose?
# Many small readers, each with bytes, work and accuracy. One that another beats in everything is out. What is
# left is the *Pareto front*: there a choice must be made, and no machine makes it for you.


# %% task="front"
def pareto_front(rows):
    """Return the positions of the rows that no other row beats.

    Row a beats row b if it is at least as good in all three numbers, and better in one.

    Args:
        rows: list of (bytes, work, accuracy). Less is better of bytes and work.

    Returns:
        List of int, positions in `rows`, ascending.
    """

    ### BEGIN SOLUTION
    def beats(a, b):
        return a[0] <= b[0] and a[1] <= b[1] and a[2] >= b[2] and a != b

    return [
        place for place, row in enumerate(rows) if not any(beats(other, row) for other in rows)
    ]
    ### END SOLUTION


# %% check="front"
lab.check("front")

# %% [markdown]
# ### A drill: zeros that grow back
# Pruned at 90 % and tuned for a few steps, a reader reads as well as before. So says a report. Its loop looks
# right, and its loss goes down. Look at the zeros.


# %%
def label_loss(model, images, labels):
    """Return the mean cross-entropy over all labelled digits [nats per digit], a tensor."""
    return F.cross_entropy(model(images).flatten(0, 1), labels.flatten(), ignore_index=IGNORE)


def common_tuning(model, optimizer, masks, batches):
    """The broken tuning."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in masks:
                weight *= masks[name]
    losses = []
    for images, labels in batches:
        loss = label_loss(model, images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def every_second(model):
    """Return masks that drop every second weight of a model, for tests."""
    return {
        name: (torch.arange(weight.numel()) % 2 == 0).reshape(weight.shape)
        for name, weight in model.named_parameters()
        if weight.ndim > 1
    }


def share_of_zeros(model):
    """Return the share of zeros among the weights of two axes or more."""
    prunable = [weight for weight in model.parameters() if weight.ndim > 1]
    return sum(int((w == 0).sum()) for w in prunable) / sum(w.numel() for w in prunable)


patient = copy.deepcopy(teacher).train()
optimizer = torch.optim.SGD(patient.parameters(), lr=0.01, momentum=0.9)
losses = common_tuning(
    patient, optimizer, every_second(patient), [photos(16, seed=s) for s in range(3)]
)
f"50 % dropped; after three steps {100 * share_of_zeros(patient):.1f} % are zero"

# %% [markdown]
# Find the cause, mend the tuning, and write the test that would have caught it.


# %% task="tune"
def tune_pruned(model, optimizer, masks, batches):
    """Train a pruned model on, one step a batch; what the masks drop is 0 all the time.

    That is: it is 0 before the first step, and after each. Nothing else differs from training.

    Args:
        model: a PIN reader; leave its mode (train or eval) as it is.
        optimizer: over model.parameters(). It may remember earlier steps (momentum).
        masks: dict, parameter name -> bool tensor; False is dropped.
        batches: list of (images (B, 28, 168) uint8, labels (B, 6) int64).

    Returns:
        List of the losses (`label_loss`), one a step, as floats.
    """
    ### BEGIN SOLUTION
    masked = [
        (weight, masks[name]) for name, weight in model.named_parameters() if name in masks
    ]

    @torch.no_grad()
    def drop():
        for weight, mask in masked:
            weight.mul_(mask)

    drop()
    losses = []
    for images, labels in batches:
        nats = label_loss(model, images, labels)
        optimizer.zero_grad()
        nats.backward()
        optimizer.step()
        drop()  # the optimizer knows nothing of masks
        losses.append(float(nats.detach()))
    return losses
    ### END SOLUTION


def keeps_the_zeros(tune):
    """Test a tuning: is all that the masks drop 0 afterwards, and has the rest learned?

    Args:
        tune: function (model, optimizer, masks, batches) -> losses, like those above.

    Returns:
        True if so, False if not.
    """
    ### BEGIN SOLUTION
    model = tiny_reader(seed=7)
    masks = every_second(model)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    tune(model, torch.optim.SGD(model.parameters(), lr=0.1), masks, [photos(4, seed=8)] * 2)
    after = dict(model.named_parameters())
    are_zero = all(bool((after[name][~mask] == 0).all()) for name, mask in masks.items())
    has_moved = any(
        not torch.equal(after[name][mask], before[name][mask]) for name, mask in masks.items()
    )
    return are_zero and has_moved
    ### END SOLUTION


# %% check="tune"
lab.check("tune")

# %% [markdown]
# ## Measure
# Four readers, made with your functions, and the teacher beside them:
# - **90 % zeros**: your masks, then a little tuning with your `tune_pruned`;
# - **a tenth, cut**: your `keep_channels`, and nothing else;
# - **a tenth, 100 labels**: the same, trained on 100 photos with labels, all that somebody had time for;
# - **a tenth, taught**: the same, trained by your loss on 3,000 photos that *nobody* labelled: the teacher
#   read them.

# %%
FEW, MANY, STEPS = 100, 3000, 300
folder = Path(tempfile.mkdtemp(prefix="lab10-"))
many_images, many_labels = photos(MANY, seed=11)
many_logits = torch.from_numpy(predict(teacher, many_images.numpy()))  # the teacher reads once
no_labels = torch.full_like(many_labels, IGNORE)


def prune_and_tune(steps=20, per_step=64):
    """Return the teacher with 90 % zeros, tuned for some steps with labels."""
    pruned = copy.deepcopy(teacher).train()
    masks = magnitude_masks(dict(pruned.named_parameters()), 0.9)
    optimizer = torch.optim.AdamW(pruned.parameters(), lr=3e-3)
    batches = list(zip(many_images.split(per_step), many_labels.split(per_step), strict=True))
    tune_pruned(pruned, optimizer, masks, batches[:steps])
    return pruned.eval()


def teach(student, n, labels, alpha, seed=0):
    """Train a copy of a student on n photos; alpha is the teacher's weight in your loss."""
    torch.manual_seed(seed)
    student = copy.deepcopy(student).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=6e-3, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 6e-3, total_steps=STEPS, pct_start=0.1
    )
    for _ in range(STEPS):
        some = torch.randint(n, (64,))
        loss = distillation_loss(
            student(many_images[some]), many_logits[some], labels[some], 2.0, alpha
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return student.eval()


def make_readers(seed=0):
    """Return all readers by name."""
    cut = slim_reader(teacher, TENTH)
    return {
        "teacher": teacher,
        "90 % zeros": prune_and_tune(),
        "a tenth, cut": cut,
        "a tenth, 100 labels": teach(cut, FEW, many_labels, alpha=0.0, seed=seed),
        "a tenth, taught": teach(cut, MANY, no_labels, alpha=1.0, seed=seed),
    }


# %% [markdown]
# What is counted, and what is timed: bytes of the file; multiply-adds of one photo; digits read right, on
# 1,000 photos of the held-out digits; and the time beside the teacher's, in interleaved pairs.


# %%
def layer_work(model):
    """Return [name, output channels, multiply-adds of one photo] for each layer."""
    found = []

    def note(layer, given, out):
        each = layer.weight[0].numel()  # multiply-adds of one output
        found.append([type(layer).__name__, layer.weight.shape[0], out.numel() * each])

    layers = [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    handles = [each.register_forward_hook(note) for each in layers]
    predict(model, test_images[:1].numpy())
    for handle in handles:
        handle.remove()
    return found


def times_as_fast(model, batch, pairs=11):
    """Return how many times longer the teacher takes, from interleaved pairs."""
    some = test_images[:batch]

    def run(reader):
        with torch.inference_mode():
            reader(some)

    return compare_paired(
        lambda: run(teacher), lambda: run(model), pairs=pairs, min_block_s=0.03
    ).ratio


def describe(name, model):
    """Return one row of the table."""
    path = save_reader(model, folder / f"{name}.safetensors".replace(" ", "_"))
    return {
        "reader": name,
        "bytes": path.stat().st_size,
        "gzip bytes": len(gzip.compress(path.read_bytes(), 6)),
        "multiply-adds": sum(work for _, _, work in layer_work(model)),
        "digits right, %": round(100 * read_right(model, test_images, test_labels), 2),
    }


# %%
readers, speed = {}, {}


def draw(rows, front):
    """Return a figure of digits wrong over time, with the Pareto front as a line."""
    import plotly.graph_objects as go

    from scalelab.classroom.figures import COLOURS, INK

    grid = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False}
    figure = go.Figure(
        layout={
            "title": {"text": "Lower left is better; blue: your Pareto front", "x": 0},
            "height": 400, "margin": {"t": 50, "r": 10, "b": 50, "l": 10}, "showlegend": False,
            "font": {"color": INK, "size": 13},
            "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": {**grid, "title": "time of 32 photos, % of the teacher's"},
            "yaxis": {**grid, "title": "digits wrong, %", "automargin": True, "type": "log",
                      "tickvals": [1, 2, 5, 10, 20, 50, 100],
                      "range": [-0.3, 2.4]},  # powers of ten: room for the words at both ends
        }
    )  # fmt: skip
    figure.update_xaxes(rangemode="tozero")
    line = sorted((rows[place] for place in front), key=lambda row: row["time, %"])
    xs, ys = ([row[key] for row in line] for key in ("time, %", "digits wrong, %"))
    figure.add_scatter(x=xs, y=ys, mode="lines", line={"color": COLOURS[1], "dash": "dot"})
    for place, row in enumerate(rows):
        side = "right" if row["time, %"] < 60 else "left"
        side = f"bottom {side}" if place in front and side == "left" else f"top {side}"
        figure.add_scatter(
            x=[row["time, %"]], y=[row["digits wrong, %"]], mode="markers+text",
            text=[f"  {row['reader']}  <br>  {format_bytes(row['bytes'])}  "],
            textposition=side,
            marker={"size": 6 + row["bytes"] ** 0.5 / 100, "opacity": 0.8,
                    "color": COLOURS[1] if place in front else COLOURS[0]},
        )  # fmt: skip
    return figure


# %%
def run_readers():
    """Make all readers, describe and time them, and draw them."""
    readers.update(make_readers())
    rows = [describe(name, model) for name, model in readers.items()]
    for row in rows:
        row["digits wrong, %"] = round(100 - row["digits right, %"], 2)
        row["time, %"] = 100.0
    for name in ("90 % zeros", "a tenth, taught"):
        speed.update({(name, batch): times_as_fast(readers[name], batch) for batch in (1, 32)})
    zeros, tenth = speed["90 % zeros", 32], speed["a tenth, taught", 32]
    rows[1]["time, %"] = round(100 / zeros.median, 1)
    for row in rows[2:]:  # the same layers, whatever the weights
        row["time, %"] = round(100 / tenth.median, 1)
    keys = ("bytes", "multiply-adds", "digits right, %")
    front = pareto_front([tuple(row[key] for key in keys) for row in rows])
    for place, row in enumerate(rows):
        row["on the front"] = "yes" if place in front else "no"
    dense, pruned, _, few, taught = rows
    lost = dense["digits right, %"] - taught["digits right, %"]
    is_right = (
        pruned["bytes"] == dense["bytes"]
        and taught["bytes"] * 9 < dense["bytes"]
        and lost < 6
        and taught["digits right, %"] > few["digits right, %"] + 10
    )
    is_clear = zeros.high < 1.8 < tenth.low
    verdict = "FAIL" if not is_right else "PASS" if is_clear else "INCONCLUSIVE"
    return Measurement(
        zeros.median,
        unit="times",
        verdict=verdict,
        detail=f"90 % zeros: {pruned['bytes'] / dense['bytes']:.2f} times the bytes, {zeros} "
        f"times as fast. A tenth of the weights: {dense['bytes'] / taught['bytes']:.1f} times "
        f"smaller, {tenth} times as fast; taught by the teacher it reads "
        f"{taught['digits right, %']:.1f} % of the digits ({lost:.1f} points fewer), taught "
        f"by 100 labelled photos {few['digits right, %']:.1f} %.",
        figure=draw(rows, front),
        table=rows,
        alt="Digits wrong (logarithmic) over time. The teacher and the reader with 90 % zeros "
        f"stand on the right, at 100 and {pruned['time, %']:.0f} % of the time; three readers "
        f"of a tenth of the size stand at {taught['time, %']:.0f} %, above one another: cut "
        f"alone {rows[2]['digits wrong, %']:.0f} % wrong, 100 labels "
        f"{few['digits wrong, %']:.0f} %, taught {taught['digits wrong, %']:.1f} %.",
    )


measured = lab.measure("zeros_speedup", run_readers, unit="times")
measured

# %% [markdown]
# The zeros do pay on the way: look at the gzip bytes in the table. And the slim reader is a network like any
# other, so it can be exported to a graph of its own and run by ONNX Runtime:

# %%
from scalelab.compress import export_onnx, onnx_session

with when_ready():
    taught = measured.table[-1]
    slim = readers["a tenth, taught"]
    report = export_onnx(slim, folder / "tenth.onnx")
    session = onnx_session(report.path)
    some = test_images[:32].numpy()
    again = compare_paired(
        lambda: predict(slim, some), lambda: session.predict(some), pairs=9, min_block_s=0.03
    )
    print(
        f"exported: {format_bytes(report.bytes)}, logits agree to {report.max_abs_error:.0e}; "
        f"{again.ratio} times as fast as the same reader in PyTorch"
    )

# %% [markdown]
# ## Explain
# A model for the back of an envelope: time is work divided by a rate, so the speed-up is the ratio of
# multiply-adds. Two versions of "work":
# - *useful*: only multiply-adds whose weight is not zero;
# - *done*: all that the kernel does. It multiplies zeros like any other number; and it computes 8 channels at
#   once (AVX2), so that a layer of 12 channels costs as much as one of 16.

# %%
with when_ready():
    print(f"{len(measured.table)} readers, one thread")
    dense_work = layer_work(teacher)

    def work_of(model):
        """Return (multiply-adds by useful weights, multiply-adds in blocks of 8 channels)."""
        shares = [float((w != 0).float().mean()) for w in model.parameters() if w.ndim > 1]
        works = layer_work(model)
        useful = sum(s * work for s, (_, _, work) in zip(shares, works, strict=True))
        return useful, sum(work * (-(-c // 8) * 8) / c for _, c, work in works)

    useful_dense, done_dense = work_of(teacher)
    print("times as fast    | useful   done | measured: 32 at once   one alone")
    for name in ("90 % zeros", "a tenth, taught"):
        useful, done = work_of(readers[name])
        many, one = (speed[name, batch].median for batch in (32, 1))
        said = f"{useful_dense / useful:6.1f} {done_dense / done:6.1f}"
        print(f"{name:16} | {said} | {many:21.1f} {one:11.1f}")
    print("\nlayer: multiply-adds of the teacher -> of the tenth")
    for (kind, c, work), (_, k, less) in zip(dense_work, layer_work(slim), strict=True):
        print(
            f"{kind:7} {c:4} -> {k:3} outputs: {work:10,} -> {less:8,} ({work / less:5.1f}x)"
        )

# %% [markdown]
# Account for what the models leave over:
# - 90 % zeros: which of the two versions of work is right, and what would a kernel need in order to earn the
#   other one? (Some GPUs earn a factor of 2 with a fixed pattern: 2 of every 4 weights are zero.)
# - A tenth: which layers gained most, which hardly at all? What is in the measured time that is no
#   multiply-add? Does it weigh more for one photo, or for 32?
# - Why does a teacher that reads unlabelled photos beat 100 labelled ones? And would it still, if all 3,000
#   had labels?
#
# No machine grades this: your words are kept, and an instructor may read them.

# %%
lab.explain("residual", "")

# %% tags=["solution-only"]
lab.explain(
    "residual",
    "Zeros in no order are work like any other: the kernel multiplies whole blocks, so only "
    "'done' predicts it. To skip zeros it would have to look up where the others are, which "
    "costs more than a multiplication; a fixed pattern such as 2 of 4 needs no looking up. "
    "The tenth gains most in the last convolution and the first dense layer, little in the "
    "first convolution. Beside the multiply-adds there are the cast of the photo, batch norm, "
    "ReLU and PyTorch's overhead of each call. 100 photos are too few to know handwriting; the "
    "teacher has seen all of it, and its answers carry that to any photo. Where all 3,000 "
    "photos have labels, these say as much.",
)

# %% [markdown]
# <details><summary>When yours is written: what a good answer names</summary>
#
# - The ratio of "useful" and of "done", beside the measured one, with its sign and size.
# - At least one thing that costs time and is no multiplication.
# - What the teacher knows that 100 labelled photos do not hold, and when labels hold it, too.
#
# </details>

# %% [markdown]
# ## Cost
# What a million photos cost on a rented machine, at the rate of one thread measured here, 32 at a time:

# %%
from scalelab.core.stats import estimate_median, measure
from scalelab.cost import cost_per_million

with when_ready():
    print(f"one thread, {len(measured.table)} readers measured")
    batch_32 = test_images[:32]
    batch_s = estimate_median(
        measure(lambda: predict(teacher, batch_32.numpy()), min_iterations=10)
    ).median
    gained = speed["a tenth, taught", 32].median
    for name, times in (("the teacher", 1.0), ("the tenth", gained)):
        price = cost_per_million(32 * times / batch_s, currency="INR")
        lab.cost(price, what=f"a million photos by {name}")

# %% [markdown]
# **Take with you:** zeros are for the wire; structure is for the clock. Count bytes and work before you
# celebrate a sparsity. Cut the shape, let the old model teach the new one, and test that what you removed
# stays removed.

# %%
lab.progress()
