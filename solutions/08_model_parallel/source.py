# %% [markdown]
# # Lab 08: Model parallel
# One model over several workers. Cut its layers, and the workers exchange sums. Cut its depth, and they
# wait for each other.
#
# ## Question
# A model is too large for one device. You cut it into four stages, one on each of four workers, and send
# a batch through in small pieces. At first the last worker has nothing to do, at the end the first one.
# **How much of the time that you pay for is waiting, and what makes it less?**

# %%
from scalelab import Lab

lab = Lab("08_model_parallel")

# %% [markdown]
# ## What you need
# PyTorch, and about 100 minutes. No GPU and no earlier lab. A worker is called a **rank**; ranks count from
# 0. In *Build* they are threads of this notebook that talk through memory, so that you can try anything at
# once; in *Measure* they are real processes. Each rank holds one end of a **wire**:
#
# ```python
# wire.rank, wire.world_size          # who am I, and of how many
# wire.all_reduce(tensor).wait()      # adds up the tensors of all ranks, in place; every rank gets the sum
# wire.all_gather(tensor).wait()      # all ranks' tensors: (world_size, *shape); equal shapes on all ranks
# on_ranks(3, function)               # calls function(wire) on 3 ranks; a list of what they return
# ```
#
# Shapes in this notebook: B = rows (positions of a text, say), D = width in and out, H = hidden units.
# Weights are as torch keeps them, (outputs, inputs): `F.linear(x, up)` is `x @ up.T`.

# %%
import torch
import torch.nn.functional as F

from scalelab.classroom import Measurement, when_ready
from scalelab.classroom.figures import plot_lines
from scalelab.core.units import format_bytes
from scalelab.train.data_parallel.memory import run_in_memory
from scalelab.train.parallel import schedule as pipeline

torch.set_num_threads(1)


def on_ranks(count, function):
    """Call function(wire) on so many ranks; return a list of their results."""
    return run_in_memory(function, count)


def two_layers(D=8, H=24, seed=0):
    """Return weights: up (H, D), up_bias (H,), down (D, H), down_bias (D,), all float32."""
    draws = torch.Generator().manual_seed(seed)
    shapes = ((H, D), (H,), (D, H), (D,))
    return tuple(torch.randn(shape, generator=draws) / shape[-1] ** 0.5 for shape in shapes)


def whole(x, layers):
    """Return what one worker computes of x (B, D): the truth that all splits must meet."""
    up, up_bias, down, down_bias = layers
    hidden = F.gelu(F.linear(x, up, up_bias))  # (B, H)
    return F.linear(hidden, down, down_bias)  # (B, D)


f"{on_ranks(3, lambda wire: wire.all_reduce(torch.tensor([1.0 + wire.rank])).wait().item())}"

# %% [markdown]
# ## Predict
# Four stages on four workers, all equally fast: 20 ms forward and 40 ms backward for each micro-batch. A
# batch goes through as **4 micro-batches**. What share of the time does a worker wait, in the mean over
# the four?

# %%
lab.predict(
    "bubble",
    "4 workers, 4 micro-batches: how much of the time is waiting?",
    unit="%",
    range=(0, 100),
)

# %% tags=["solution-only"]
lab.predict("bubble", guess=45, low=35, high=60)

# %% [markdown]
# ## Build
# ### Cut a pair of layers
# Two linear layers with something element by element between them, as in every transformer block. Each
# rank gets its share of the **hidden units**: the rows of `up` that compute them, and the columns of
# `down` that use them. Between the layers nothing need be exchanged. What a rank gets at the end is only a
# part of a sum, so there is **one** all-reduce.


