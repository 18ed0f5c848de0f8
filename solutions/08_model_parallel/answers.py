"""Trial answers of lab 08: right in several styles, wrong in the ways that are often seen."""

from scalelab.grading.trials import Task


def cut(parts: str) -> str:
    """Return a cut that gives these parts."""
    return f"""
def cut_dense(layers, rank, ranks):
    up, up_bias, down, down_bias = layers
    n = len(up) // ranks
    return {parts}
"""


def forward(*lines: str) -> str:
    """Return a forward pass that does this with the rank's own part of the result."""
    body = "\n    ".join(lines)
    return f"""
def split_forward(x, part, down_bias, wire):
    up, up_bias, down = part
    hidden = F.gelu(F.linear(x, up, up_bias))
    out = F.linear(hidden, down)
    {body}
"""


MINE = "rank * n : (rank + 1) * n"
CUT = cut(f"up[{MINE}], up_bias[{MINE}], down[:, {MINE}]")
FORWARD_RIGHT = """
def split_forward(x, part, down_bias, wire):
    up, up_bias, down = part
    partial = F.gelu(x @ up.T + up_bias) @ down.T
    return wire.all_reduce(partial).wait() + down_bias
"""

FORWARD = Task(
    right=[
        CUT + FORWARD_RIGHT,
        """
def cut_dense(layers, rank, ranks):
    up, up_bias, down, _ = layers
    return up.chunk(ranks)[rank], up_bias.chunk(ranks)[rank], down.chunk(ranks, dim=1)[rank]

def split_forward(x, part, down_bias, wire):
    hidden = torch.nn.functional.gelu(F.linear(x, part[0], part[1]))
    out = F.linear(hidden, part[2], down_bias / wire.world_size)
    return wire.all_reduce(out).wait()
""",
        """
def cut_dense(layers, rank, ranks):
    mine = torch.arange(len(layers[1])).view(ranks, -1)[rank]
    return [layers[0][mine], layers[1][mine], layers[2].index_select(1, mine)]

def split_forward(x, part, down_bias, wire):
    out = F.gelu(F.linear(x, *part[:2])) @ part[2].t()
    if wire.rank == 0:
        out = out + down_bias
    wire.all_reduce(out).wait()
    return out
""",
    ],
    wrong={
        "keeps-all": cut("layers[:3]") + FORWARD_RIGHT,
        "cut-inputs": cut("up.chunk(ranks, dim=1)[rank], up_bias[:n], down.chunk(ranks)[rank]")
        + FORWARD_RIGHT,
        "bias-not-cut": cut("up.chunk(ranks)[rank], up_bias, down.chunk(ranks, dim=1)[rank]")
        + FORWARD_RIGHT,
        "down-cut-outputs": cut("[each.chunk(ranks)[rank] for each in (up, up_bias, down)]")
        + FORWARD_RIGHT,
        "down-not-cut": cut("up.chunk(ranks)[rank], up_bias.chunk(ranks)[rank], down")
        + FORWARD_RIGHT,
        "wrong-parts": cut(
            "up[rank:][:ranks], up_bias[rank:][:ranks], down[:, rank:][:, :ranks]"
        )
        + FORWARD_RIGHT,
        "same-part": cut("up[:n], up_bias[:n], down[:, :n]") + FORWARD_RIGHT,
        "parts-do-not-match": cut(
            "up.chunk(ranks)[rank], up_bias.chunk(ranks)[rank], down[:, rank::ranks]"
        )
        + FORWARD_RIGHT,
        "ranks-disagree": CUT
        + forward(
            "total = wire.all_reduce(out).wait()",
            "return total + down_bias if wire.rank == 0 else total",
        ),
        "bias-n-times": CUT + forward("return wire.all_reduce(out + down_bias).wait()"),
        "bias-missing": CUT + forward("return wire.all_reduce(out).wait()"),
        "mean-not-sum": CUT
        + forward("return wire.all_reduce(out + down_bias).wait() / wire.world_size"),
        "not-summed": CUT + forward("return out + down_bias"),
        "wrong-result": CUT
        + FORWARD_RIGHT.replace("F.gelu(x @ up.T + up_bias)", "(x @ up.T + up_bias)"),
        "extra-exchange": CUT
        + forward(
            "wire.all_gather(hidden).wait()", "return wire.all_reduce(out).wait() + down_bias"
        ),
        "ranks-stuck": CUT
        + forward(
            "out = wire.all_reduce(out).wait() if wire.rank == 0 else out",
            "return out + down_bias",
        ),
    },
    crashing=CUT.replace("//", "/") + FORWARD_RIGHT,
)

