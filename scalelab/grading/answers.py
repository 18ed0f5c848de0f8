"""What a check may see of a learner's work: the names it asks for, as callables and plain data."""

from __future__ import annotations

import difflib
import functools
import inspect
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalelab.grading.beside import load_inside, read_artefact
from scalelab.grading.lines import Line, find_line
from scalelab.grading.plain import own_copy, plain
from scalelab.grading.variants import Variant, own_variant

if TYPE_CHECKING:
    from scalelab.grading.checks import Check

_IPYTHONS = {"In", "Out", "exit", "quit", "get_ipython"}
FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)


class NotAttempted(Exception):
    """The task was not begun: its name is missing or still stands for nothing."""


class WrongArguments(Exception):
    """The learner's function cannot be called as the task says."""


class Stopped(BaseException):
    """The learner's code came to an end that no exception of its own tells. `code` is the feedback code."""

    def __init__(self, message: str, *, code: str):
        super().__init__(message)
        self.code = code


class Answers:
    """The learner's names, and fresh random inputs to try them on.

    ``answers["weights"]`` is the learner's function or value. A function is wrapped so that the report can
    say what it was called with and what it returned. What it is called with are copies (lists, dicts, sets
    and arrays), so it cannot change what the check compares with; see `shared`.
    """

    def __init__(self, namespace: Mapping[str, Any], *, seed: int = 0):
        self._namespace = namespace
        self._folder: Path | None = None
        self._variant: Variant | None = None
        self.reseed(seed)

    @property
    def namespace(self) -> Mapping[str, Any]:
        """All names that the learner's notebook has."""
        return self._namespace

    @property
    def variant(self) -> Variant:
        """The learner's own numbers and data: as a grader set them, else as ``variant.json`` says.

        Raises:
            UserError: the file is damaged, or belongs to another lab.
        """
        return self._variant or own_variant(self._folder.name if self._folder else "")

    @variant.setter
    def variant(self, variant: Variant) -> None:
        self._variant = variant

    def begin(self, check: Check, *, seed: int) -> None:
        """Start over for a check: its folder, its limit, its inputs."""
        self._folder = check.folder
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start `rng` anew; equal seeds give equal inputs."""
        self.seed = seed
        self.rng: np.random.Generator = np.random.default_rng(seed)
        self.last: tuple[str, Any] | None = None
        """what was read last, as the begin of a sentence, and its value: for the report"""
        self.missing = ""
        """the name that was asked for and is not there"""
        self.raised: BaseException | None = None
        """the exception that came out of the learner's function, if one did"""
        self._shared: dict[int, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._namespace and self._namespace[name] is not ...

    def __getitem__(self, name: str) -> Any:
        """Return the learner's `name`.

        Raises:
            NotAttempted: there is no such name, or it is still ``...``.
        """
        if name not in self._namespace:
            near = difflib.get_close_matches(name, _own_names(self._namespace), n=1, cutoff=0.75)
            told = f" (did you mean `{near[0]}`?)" if near else ""
            self.missing = name
            raise NotAttempted(f"there is no `{name}` yet: run the cell that defines it{told}")
        value = self._namespace[name]
        if value is ...:
            raise NotAttempted(f"`{name}` is still `...`: put your answer in its place")
        self.last = (f"`{name}` is", value)
        return self._watched(name, value) if isinstance(value, FUNCTIONS) else value

    def get(self, name: str, default: Any = None) -> Any:
        """Return the learner's `name`, or `default` where it is missing or ``...``."""
        if name not in self:
            return default
        return self[name]

    def shared(self, value: Any) -> Any:
        """Return `value`, a list, dict, set or array, marked: what the learner's code does to it will show.

        ``given = answers.shared([3, 1, 2]); answers["median"](given)``, and then look at `given`.
        """
        self._shared[id(value)] = value
        return value

    def inside(self, function: str, **inputs: Any) -> Any:
        """Run a function of the lab's ``inside.py`` beside the learner's code, and return plain data.

        For what is no plain data (models, optimizers, hooks): ``def try_step(answers, *, seed)`` builds it,
        calls the answers with it, and returns numbers and arrays. In the grader it runs in the learner's
        process, so it must hold nothing that the learner may not see; `inputs` are plain data.

        Raises:
            LabFileError: there is no such file or function.
        """
        answers = Answers(self._namespace)
        try:
            return plain(load_inside(self._folder, function)(answers, **own_copy(inputs)))
        finally:
            self.last, self.raised, self.missing = answers.last, answers.raised, answers.missing

    def apart(self, function: str, **inputs: Any) -> Any:
        """Run a function of the lab's ``inside.py`` away from the learner's code, and return plain data.

        For what the learner made and we measure: ``answers.apart("race", model=answers.artefact("m.onnx"))``.
        In the grader it runs in a process that never ran the learner's code and ends afterwards, so neither
        that code nor a file made to break its reader has a say. Its `answers` know nothing of the learner's.

        Raises:
            LabFileError: there is no such file or function.
        """
        value = plain(load_inside(self._folder, function)(Answers({}), **own_copy(inputs)))
        self.last = (f"`{function}` found", value)
        return value

    def artefact(self, path: str, *, max_bytes: int = 32 * 1024**2) -> bytes:
        """Return the content of a file that the learner's cells wrote into their working folder.

        Raises:
            NotAttempted: there is no such file, or it is larger than `max_bytes`.
        """
        content, trouble = read_artefact(path, max_bytes)
        if trouble:
            raise NotAttempted(trouble)
        self.last = (f"`{path}` is", content)
        return content

    def line_of(self, error: BaseException) -> Line | None:
        """Return the line of the learner's code that an exception came from, if it came from there."""
        return find_line(error, self._namespace, is_learners=error is self.raised)

    def _copied(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return own_copy((args, kwargs), shared=self._shared)

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            _check_arguments(name, function, args, kwargs)
            args, kwargs = self._copied(args, kwargs)
            try:
                value = function(*args, **kwargs)
            except BaseException as error:
                self.raised = error
                raise
            self.last = (f"`{name}` returned", value)
            return value

        try:
            return functools.update_wrapper(call, function)
        except (AttributeError, TypeError):
            return call


def _own_names(namespace: Mapping[str, Any]) -> list[str]:
    """Return the names that the notebook's own cells gave: no import, nothing that IPython put there."""
    home = namespace.get("__name__")
    return [
        name
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in _IPYTHONS
        and not isinstance(value, types.ModuleType)
        and (not callable(value) or getattr(value, "__module__", home) == home)
    ]


def _check_arguments(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        names = [f"{key}=" for key in kwargs]
        given = f"{len(args)} value{'s' * (len(args) != 1)}" + (f" and {', '.join(names)}" if names else "")
        raise WrongArguments(
            f"`{name}{signature}` cannot be called with {given}: {error}; keep the arguments of the task"
        ) from None