# %% task="forward"
def cut_dense(layers, rank, ranks):
    """Return what one rank holds of a pair of layers.

    Args:
        layers: up (H, D), up_bias (H,), down (D, H), down_bias (D,).
        rank: 0 to ranks - 1. `ranks` divides H; each has H/ranks units: rank 0 the first ones,
            rank 1 the next ones, and so on.

    Returns:
        up (H/ranks, D), up_bias (H/ranks,), down (D, H/ranks): this rank's parts.
        `down_bias` is nobody's part: it is added once.
    """
    ### BEGIN SOLUTION
    up, up_bias, down, _ = layers
    share = len(up) // ranks
    mine = slice(rank * share, (rank + 1) * share)
    return up[mine], up_bias[mine], down[:, mine]
    ### END SOLUTION


def split_forward(x, part, down_bias, wire):
    """Return what `whole` returns, from parts: the same on every rank, with one all-reduce.

    Args:
        x: (B, D), the same on all ranks.
        part: this rank's, as `cut_dense` cuts it.
        down_bias: (D,), the same on all ranks.
        wire: this rank's.

    Returns:
        (B, D). No gradients yet.
    """
    ### BEGIN SOLUTION
    up, up_bias, down = part
    hidden = F.gelu(F.linear(x, up, up_bias))
    return wire.all_reduce(F.linear(hidden, down)).wait() + down_bias
    ### END SOLUTION


# %% check="forward"
lab.check("forward")

# %% [markdown]
# ### And backward
# Autograd does not know that other ranks exist. So you tell it, at two doors: `enter`, where x goes to all
# ranks, and `leave`, where their parts become a sum.
#
# - `leave`: forward, a sum over ranks. Backward, every rank has the gradient of the sum. What is the
#   gradient of one of the parts?
# - `enter`: forward, nothing. Backward, each rank knows only what **its own** units want of x. What is
#   the gradient of x?
#
# An operation with a backward pass of its own is written like this:
#
# ```python
# class Scale(torch.autograd.Function):
#     @staticmethod
#     def forward(ctx, x, factor):        # ctx keeps what backward will need
#         ctx.factor = factor
#         return factor * x
#
#     @staticmethod
#     def backward(ctx, gradient):        # a value for each input of forward; None for what is no tensor
#         return ctx.factor * gradient, None
#
# Scale.apply(x, 3.0)
# ```
#
# `all_reduce` works in place, and autograd may still need that memory: give it a `.clone()`. (A forward
# that does nothing returns `x.view_as(x)`.) The same two doors split attention, too: there a rank's share
# is some of the heads.


# %% task="backward"
def enter(x, wire):
    """Return x unchanged; in the backward pass, put together what all ranks want of it.

    Args:
        x: (B, D), the same on all ranks. The gradient that comes back differs between them.

    Returns:
        (B, D). One all-reduce backward, none forward.
    """

    ### BEGIN SOLUTION
    class Enter(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, wire):
            ctx.wire = wire
            return x.view_as(x)

        @staticmethod
        def backward(ctx, gradient):
            return ctx.wire.all_reduce(gradient.clone()).wait(), None

    return Enter.apply(x, wire)
    ### END SOLUTION


def leave(partial, wire):
    """Return the sum of all ranks' `partial`; bring the right gradient back to each.

    Args:
        partial: (B, D), another one on each rank; it stays as it is. The gradient that comes
            back is the same on all ranks.

    Returns:
        (B, D), the same on all ranks. One all-reduce forward, none backward.
    """

    ### BEGIN SOLUTION
    class Leave(torch.autograd.Function):
        @staticmethod
        def forward(ctx, partial, wire):
            return wire.all_reduce(partial.clone()).wait()

        @staticmethod
        def backward(ctx, gradient):
            return gradient, None

    return Leave.apply(partial, wire)
    ### END SOLUTION


# %% check="backward"
lab.check("backward")