DOORS = """
class Door(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, wire, there, back):
        ctx.wire, ctx.back = wire, back
        return there(value, wire)

    @staticmethod
    def backward(ctx, gradient):
        return ctx.back(gradient, ctx.wire), None, None, None

def same(value, wire):
    return value.view_as(value)

def add(value, wire):
    return wire.all_reduce(value.clone()).wait()

def mean(value, wire):
    return add(value, wire) / wire.world_size

def share(value, wire):
    return value / wire.world_size

def add_here(value, wire):
    return wire.all_reduce(value).wait()

def enter(x, wire):
    return Door.apply(x, wire, ENTER)

def leave(partial, wire):
    return Door.apply(partial, wire, LEAVE)
"""


def doors(enter: str, leave: str) -> str:
    """Return both doors, each with what it does forward and backward."""
    return DOORS.replace("ENTER", enter).replace("LEAVE", leave)


BACKWARD = Task(
    right=[
        doors("same, add", "add, same"),
        """
def enter(x, wire):
    out = x.view_as(x)
    if out.requires_grad:
        out.register_hook(lambda gradient: wire.all_reduce(gradient.clone()).wait())
    return out

def leave(partial, wire):
    with torch.no_grad():
        others = wire.all_reduce(partial.detach().clone()).wait() - partial
    return partial + others
""",
        """
class _CopyToRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, wire):
        ctx.wire = wire
        return x.clone()

    @staticmethod
    def backward(ctx, grad_output):
        return ctx.wire.all_gather(grad_output.contiguous()).wait().sum(0), None

class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, wire):
        total = x.detach().clone()
        wire.all_reduce(total).wait()
        return total

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output.clone(), None

def enter(x, wire):
    return _CopyToRanks.apply(x, wire)

def leave(partial, wire):
    return _SumOverRanks.apply(partial, wire)
""",
    ],
    wrong={
        "enter-sums": doors("add, same", "add, same"),
        "wrong-door": doors("share, add", "add, same"),
        "not-summed": doors("same, add", "same, same"),
        "mean-not-sum": doors("same, add", "mean, same"),
        "no-gradient": """
def enter(x, wire):
    return x

def leave(partial, wire):
    return wire.all_reduce(partial.detach().clone()).wait()
""",
        "x-gradient-partial": doors("same, same", "add, same"),
        "x-gradient-averaged": doors("same, mean", "add, same"),
        "leave-sums-backward": doors("same, add", "add, add"),
        "leave-divides-backward": doors("same, add", "add, share"),
        "part-overwritten": doors("same, add", "add_here, same"),
        "gradient-overwritten": doors("same, add_here", "add, same"),
        "other-kind": doors("same, add", "add, same").replace(
            "value.clone()", "value.double()"
        ),
        "backward-broke": doors("same, add", "add, same").replace(", None, None, None", ""),
        "wrong-exchanges": doors("same, add", "add, mean"),
        "ranks-stuck": """
def enter(x, wire):
    if wire.rank == 0 and x.requires_grad:
        x = x.view_as(x)
        x.register_hook(lambda g: wire.all_reduce(g.clone()).wait())
    return x

def leave(partial, wire):
    return partial + (wire.all_reduce(partial.detach().clone()).wait() - partial).detach()
""",
    },
    crashing=doors("same, sum_of_ranks", "add, same"),
)

