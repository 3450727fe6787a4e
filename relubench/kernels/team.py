"""Threads that share a kernel's work: they wait for it by looking at a counter, which costs a tenth of a microsecond.

A step of a small network is eight kernels of fifty microseconds each: a pool that sleeps between them, as OpenMP's and
Python's do, wakes too late. So the helpers of a team are awake while `working`, and gone afterwards.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir

from relubench.kernels.emit import I64, KERNEL, LINE, WORDS, Kernel, Numbers, Value, word

JOB, DONE, ARRIVED, FIXED = 0, LINE, 2 * LINE, 3 * LINE
"""Places in a team's words: how many kernels were given out, how often a helper finished one, how often anybody came to
a meeting; then what a job is, each counter in a cache line of its own."""
CODE, ARGS, WORKERS, OFFER = FIXED, FIXED + 1, FIXED + 2, FIXED + 3
WORDS_OF_A_TEAM = 4 * LINE

RUN = ir.FunctionType(ir.VoidType(), [WORDS, I64, I64])
SERVE = ir.FunctionType(ir.VoidType(), [WORDS, I64])


def emit_run(module: ir.Module, numbers: Numbers) -> None:
    """run(team, kernel, args): the kernel by all workers; returns when all have finished."""
    k = Kernel(module, "run", numbers, kind=RUN)
    team, code, args = k.function.args
    workers = k.load_word(team, word(WORKERS))
    k.store_word(code, team, word(CODE))
    k.store_word(args, team, word(ARGS))
    number = k.add(k.count(_at(k, team, JOB)), word(1))
    k.b.call(k.b.inttoptr(code, KERNEL.as_pointer()), [k.b.inttoptr(args, WORDS), word(0)])
    finished = k.times(number, k.b.sub(workers, word(1)))
    k.wait(_at(k, team, DONE), finished, k.load_word(team, word(OFFER)))
    k.b.ret_void()


def emit_serve(module: ir.Module, numbers: Numbers) -> None:
    """serve(team, worker): take part in every kernel, until one is null."""
    k = Kernel(module, "serve", numbers, kind=SERVE)
    b, (team, worker) = k.b, k.function.args
    before, look, work, after = b.block, *(b.append_basic_block(name) for name in ("next", "work", "end"))
    b.branch(look)
    b.position_at_end(look)
    number = b.phi(I64)
    number.add_incoming(word(1), before)
    k.wait(_at(k, team, JOB), number, k.load_word(team, word(OFFER)))
    code, args = (k.load_word(team, word(place)) for place in (CODE, ARGS))
    b.cbranch(b.icmp_signed("==", code, word(0)), after, work)
    b.position_at_end(work)
    b.call(b.inttoptr(code, KERNEL.as_pointer()), [b.inttoptr(args, WORDS), worker])
    k.count(_at(k, team, DONE))
    number.add_incoming(k.add(number, word(1)), b.block)
    b.branch(look)
    b.position_at_end(after)
    b.ret_void()


def meet(k: Kernel, team: Value) -> None:
    """Go on when every worker has come here."""
    arrived, workers = _at(k, team, ARRIVED), k.load_word(team, word(WORKERS))
    meeting = k.b.udiv(k.count(arrived), workers)
    k.wait(arrived, k.times(k.add(meeting, word(1)), workers), k.load_word(team, word(OFFER)))


def _at(k: Kernel, team: Value, place: int) -> Value:
    return k.b.gep(team, [word(place)])


class Team:
    """The calling thread and `workers` - 1 helpers; `run` and `serve` are addresses of what is emitted above."""

    def __init__(self, workers: int, run: int, serve: int) -> None:
        self.workers = workers
        self.words = np.zeros(WORDS_OF_A_TEAM, np.int64)
        self.words[WORKERS], self.words[OFFER] = workers, _offer_address()
        self.address = self.words.ctypes.data
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(run)
        self._serve = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(serve)
        self.awake = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, the helpers are awake."""
        if self.awake:
            yield
            return
        self.words[:FIXED] = 0
        helpers = [
            threading.Thread(target=self._serve, args=(self.address, worker), daemon=True)
            for worker in range(1, self.workers)
        ]
        for helper in helpers:
            helper.start()
        self.awake = True
        try:
            yield
        finally:
            self.awake = False
            self._dismiss(helpers)

    def _dismiss(self, helpers: list[threading.Thread]) -> None:
        self.words[CODE] = 0
        self.words[JOB] += 1
        for helper in helpers:
            helper.join()

    def run(self, kernel: int, args: int) -> None:
        """The kernel at that address by all workers, who are woken for it alone if they are not awake."""
        if self.awake:
            self._run(self.address, kernel, args)
            return
        with self.working():
            self._run(self.address, kernel, args)


def _offer_address() -> int:
    """The function by which a thread offers its core to another."""
    library: Any = ctypes
    found = library.windll.kernel32.SwitchToThread if sys.platform == "win32" else ctypes.CDLL(None).sched_yield
    return ctypes.cast(found, ctypes.c_void_p).value or 0