# %% [markdown]
# ### Cut the depth: who does what, when
# Now the other cut. Stage 0 has the first layers, the last stage the last ones; a batch goes through as m
# **micro-batches**. `("F", i)` is the forward pass of micro-batch i on a stage, `("B", i)` its backward
# pass. A stage keeps the activations of i from F to B. Two orders are common:
#
# - **GPipe**: all forward passes, then all backward passes.
# - **1F1B**: first, forward, as many micro-batches as there are stages *behind* this one; then one
#   forward, one backward, in turn; at the end the backward passes that are left.
#
# `draw([order of stage 0, order of stage 1, ...])` shows who waits when, if forward takes one unit of time
# and backward two.


# %%
def draw(orders):
    """Print a line for each stage: digits are forward, letters backward, a dot is a wait."""
    timeline = pipeline.play_on_paper(orders, forward_s=1, backward_s=2)
    for stage, spans in enumerate(timeline.spans):
        line = ["."] * round(timeline.seconds)
        for kind, i, begin, end in spans:
            sign = "0123456789"[i % 10] if kind == "F" else "abcdefghij"[i % 10]
            line[round(begin) : round(end)] = sign * round(end - begin)
        print(f"stage {stage}  {''.join(line)}  keeps at most {timeline.held[stage]}")
    print(f"{timeline.seconds:g} units, {timeline.waiting:.0%} waiting")


one_at_a_time = [[(kind, i) for i in range(3) for kind in "FB"] for stage in range(3)]
draw(one_at_a_time)  # each micro-batch goes all the way before the next one starts


# %% task="schedule"
def gpipe(stage, stages, micro_batches):
    """Return what a stage does under GPipe, in order.

    Args:
        stage: 0 (first) to stages - 1 (last).
        micro_batches: how many, 1 or more; they may be fewer than stages.

    Returns:
        List of ("F", i) and ("B", i), each i from 0 to micro_batches - 1 once forward and once
        backward.
    """
    ### BEGIN SOLUTION
    return [(kind, i) for kind in "FB" for i in range(micro_batches)]
    ### END SOLUTION


def one_f_one_b(stage, stages, micro_batches):
    """Return what a stage does under 1F1B, in order: as fast as GPipe, with less to keep.

    Args, Returns:
        As for `gpipe`.
    """
    ### BEGIN SOLUTION
    ahead = min(stages - stage - 1, micro_batches)
    order = [("F", i) for i in range(ahead)]
    for i in range(micro_batches - ahead):
        order += [("F", ahead + i), ("B", i)]
    return order + [("B", i) for i in range(micro_batches - ahead, micro_batches)]
    ### END SOLUTION


# %% check="schedule"
lab.check("schedule")

# %% [markdown]
# ### The bubble
# Look at the drawing of your schedules (`draw([one_f_one_b(s, 4, 8) for s in range(4)])`, say). All stages
# are equally fast, so count in slots: one slot is one forward and one backward pass. How many slots does a
# stage work, and how many does the whole batch take? The share that is left is the *bubble*.


# %% task="bubble"
def bubble(stages, micro_batches):
    """Return the share of the time, 0 to 1, that a stage waits under GPipe or 1F1B.

    All stages are equally fast, and messages take no time.
    """
    ### BEGIN SOLUTION
    return (stages - 1) / (micro_batches + stages - 1)
    ### END SOLUTION


def micro_batches_for(stages, most):
    """Return the fewest micro-batches, an int, with which the bubble is `most` or less.

    Args:
        stages: 1 or more.
        most: a share, above 0 and below 1: 0.1 is a tenth.
    """
    ### BEGIN SOLUTION
    count = 1
    while bubble(stages, count) > most:
        count += 1
    return count
    ### END SOLUTION


# %% check="bubble"
lab.check("bubble")

# %% [markdown]
# ### Shards: hold a part, borrow the rest
# A training keeps more than weights: gradients and, under Adam, two moments of each. In float32 that is 16
# bytes a number, on every rank the same. FSDP (ZeRO) gives each rank 1/N of all of it. For the moment in
# which a layer runs, its weights are gathered; then they are dropped again.
#
# A gathering wants equally long pieces on all ranks. So lay all tensors behind each other in one long
# vector, fill it up with zeros at its end, and cut it.