GPIPE = """
def gpipe(stage, stages, micro_batches):
    return [("F", i) for i in range(micro_batches)] + [("B", i) for i in range(micro_batches)]
"""
ONE = """
def one_f_one_b(stage, stages, micro_batches):
    ahead = AHEAD
    order = [("F", i) for i in range(ahead)]
    for i in range(micro_batches):
        if ahead + i < micro_batches:
            order.append(("F", ahead + i))
        order.append(("B", i))
    return order
"""
AHEAD = "min(stages - stage - 1, micro_batches)"
TURNS = """
def one_f_one_b(stage, stages, micro_batches):
    ahead = AHEAD
    order = [("F", i) for i in range(ahead)]
    for i in range(micro_batches - ahead):
        order += [("F", ahead + i), ("B", i)]
"""
REST = "    return order + [('B', i) for i in range(micro_batches - ahead, micro_batches)]\n"
SCHEDULE = Task(
    right=[
        GPIPE + ONE.replace("AHEAD", AHEAD),
        """
def gpipe(stage, stages, micro_batches):
    order = []
    for i in range(micro_batches):
        order.append(("F", i))
    for i in reversed(range(micro_batches)):
        order.append(("B", i))
    return order

def one_f_one_b(stage, stages, micro_batches):
    order, forward, backward = [], 0, 0
    while backward < micro_batches:
        if forward < micro_batches and forward - backward < stages - stage:
            order.append(("F", forward))
            forward += 1
        else:
            order.append(("B", backward))
            backward += 1
    return order
""",
        """
import itertools

def gpipe(stage, stages, micro_batches):
    return list(itertools.product("FB", range(micro_batches)))

def one_f_one_b(stage, stages, micro_batches):
    ahead = min(stages - stage - 1, micro_batches)
    fs = [("F", i) for i in range(micro_batches)]
    bs = [("B", i) for i in range(micro_batches)]
    middle = [each for pair in zip(fs[ahead:], bs) for each in pair]
    return fs[:ahead] + middle + bs[micro_batches - ahead:]
""",
    ],
    wrong={
        "holds-all": GPIPE + GPIPE.replace("gpipe", "one_f_one_b"),
        "one-at-a-time": GPIPE
        + """
def one_f_one_b(stage, stages, micro_batches):
    return [(kind, i) for i in range(micro_batches) for kind in "FB"]
""",
        "same-on-all-stages": GPIPE + ONE.replace("AHEAD", "min(stages - 1, micro_batches)"),
        "runs-too-far-ahead": GPIPE
        + ONE.replace("AHEAD", "min(stages - stage, micro_batches)"),
        "too-slow": GPIPE
        + ONE.replace("AHEAD", "min(max(0, stages - stage - 2), micro_batches)"),
        "waits-for-ever": GPIPE + ONE.replace("AHEAD", "min(stage, micro_batches)"),
        "gpipe-mixes": """
def gpipe(stage, stages, micro_batches):
    return one_f_one_b(stage, stages, micro_batches)
"""
        + ONE.replace("AHEAD", AHEAD),
        "more-than-there-are": GPIPE + TURNS.replace("AHEAD", "stages - stage - 1") + REST,
        "not-every-micro-batch": GPIPE + TURNS.replace("AHEAD", AHEAD) + "    return order\n",
        "no-operation": GPIPE
        + (TURNS.replace("AHEAD", AHEAD) + REST).replace('("F", i)', '"F" + str(i)'),
    },
    crashing=GPIPE
    + """
def one_f_one_b(stage, stages, micro_batches):
    return [("F", i) for i in micro_batches] + [("B", i) for i in micro_batches]
""",
)


def fewest(value: str) -> str:
    """Return a count of micro-batches by a formula."""
    return f"""
def micro_batches_for(stages, most):
    return {value}
"""


