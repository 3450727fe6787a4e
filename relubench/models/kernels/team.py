"""Threads that share a kernel's work: they wait for it by looking at a counter, which costs a tenth of a microsecond.

A step of a small network is eight kernels of fifty microseconds each: a pool that sleeps between them, as OpenMP's and
Python's do, wakes too late. So the helpers of a team are awake while `working`, and gone afterwards.

A core that another process is busy on comes back after milliseconds. So each share of a kernel is claimed before it is
begun, by the helper whose it is or by the caller, who takes what no helper has begun when its own share is done.
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

from relubench.models.kernels.emit import I64, KERNEL, LINE, WORDS, Kernel, Value, VectorType, word

JOB, DONE, FIXED, CLAIMS = 0, LINE, 2 * LINE, 3 * LINE
"""Places in a team's words: how many kernels were given out, how many shares beyond the caller's are done; then what
a job is; then for each worker the last job whose share was claimed. Each counter is in a cache line of its own."""
CODE, ARGS, WORKERS, OFFER = FIXED, FIXED + 1, FIXED + 2, FIXED + 3

RUN = ir.FunctionType(ir.VoidType(), [WORDS, I64, I64, I64])
SERVE = ir.FunctionType(ir.VoidType(), [WORDS, I64])


def emit_run(module: ir.Module, numbers: VectorType) -> None:
    """run(team, kernel, then, args): the kernel by all workers, and after all of it `then`, unless that is 0."""
    k = Kernel(module, "run", numbers, kind=RUN)
    team, code, then, args = k.function.args
    _give_out(k, team, code, args)
    with k.b.if_then(k.b.icmp_signed("!=", then, word(0))):
        _give_out(k, team, then, args)
    k.b.ret_void()


def _give_out(k: Kernel, team: Value, code: Value, args: Value) -> None:
    """One kernel, until all of its shares are done."""
    workers = k.load_word(team, word(WORKERS))
    for value, place in ((code, CODE), (args, ARGS)):
        k.b.store_atomic(value, _at(k, team, place), "monotonic", 8)
    number = k.add(k.count(_at(k, team, JOB)), word(1))
    _call(k, code, args, word(0))

    def share(worker: Value, _: list[Value]) -> None:
        with k.b.if_then(_claimed(k, team, worker, number)):
            _call(k, code, args, worker)
            k.count(_at(k, team, DONE))

    k.loop(word(1), workers, 1, share)
    finished = k.times(number, k.b.sub(workers, word(1)))
    k.wait(_at(k, team, DONE), finished, k.load_word(team, word(OFFER)))


def emit_serve(module: ir.Module, numbers: VectorType) -> None:
    """serve(team, worker): take part in every kernel that comes in time, until one is null."""
    k = Kernel(module, "serve", numbers, kind=SERVE)
    b, (team, worker) = k.b, k.function.args
    before, look, work, after = b.block, *(b.append_basic_block(name) for name in ("next", "work", "end"))
    b.branch(look)
    b.position_at_end(look)
    next_job = b.phi(I64)
    next_job.add_incoming(word(1), before)
    k.wait(_at(k, team, JOB), next_job, k.load_word(team, word(OFFER)))
    number = b.load_atomic(_at(k, team, JOB), "acquire", 8)
    # Of a later job if the caller has gone on meanwhile: then this one's share is claimed already.
    code, args = (b.load_atomic(_at(k, team, place), "monotonic", 8) for place in (CODE, ARGS))
    b.cbranch(b.icmp_signed("==", code, word(0)), after, work)
    b.position_at_end(work)
    with b.if_then(_claimed(k, team, worker, number)):
        _call(k, code, args, worker)
        k.count(_at(k, team, DONE))
    next_job.add_incoming(k.add(number, word(1)), b.block)
    b.branch(look)
    b.position_at_end(after)
    b.ret_void()


def _claimed(k: Kernel, team: Value, worker: Value, number: Value) -> Value:
    """Claim that worker's share of the job of that number; whether nobody has before."""
    claim = k.b.gep(team, [k.add(word(CLAIMS), k.times(worker, LINE))])
    exchange = k.b.cmpxchg(claim, k.b.sub(number, word(1)), number, "acq_rel", "monotonic")
    return k.b.extract_value(exchange, 1)


def _call(k: Kernel, code: Value, args: Value, worker: Value) -> None:
    k.b.call(k.b.inttoptr(code, KERNEL.as_pointer()), [k.b.inttoptr(args, WORDS), worker])


def _at(k: Kernel, team: Value, place: int) -> Value:
    return k.b.gep(team, [word(place)])


class Team:
    """The calling thread and `workers` - 1 helpers; `run` and `serve` are addresses of what is emitted above."""

    def __init__(self, workers: int, run: int, serve: int) -> None:
        self.workers = workers
        self.words = np.zeros(CLAIMS + workers * LINE, np.int64)
        self.words[WORKERS], self.words[OFFER] = workers, _offer_address()
        self.address = self.words.ctypes.data
        self._run = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(run)
        self._serve = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(serve)
        self.awake = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, the helpers are awake."""
        if self.awake:
            yield
            return
        self.words[:FIXED] = self.words[CLAIMS:] = 0
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

    def run(self, kernel: int, args: int, then: int = 0) -> None:
        """The kernel at that address by all workers, and `then`; they are woken for it alone if they are not awake."""
        if self.awake:
            self._run(self.address, kernel, then, args)
            return
        with self.working():
            self._run(self.address, kernel, then, args)


def _offer_address() -> int:
    """The function by which a thread offers its core to another."""
    library: Any = ctypes
    function = library.windll.kernel32.SwitchToThread if sys.platform == "win32" else ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0
