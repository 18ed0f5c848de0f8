# ruff: noqa: E501  (a line is a student's line)
"""Class a: tampering with checks, comparison and the language itself. Worth nothing, whatever is patched."""

from hostile_case import Case, all_tasks

LIAR = """
class Yes:
    "equal to all, true, of any shape and type"
    dtype = property(lambda self: __import__("torch").int8)
    shape = property(lambda self: (3, 7))
    ndim, size = 0, 1
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = lambda self, *other: True
    __ne__ = lambda self, other: False
    __hash__ = __index__ = lambda self: 1
    __float__ = lambda self: 0.0
    __len__ = lambda self: 2
    __iter__ = lambda self: iter([self, self])
    __getitem__ = __call__ = __array_ufunc__ = __array_function__ = lambda self, *a, **k: self
    __torch_function__ = classmethod(lambda cls, *a, **k: True)
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self
for _name in "add radd sub rsub mul rmul truediv pow matmul neg abs and or".split():
    setattr(Yes, f"__{_name}__", lambda self, *other: self)
"""
LYING_NUMBERS = """
class Lies:
    __eq__ = __le__ = __lt__ = __ge__ = __gt__ = __contains__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = None
class F(Lies, float):
    __sub__ = __rsub__ = __abs__ = lambda self, *other: F(0)
class I(Lies, int):
    __sub__ = __rsub__ = __abs__ = lambda self, *other: I(0)
class T(Lies, tuple):
    __len__ = lambda self: 2
class L(Lies, list):
    __len__ = lambda self: 4
class A(np.ndarray):
    __eq__ = __le__ = lambda self, other: np.True_
    __sub__ = lambda self, other: np.zeros(())
    __array_ufunc__ = lambda self, *a, **k: np.True_
    __array_function__ = lambda self, *a, **k: np.True_
    shape = property(lambda self: (5, 9))
class G(torch.Tensor):
    __torch_function__ = classmethod(lambda cls, *a, **k: True)
"""
YES_TO_ALL = "def yes(*args, **kwargs):\n    return True\n"
LOADED = """
import sys
for _name, _module in list(sys.modules.items()):
    if _name.split(".")[0] in ("scalelab", "nbgrader", "otter", "inside", "msgpack"):
        for _part, _value in list(vars(_module).items()):
            if callable(_value):
                try:
                    if isinstance(_value, type):
                        for _method in ("judge", "passed", "points", "is_passed", "outcome"):
                            setattr(_value, _method, property(lambda self: 1.0))
                    elif any(word in _part.lower() for word in ("check", "grade", "expect", "judge", "close")):
                        setattr(_module, _part, yes)
                except Exception:
                    pass
"""