FEWEST = """
def micro_batches_for(stages, most):
    count = 1
    while bubble(stages, count) > most:
        count += 1
    return count
"""
BUBBLE_RIGHT = """
def bubble(stages, micro_batches):
    return (stages - 1) / (micro_batches + stages - 1)
"""
BUBBLE = Task(
    right=[
        BUBBLE_RIGHT
        + """
def micro_batches_for(stages, most):
    from itertools import count
    return next(m for m in count(1) if bubble(stages, m) <= most)
""",
        """
import math
from fractions import Fraction

def bubble(stages, micro_batches):
    return float(Fraction(stages - 1, micro_batches + stages - 1))

def micro_batches_for(stages, most):
    share = Fraction(most).limit_denominator(10**6)
    return max(1, math.ceil((stages - 1) * (1 - share) / share))
""",
        """
def bubble(stages, micro_batches):
    timeline = pipeline.play_on_paper(
        [[(kind, i) for kind in "FB" for i in range(micro_batches)] for _ in range(stages)]
    )
    return timeline.waiting

def micro_batches_for(stages, most):
    count = 1
    while bubble(stages, count) > most + 1e-9:
        count += 1
    return count
""",
    ],
    wrong={
        "beside-the-work": BUBBLE_RIGHT.replace(
            "(micro_batches + stages - 1)", "micro_batches"
        )
        + FEWEST,
        "share-of-work": BUBBLE_RIGHT.replace("return (stages - 1)", "return micro_batches")
        + FEWEST,
        "one-slot-too-many": BUBBLE_RIGHT.replace("(stages - 1)", "stages").replace("- 1", "")
        + FEWEST,
        "in-per-cent": BUBBLE_RIGHT.replace("return ", "return 100 * ") + FEWEST,
        "wrong-bubble": BUBBLE_RIGHT.replace("(stages - 1)", "2 * (stages - 1)") + FEWEST,
        "not-whole": BUBBLE_RIGHT + fewest("(stages - 1) * (1 - most) / most"),
        "too-few": BUBBLE_RIGHT + fewest("int((stages - 1) * (1 - most) / most)"),
        "too-many": BUBBLE_RIGHT + fewest("int((stages - 1) / most) + 1"),
    },
    crashing="""
def bubble(stages, micro_batches):
    return (stages - 1) / len(micro_batches)

def micro_batches_for(stages, most):
    return 1
""",
)