# %% task="shards"
def shard(tensors, rank, ranks):
    """Return what one rank keeps of a list of tensors.

    Args:
        tensors: list of tensors of any shape, n numbers in all, one dtype.
        rank: 0 to ranks - 1. `ranks` need not divide n.

    Returns:
        (ceil(n / ranks),), the same dtype: the rank's piece of the long vector. It owns its
        memory: when the caller forgets `tensors`, nothing but the piece stays.
    """
    ### BEGIN SOLUTION
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    size = -(-len(flat) // ranks)
    padded = F.pad(flat, (0, size * ranks - len(flat)))
    return padded[rank * size : (rank + 1) * size].clone()
    ### END SOLUTION


def unshard(piece, shapes, wire):
    """Return the list of whole tensors, the same on every rank, with one all-gather.

    Args:
        piece: this rank's, as `shard` made it.
        shapes: list of tuples, the shapes of the tensors in order.
    """
    ### BEGIN SOLUTION
    flat = wire.all_gather(piece).wait().flatten()
    counts = [torch.Size(shape).numel() for shape in shapes]
    pieces = flat[: sum(counts)].split(counts)
    return [tensor.view(shape) for tensor, shape in zip(pieces, shapes, strict=True)]
    ### END SOLUTION


# %% check="shards"
lab.check("shards")

# %% [markdown]
# ### A drill: ranks that drift apart
# Here is a block in training: two layers, dropout behind each, and what came in is added. `common_branch`
# splits it over ranks and passed all tests, since tests switch dropout off. "Each rank draws its own random
# numbers", its author says, "as it should be." In training its loss goes down. Look at what the ranks hold.


# %%
def drop(x, share, draws):
    """Dropout: switch off `share` of the numbers; the others grow, so that the mean stays."""
    kept = torch.rand(x.shape, generator=draws) >= share
    return x * kept / (1 - share)


def whole_branch(x, layers, share, seed):
    """Return (B, D): what one worker computes of x (B, D). `seed` says what is dropped."""
    up, up_bias, down, down_bias = layers
    draws = torch.Generator().manual_seed(seed)
    hidden = drop(F.gelu(F.linear(x, up, up_bias)), share, draws)
    return x + drop(F.linear(hidden, down, down_bias), share, draws)


def common_branch(x, layers, share, seed, wire):
    """The broken one."""
    up, up_bias, down = cut_dense(layers, wire.rank, wire.world_size)
    draws = torch.Generator().manual_seed(seed + wire.rank)
    hidden = drop(F.gelu(F.linear(enter(x, wire), up, up_bias)), share, draws)
    return x + drop(leave(F.linear(hidden, down), wire) + layers[3], share, draws)


with when_ready():
    rows, layers = torch.randn(4, 8), two_layers()
    for share in (0.0, 0.1):
        given = (rows, layers, share, 7)
        a, b = on_ranks(2, lambda wire, given=given: common_branch(*given, wire))
        truth = whole_branch(*given)
        print(
            f"dropout {share}: rank 0 and rank 1 differ by up to {(a - b).abs().max():.2g}, "
            f"rank 0 and one worker by {(a - truth).abs().max():.2g}"
        )

# %% [markdown]
# Find the cause, mend the block, and write the test that would have caught it. The law to keep: with the
# same seed, the split block gives what `whole_branch` gives, dropout and all, on any number of ranks.


# %% task="drill"
def split_branch(x, layers, share, seed, wire):
    """Return what `whole_branch` returns, from this rank's part, on every rank.

    Gradients of x, too, are those of `whole_branch`: use `cut_dense`, `enter` and `leave`.
    """
    ### BEGIN SOLUTION
    up, up_bias, down = cut_dense(layers, wire.rank, wire.world_size)
    draws = torch.Generator().manual_seed(seed)
    hidden = F.gelu(F.linear(enter(x, wire), up, up_bias))
    everyone = torch.ones(*hidden.shape[:-1], len(layers[1]))
    mask = drop(everyone, share, draws)  # of all hidden units, the same on every rank
    mine = mask.chunk(wire.world_size, dim=-1)[wire.rank]
    out = leave(F.linear(hidden * mine, down), wire) + layers[3]
    return x + drop(out, share, draws)
    ### END SOLUTION


def keeps_the_whole(branch):
    """Test a split block: is it, dropout and all, the whole block on every rank?

    Args:
        branch: function (x, layers, share, seed, wire) -> (B, D), like those above.

    Returns:
        True if it is, False if not.
    """
    ### BEGIN SOLUTION
    x, layers = torch.randn(5, 8), two_layers()
    wanted = whole_branch(x, layers, 0.5, 3)
    found = on_ranks(2, lambda wire: branch(x, layers, 0.5, 3, wire))
    return all(torch.allclose(each, wanted, atol=1e-5) for each in found)
    ### END SOLUTION


# %% check="drill"
lab.check("drill")

# %% [markdown]
# ## Measure
# Now four real processes carry out *your* schedules, with real messages of 128 KiB between them. One part is
# **emulated**: the stages do not compute, they sleep 20 ms forward and 40 ms backward. Two processor cores
# cannot compute four stages at once, but four processes can sleep at once, and waiting is what this is about.
# A rank counts as waiting while it does not sleep. If sleeps last much too long, the machine is too busy to
# tell.

# %%
STAGES, COUNTS, FORWARD_S, TURNS = 4, (4, 8, 16), 0.02, 3


def orders_of(make, count):
    """Return the orders of all stages, for a schedule and a number of micro-batches."""
    return [make(stage, STAGES, count) for stage in range(STAGES)]


def run_pipeline():
    """Let four processes play both schedules, 1F1B three times; draw waiting over m."""
    turns = [(one_f_one_b, turn) for turn in range(TURNS)] + [(gpipe, 0)]
    plans = {
        f"{make.__name__} {count} {turn}": orders_of(make, count)
        for make, turn in turns
        for count in COUNTS
    }
    played = pipeline.play_for_real(plans, forward_s=FORWARD_S)
    rows, is_near = [], []
    for count in COUNTS:
        ones = [played[f"one_f_one_b {count} {turn}"] for turn in range(TURNS)]
        waits = sorted(100 * one.waiting for one in ones)
        # half-way to half and to twice as many micro-batches
        formula, below, above = (
            100 * bubble(STAGES, n) for n in (count, 2 * count, count / 2)
        )
        is_near.append((formula + below) / 2 < waits[TURNS // 2] < (formula + above) / 2)
        rows.append(
            {
                "micro-batches": count,
                "(p-1)/(m+p-1), %": round(formula, 1),
                "1F1B, %": round(waits[TURNS // 2], 1),
                "lowest": round(waits[0], 1),
                "highest": round(waits[-1], 1),
                "GPipe, %": round(100 * played[f"gpipe {count} 0"].waiting, 1),
                "1F1B, s": round(sorted(one.seconds for one in ones)[TURNS // 2], 4),
            }
        )
    late = max(one.overslept for one in played.values())
    verdict = "PASS" if all(is_near) else "FAIL"
    return Measurement(
        rows[0]["1F1B, %"],
        unit="%",
        values=[row["1F1B, %"] for row in rows],
        verdict="INCONCLUSIVE" if late > 0.2 and verdict == "FAIL" else verdict,
        detail="Four processes with emulated stages waited "
        + ", ".join(f"{row['1F1B, %']:.0f}" for row in rows)
        + f" % at {', '.join(map(str, COUNTS))} micro-batches under 1F1B; the formula says "
        + ", ".join(f"{row['(p-1)/(m+p-1), %']:.0f}" for row in rows)
        + " %. PASS: each is nearer to its own value than half-way to that of half or twice as "
        f"many. Sleeps lasted up to {late:.1%} too long.",
        figure=plot_lines(
            rows,
            "micro-batches",
            ["(p-1)/(m+p-1), %", "1F1B, %", "GPipe, %"],
            title="Four workers wait: measured, and the formula",
            x_title="micro-batches",
            y_title="time waited, %",
        ),
        table=rows,
        alt="Three falling lines over 4, 8 and 16 micro-batches, close together. The formula: "
        + ", ".join(f"{row['(p-1)/(m+p-1), %']}" for row in rows)
        + " %. Measured under 1F1B: "
        + ", ".join(f"{row['1F1B, %']}" for row in rows)
        + " %; under GPipe: "
        + ", ".join(f"{row['GPipe, %']}" for row in rows)
        + " %.",
    )


measured = lab.measure("bubble", run_pipeline, unit="%")
measured

# %% [markdown]
# And the memory, counted and not timed. Two real processes share the character GPT in four ways, by torch's
# own tools: **split** layers (DTensor), **shards** (FSDP2), and a **pipeline** under both schedules. Beside
# it, in this process, the two other levers: activation checkpointing and bfloat16.

# %%
from scalelab.models import CharGpt
from scalelab.train import run_ranks
from scalelab.train.parallel import HeldActivations, with_checkpoints

COMPARED = "scalelab.train.parallel.beside_whole:compare_ways"


def held_by(model, ids):
    """Return the bytes of activations that one forward pass leaves for backward."""
    with HeldActivations(model.parameters()) as held:
        model(ids)
    return held.most


with when_ready():
    print(f"{measured.value:.0f} % waiting at 4 micro-batches; what it takes to have more:\n")
    sizes = {"width": 128, "layers": 4, "heads": 4, "context": 64, "vocabulary": 96}
    ranks = run_ranks(
        COMPARED, {**sizes, "batch": 16, "micro_batches": 8}, world_size=2
    ).results
    first = ranks[0]
    heads = "".join(f"{head:>10}" for head in ("weights", "gradients", "Adam", "all"))
    print(f"rank 0 of 2 {heads}    gradients off by")
    for way in ("whole", "dtensor", "fsdp"):
        held = first[way]["held"]
        kinds = (held["parameters"], held["gradients"], held["optimizer"])
        told = "".join(f"{format_bytes(size):>10}" for size in (*kinds, sum(kinds)))
        off = max(rank[way]["gradients"] for rank in ranks)
        print(f"{way:12}{told}    {off:.0e}")
    print("\nactivations that rank 0 holds at most, 8 micro-batches, 2 stages:")
    for way in ("gpipe", "1f1b"):
        held, flying = first[way]["held_bytes"], first[way]["in_flight"]
        print(f"{way:6} {format_bytes(held):>10}, {flying} micro-batches at once")
    torch.manual_seed(0)
    model, ids = CharGpt(**sizes), torch.randint(96, (16, 64))
    print("\nactivations of the whole batch, one process:")
    for name, kind in {
        "as it is": model,
        "checkpointed": with_checkpoints(model),
        "bfloat16": CharGpt(**sizes).bfloat16(),
    }.items():
        print(f"{name:13} {format_bytes(held_by(kind, ids)):>10}")

# %% [markdown]
# ## Explain
# The model: a stage works $m$ slots, and the batch takes $m + p - 1$, since the last stage begins $p - 1$
# slots late. Waiting is $\frac{p-1}{m+p-1}$, whatever a slot lasts. It leaves out two things: that a message
# takes time, and that stages are never equal. The first one can be read off your measurement.

# %%
with when_ready():
    print("m    model, s  measured, s  left over, %   for each operation, ms")
    for row in measured.table:
        count = row["micro-batches"]
        slots = count + STAGES - 1
        ideal_s, found_s = slots * 3 * FORWARD_S, row["1F1B, s"]
        each_ms = 1e3 * (found_s - ideal_s) / (2 * slots)
        over = 100 * (found_s / ideal_s - 1)
        print(f"{count:<4} {ideal_s:8.3f} {found_s:12.3f} {over:14.1f} {each_ms:19.2f}")

    print(
        "\nif one stage of four is slower than the others (on paper, 1F1B, 8 micro-batches):"
    )
    orders = orders_of(one_f_one_b, 8)
    for slower in (1.0, 1.25, 1.5, 2.0):
        pace = [1.0, 1.0, 1.0, slower]
        timeline = pipeline.play_on_paper(
            orders, forward_s=pace, backward_s=[2 * each for each in pace]
        )
        print(f"{slower:4} times: {timeline.waiting:.0%} waiting, {timeline.seconds:g} units")

    print("\nmicro-batches that stage 0 keeps (GPipe, 1F1B), and the bubble:")
    for count in (4, 8, 16, 32):
        kept = [
            pipeline.play_on_paper(orders_of(make, count)).held[0]
            for make in (gpipe, one_f_one_b)
        ]
        waits = f"bubble {bubble(STAGES, count):.0%}"
        print(f"{count:3} micro-batches: {kept[0]:3}, {kept[1]:3}; {waits}")

# %% [markdown]
# Account for what is left over:
# - Is the measured wait above or below the formula, and does the time left over for each operation depend on
#   the number of micro-batches? What takes that time?
# - Shards hold half of everything, split layers a little more. What do split layers not split?
# - A character GPT has its embedding on the first stage and its head on the last. What does the second table
#   say about cutting a model into stages with equally many layers?
# - More micro-batches make the bubble smaller. What is the price under GPipe, and why is it another one under
#   1F1B? Why does nobody take a thousand?
#
# No machine grades this: your words are kept, and an instructor may read them.

# %%
lab.explain("residual", "")

# %% tags=["solution-only"]
lab.explain(
    "residual",
    "Measured waiting lies a little above the formula: every operation pays for a message "
    "and for being woken up, about a millisecond that does not depend on the number of "
    "micro-batches, so the whole grows with the number of slots. The slowest stage sets "
    "the pace of all, so stages must be cut by time and not by layers. Split layers keep "
    "embeddings, norms and the biases of sums whole on every rank. Under GPipe memory "
    "grows with the micro-batches; under 1F1B a stage keeps only as many as there are "
    "stages left, but small micro-batches use the hardware badly and pay the fixed cost "
    "of each operation more often.",
)

# %% [markdown]
# <details><summary>When yours is written: what a good answer names</summary>
#
# - The sign of the residual, and the milliseconds of an operation, from the first table.
# - What sets the pace of a pipeline, with a number of the second table.
# - Three kinds of weights that every rank of a split GPT holds whole.
# - Which of the two orders pays for more micro-batches with memory, and what both pay.
# - Why a micro-batch of one row is a bad one: what does an operation cost that has next to no work?
#
# </details>

# %% [markdown]
# ## Cost
# Waiting is paid like work. Four machines train for an hour; how much of the bill is the bubble, as you
# measured it, with 4 and with 16 micro-batches?

# %%
from scalelab.cost import cost_of_training

with when_ready():
    few, *_, many = (row["1F1B, %"] / 100 for row in measured.table)
    hour = cost_of_training(STAGES * 3600, currency="INR")
    lab.cost(hour, what="four machines for an hour")
    for count, share in ((COUNTS[0], few), (COUNTS[-1], many)):
        waited = cost_of_training(STAGES * 3600 * share, currency="INR")
        lab.cost(waited, what=f"waiting in that hour, {count} micro-batches")

# %% [markdown]
# **Take with you:** cut layers where they are wide, and pay with one sum for each pair, forward and
# backward; add a bias once; what all ranks hold must be the same on all of them, dropout too. Cut depth
# where links are slow, with many micro-batches under 1F1B. Shard what is only stored. And always compare
# with the whole model. `scalelab.train.parallel` has all of it.

# %%
lab.progress()