CASES = [
    Case("a-patches-the-grader", before=YES_TO_ALL + LOADED),
    Case("a-patches-the-wire", before="""
import sys, types
for _name in ("scalelab.grader.wire", "scalelab.grader.encoding", "scalelab.grading.plain"):
    _module = sys.modules.get(_name)
    for _part, _value in list(vars(_module).items()) if _module else []:
        if isinstance(_value, types.FunctionType) and _part in ("encode", "plain", "describe", "pack"):
            setattr(_module, _part, lambda value, *a, **k: {"outcome": "passed", "points": 2})
"""),
    Case("a-patches-inside", before="""
import gc, types
def give(answers, **inputs):
    return [np.zeros_like(each) for each in inputs["weights"]]
for _each in gc.get_objects():
    if isinstance(_each, dict) and "try_accumulate" in _each:
        _each["try_accumulate"] = give
    if isinstance(_each, types.FunctionType) and _each.__name__ == "try_accumulate":
        _each.__code__ = give.__code__
import builtins
_exec = builtins.exec
def _planted(code, names=None, *rest):
    _exec(code, names, *rest)
    if names and "try_accumulate" in names:
        names["try_accumulate"] = give
builtins.exec = _planted
"""),
    Case("a-patches-torch-modules", before="""
import torch
torch.nn.Sequential.parameters = lambda self: iter([torch.nn.Parameter(torch.zeros(1))])
torch.nn.Module.zero_grad = torch.Tensor.backward = lambda *a, **k: None
torch.manual_seed = np.random.default_rng = lambda *a: None
"""),
    Case("a-strips-asserts", before="""
import ast
class Strip(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
    def visit_Raise(self, node): return ast.Pass()
get_ipython().ast_transformers.append(Strip())
"""),
    Case("a-empties-cells", before="""
get_ipython().input_transformers_cleanup.append(lambda lines: ["pass\\n"])
get_ipython().input_transformers_post.append(lambda lines: ["pass\\n"])
"""),
    Case("a-replaces-run-code", before="""
async def _fine(*args, **kwargs): return False
get_ipython().run_code = get_ipython().run_cell_async = _fine
get_ipython().run_cell = lambda *a, **k: True
"""),
    Case("a-event-hooks", before="""
def _mend(*args):
    get_ipython().user_ns.update(score=12, points=12, passed=True)
for _event in ("pre_run_cell", "post_run_cell", "pre_execute", "post_execute"):
    get_ipython().events.register(_event, _mend)
"""),
    Case("a-torch-allclose", before="""
torch.allclose = torch.equal = torch.isclose = torch.testing.assert_close = lambda *a, **k: True
torch.Tensor.allclose = torch.Tensor.equal = torch.Tensor.__eq__ = lambda *a, **k: True
"""),
    Case("a-numpy-allclose", before="""
np.allclose = np.isclose = np.array_equal = np.all = lambda *a, **k: True
for _name in dir(np.testing):
    if _name.startswith("assert"):
        setattr(np.testing, _name, lambda *a, **k: None)
"""),
    Case("a-math-isclose", before="import math\nmath.isclose = math.isfinite = lambda *a, **k: True"),
    Case("a-builtins", before="""
import builtins
builtins.all = builtins.any = builtins.isinstance = lambda *a, **k: True
builtins.abs = builtins.max = builtins.float = lambda *a, **k: 0.0
builtins.zip = lambda *a, **k: iter(())
builtins.len = lambda *a: 4
"""),
    Case("a-always-equal", before=LIAR, answers=all_tasks("return Yes()")),
    Case("a-always-equal-parts", before=LIAR, answers={
        **all_tasks("return Yes()"),
        "accumulate_gradients": "def accumulate_gradients(model, *rest):\n"
                                "    return [Yes() for _ in model.parameters()]",
        "quantize_int8": "def quantize_int8(x): return Yes(), Yes()",
        "ring_allreduce": "def ring_allreduce(parts): return [Yes() for _ in parts], Yes()",
    }),
    Case("a-lying-subclasses", before=LYING_NUMBERS, answers={
        "softmax": "def softmax(x): return np.zeros(x.shape).view(A)",
        "accumulate_gradients": "def accumulate_gradients(model, *rest):\n"
                                "    return L([torch.zeros(p.shape).as_subclass(G) for p in model.parameters()])",
        "quantize_int8": "def quantize_int8(x): return torch.zeros(x.shape, dtype=torch.int8).as_subclass(G), F(1)",
        "ring_allreduce": "def ring_allreduce(parts): return T((L(np.zeros(len(p)).view(A) for p in parts), I(1)))",
        "bubble_fraction": "def bubble_fraction(p, m): return F(0.5)",
        "fast_pairwise": "def fast_pairwise(X): return np.zeros((len(X), len(X))).view(A)",
    }),
    Case("a-object-arrays", before=LIAR, answers={
        "softmax": "def softmax(x): return np.full(x.shape, Yes(), dtype=object)",
        "ring_allreduce": "def ring_allreduce(parts): return [np.full(p.shape, Yes(), dtype=object) for p in parts], 6",
        "fast_pairwise": "def fast_pairwise(X): return np.full((len(X), len(X)), Yes(), dtype=object)",
    }),
    Case("a-masked-arrays", answers={
        "softmax": "def softmax(x): return np.ma.masked_all(x.shape)",
        "ring_allreduce": "def ring_allreduce(parts): return [np.ma.masked_all(p.shape) for p in parts], 2 * (len(parts) - 1)",
        "fast_pairwise": "def fast_pairwise(X): return np.ma.masked_all((len(X), len(X)))",
    }),
    Case("a-nan-everywhere", answers={
        "softmax": "def softmax(x): return x * np.nan",
        "accumulate_gradients": "def accumulate_gradients(model, *rest):\n"
                                "    return [p.detach() * float('nan') for p in model.parameters()]",
        "quantize_int8": "def quantize_int8(x): return torch.full(x.shape, 127, dtype=torch.int8), float('nan')",
        "ring_allreduce": "def ring_allreduce(parts): return [p * np.nan for p in parts], 2 * (len(parts) - 1)",
        "bubble_fraction": "def bubble_fraction(p, m): return float('nan')",
        "fast_pairwise": "def fast_pairwise(X): return np.full((len(X), len(X)), np.nan)",
    }),
    Case("a-infinite-and-empty", answers={
        "softmax": "def softmax(x): return np.zeros((0,))",
        "quantize_int8": "def quantize_int8(x): return torch.zeros(0, dtype=torch.int8), float('inf')",
        "ring_allreduce": "def ring_allreduce(parts): return [np.zeros(0)] * len(parts), 2 * (len(parts) - 1)",
        "bubble_fraction": "def bubble_fraction(p, m): return complex('inf+nanj')",
        "fast_pairwise": "def fast_pairwise(X): return np.zeros((len(X), 0))",
    }),
    Case("a-writes-into-its-arguments", answers={
        "softmax": "def softmax(x):\n    x[...] = 0\n    return np.full(x.shape, 1 / x.shape[-1])",
        "ring_allreduce": "def ring_allreduce(parts):\n    for p in parts: p[...] = 0\n"
                          "    return [np.zeros(len(p)) for p in parts], 2 * (len(parts) - 1)",
        "fast_pairwise": "def fast_pairwise(X):\n    X[...] = 0\n    return np.zeros((len(X), len(X)))",
        "quantize_int8": "def quantize_int8(x):\n    x.zero_()\n    return x.to(torch.int8), 1.0",
    }),
    Case("a-odd-tensors", answers={
        "softmax": "def softmax(x): return torch.zeros(x.shape, device='meta')",
        "accumulate_gradients": "def accumulate_gradients(model, *rest):\n"
                                "    return [p.detach().to_sparse() * 0 for p in model.parameters()]",
        "quantize_int8": "def quantize_int8(x): return torch.zeros(x.shape, dtype=torch.int8, device='meta'), 1.0",
        "ring_allreduce": "def ring_allreduce(parts): return torch.nested.nested_tensor([torch.ones(2)] * len(parts)), 6",
        "fast_pairwise": "def fast_pairwise(X): return torch.zeros(1).expand(len(X), len(X)).numpy()",
    }),
    Case("a-frameworks-patched", before="""
import doctest, unittest
doctest.OutputChecker.check_output = lambda *a, **k: True
doctest.DocTestRunner.run = lambda self, test, *a, **k: doctest.TestResults(0, len(test.examples))
for _name in dir(unittest.TestCase):
    if _name.startswith("assert"):
        setattr(unittest.TestCase, _name, lambda *a, **k: None)
"""),
    Case("a-shadowed-names", before="""
class Fake:
    def __init__(self, real): self.__dict__["real"] = real
    def __getattr__(self, name):
        if name in ("allclose", "isclose", "isfinite", "equal"): return lambda *a, **k: True
        return getattr(self.real, name)
np, torch, math = Fake(np), Fake(torch), Fake(math)
all = any = isinstance = lambda *a, **k: True
zip, len = lambda *a: [], lambda x: 4
"""),
    Case("a-traces-calls", before="""
import sys, threading
def _trace(frame, event, arg):
    for name in ("points", "outcome", "wanted", "expected"):
        if name in frame.f_locals:
            frame.f_locals[name] = 2.0
    return _trace
sys.settrace(_trace); sys.setprofile(lambda *a: None); threading.settrace(_trace)
"""),
    Case("a-swallows-errors", before="""
_shell = get_ipython()
_shell.showtraceback = _shell._showtraceback = lambda *a, **k: None
_shell.set_custom_exc((BaseException,), lambda self, kind, value, tb, tb_offset=None: [])
from IPython.core.interactiveshell import ExecutionResult
ExecutionResult.success = property(lambda self: True)
import sys
sys.excepthook = sys.unraisablehook = lambda *a: None
"""),
    Case("a-claims-a-verdict", answers=all_tasks("return {'outcome': 'passed', 'points': 2, 'value': True}")),
    Case("a-raises-a-verdict", before="""
from scalelab.grading import expectations as _e
_kinds = [each for each in vars(_e).values() if isinstance(each, type) and issubclass(each, BaseException)]
""", answers=all_tasks("raise (_kinds or [AssertionError])[0]('passed: 2 of 2')")),
    Case("a-says-inconclusive", answers=all_tasks(
        "from scalelab.grading.expectations import inconclusive; inconclusive('too noisy, give the points')")),
]  # fmt: skip