UNSHARD = """
def unshard(piece, shapes, wire):
    flat = wire.all_gather(piece).wait().flatten()
    out, at = [], 0
    for shape in shapes:
        n = torch.Size(shape).numel()
        out.append(flat[at : at + n].reshape(shape))
        at += n
    return out
"""
SHARD = """
def shard(tensors, rank, ranks):
    flat = torch.cat([each.detach().reshape(-1) for each in tensors])
    size = (flat.numel() + ranks - 1) // ranks
    flat = torch.cat([flat, flat.new_zeros(size * ranks - flat.numel())])
    return flat[rank * size : (rank + 1) * size].clone()
"""
SHARDS = Task(
    right=[
        SHARD + UNSHARD,
        """
import math

def shard(tensors, rank, ranks):
    numbers = torch.cat([t.ravel() for t in tensors])
    piece = torch.zeros(math.ceil(len(numbers) / ranks), dtype=numbers.dtype)
    mine = numbers[rank * len(piece) : (rank + 1) * len(piece)]
    piece[: len(mine)] = mine
    return piece

def unshard(piece, shapes, wire):
    flat = torch.cat(list(wire.all_gather(piece).wait()))
    result = []
    for shape in shapes:
        n = 1
        for side in shape:
            n *= side
        result.append(flat[:n].view(*shape) if shape else flat[0])
        flat = flat[n:]
    return result
""",
        """
import numpy as np

def shard(tensors, rank, ranks):
    flat = torch.hstack([t.flatten() for t in tensors])
    pad = (-flat.numel()) % ranks
    return F.pad(flat, (0, pad)).reshape(ranks, -1)[rank].clone()

def unshard(piece, shapes, wire):
    counts = [int(np.prod(shape)) for shape in shapes]
    flat = wire.all_gather(piece).wait().reshape(-1)
    parts = torch.split(flat, counts + [len(flat) - sum(counts)])[: len(shapes)]
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes))
""",
    ],
    wrong={
        "no-padding": """
def shard(tensors, rank, ranks):
    flat = torch.cat([each.flatten() for each in tensors])
    return flat.tensor_split(ranks)[rank].clone()
"""
        + UNSHARD,
        "tail-lost": """
def shard(tensors, rank, ranks):
    flat = torch.cat([each.flatten() for each in tensors])
    size = len(flat) // ranks
    return flat[rank * size : (rank + 1) * size].clone()
"""
        + UNSHARD,
        "whole-on-every-rank": """
def shard(tensors, rank, ranks):
    return torch.cat([each.flatten() for each in tensors])
"""
        + UNSHARD,
        "pads-each-tensor": """
def shard(tensors, rank, ranks):
    pieces = []
    for each in tensors:
        flat = each.flatten()
        flat = F.pad(flat, (0, -len(flat) % ranks))
        pieces.append(flat.chunk(ranks)[rank])
    return torch.cat(pieces)

def unshard(piece, shapes, wire):
    every = wire.all_gather(piece).wait()
    out, at = [], 0
    for shape in shapes:
        n = torch.Size(shape).numel()
        size = -(-n // wire.world_size)
        out.append(every[:, at : at + size].flatten()[:n].view(shape))
        at += size
    return out
""",
        "wrong-piece": SHARD.replace(".clone()", ".clone()[None]") + UNSHARD,
        "other-order": """
def shard(tensors, rank, ranks):
    flat = torch.cat([each.flatten() for each in tensors])
    return F.pad(flat, (0, -len(flat) % ranks))[rank::ranks].clone()

def unshard(piece, shapes, wire):
    flat = wire.all_gather(piece).wait().T.flatten()
    counts = [torch.Size(shape).numel() for shape in shapes]
    return [part.view(shape) for part, shape in zip(flat[: sum(counts)].split(counts), shapes)]
""",
        "keeps-the-whole": SHARD.replace(".clone()", "") + UNSHARD,
        "not-restored": SHARD
        + UNSHARD.replace(
            "wire.all_gather(piece).wait().flatten()",
            "wire.all_gather(piece).wait().T.flatten()",
        ),
        "extra-exchange": SHARD
        + """
def unshard(piece, shapes, wire):
    out, at = [], 0
    for shape in shapes:
        flat = wire.all_gather(piece).wait().flatten()
        n = torch.Size(shape).numel()
        out.append(flat[at : at + n].view(shape))
        at += n
    return out
""",
    },
    crashing=SHARD
    + """
def unshard(piece, shapes, wire):
    return wire.all_gather(piece).view(shapes)
""",
)


def guard(verdict: str, share: float = 0.4) -> str:
    """Return a test that judges the results of two ranks so."""
    return f"""
def keeps_the_whole(branch):
    x, layers = torch.randn(3, 8), two_layers(seed=4)
    wanted = whole_branch(x, layers, {share}, 11)
    found = on_ranks(2, lambda wire: branch(x, layers, {share}, 11, wire))
    return {verdict}
"""


ALL_CLOSE = "all(torch.allclose(each, wanted, atol=1e-5) for each in found)"
GUARD = guard(ALL_CLOSE)
BRANCH = """
def split_branch(x, layers, share, seed, wire):
    up, up_bias, down = cut_dense(layers, wire.rank, wire.world_size)
    draws = torch.Generator().manual_seed(seed)
    hidden = F.gelu(F.linear(enter(x, wire), up, up_bias))
    whole_mask = torch.rand(*x.shape[:-1], len(layers[0]), generator=draws) >= share
    mask = whole_mask.chunk(wire.world_size, dim=-1)[wire.rank]
    out = leave(F.linear(hidden * mask / (1 - share), down), wire) + layers[3]
    return x + drop(out, share, draws)
"""


def branch(seeded: str, last: str) -> str:
    """Return a block whose ranks draw the masks of their hidden units by themselves."""
    return f"""
def split_branch(x, layers, share, seed, wire):
    up, up_bias, down = cut_dense(layers, wire.rank, wire.world_size)
    draws = torch.Generator().{seeded}
    hidden = drop(F.gelu(F.linear(enter(x, wire), up, up_bias)), share, draws)
    return x + drop(leave(F.linear(hidden, down), wire) + layers[3], share, {last})
"""


DRILL = Task(
    right=[
        BRANCH + GUARD,
        """
def split_branch(x, layers, share, seed, wire):
    up, up_bias, down = cut_dense(layers, wire.rank, wire.world_size)
    units = len(up_bias)
    draws = torch.Generator().manual_seed(seed)
    hidden = F.gelu(F.linear(enter(x, wire), up, up_bias))
    full = hidden.new_zeros(*hidden.shape[:-1], units * wire.world_size)
    mine = slice(wire.rank * units, (wire.rank + 1) * units)
    full[..., mine] = hidden
    hidden = drop(full, share, draws)[..., mine]
    return x + drop(leave(F.linear(hidden, down), wire) + layers[3], share, draws)

def keeps_the_whole(branch):
    x = torch.ones(4, 8)
    layers = two_layers(8, 24, seed=1)
    for seed in range(3):
        for n in (2, 3):
            for out in on_ranks(n, lambda wire: branch(x, layers, 0.3, seed, wire)):
                if (out - whole_branch(x, layers, 0.3, seed)).abs().max() > 1e-4:
                    return False
    return True
""",
        """
def split_branch(x, layers, share, seed, wire):
    draws = torch.Generator().manual_seed(seed)
    masks = drop(torch.ones(*x.shape[:-1], layers[0].shape[0]), share, draws)
    last = drop(torch.ones_like(x), share, draws)
    up, up_bias, down = cut_dense(layers, wire.rank, wire.world_size)
    n = up.shape[0]
    hidden = F.gelu(F.linear(enter(x, wire), up, up_bias)) * masks[..., wire.rank * n : (wire.rank + 1) * n]
    return x + (leave(hidden @ down.T, wire) + layers[3]) * last

def keeps_the_whole(branch):
    x, layers = torch.randn(2, 8), two_layers()
    def act(wire):
        return (branch(x, layers, 0.5, 1, wire) - whole_branch(x, layers, 0.5, 1)).norm()
    return max(on_ranks(2, act)) < 1e-4  # a tensor of one truth
""",
    ],
    wrong={
        "nothing-split": """
def split_branch(x, layers, share, seed, wire):
    return whole_branch(x, [each.detach() for each in layers], share, seed)
"""
        + GUARD,
        "ranks-drift": branch("manual_seed(seed + wire.rank)", "draws") + GUARD,
        "branch-differs": BRANCH.replace(" + layers[3]", "").replace(
            "down), wire)", "down, layers[3]), wire)"
        )
        + GUARD,
        "twin-masks": branch("manual_seed(seed)", "draws") + GUARD,
        "other-masks": branch(
            "manual_seed(seed + 1 + wire.rank)", "torch.Generator().manual_seed(seed)"
        )
        + GUARD,
        "branch-gradient": BRANCH.replace("enter(x, wire)", "x") + GUARD,
        "guard-misses": BRANCH + guard(ALL_CLOSE.replace("in found)", "in found[1:])")),
        "guard-without-dropout": BRANCH + guard(ALL_CLOSE, share=0.0),
        "guard-compares-ranks": BRANCH + guard("torch.equal(*found)"),
        "guard-looks-at-rank-0": BRANCH + guard("torch.allclose(found[0], wanted, atol=1e-5)"),
        "guard-blames-the-right": BRANCH + guard("not " + ALL_CLOSE),
        "no-yes-or-no": BRANCH + guard("(found[0] - wanted).abs().max()"),
        "ranks-stuck": BRANCH.replace(
            "    return x +",
            "    if wire.rank == 0:\n        leave(out, wire)\n    return x +",
        )
        + GUARD,
    },
    crashing="""
def split_branch(x, layers, share, seed, wire):
    return whole_branch(x, cut_dense(layers, wire.rank, wire.world_size), share, seed)
"""
    + GUARD,
)

ANSWERS = {
    "forward": FORWARD,
    "backward": BACKWARD,
    "schedule": SCHEDULE,
    "bubble": BUBBLE,
    "shards": SHARDS,
    "drill": DRILL,
}
