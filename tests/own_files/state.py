"""Modules that count their training steps, each in a place of its own, and turn themselves off after thirty.

Read by tests/training/test_kinds_of_state.py as a user's own file.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import decimal
import enum
import fractions
import functools
import types

import numpy as np
import torch
from torch import nn


def fades(x, n):
    return torch.relu(x) * float(n <= 30)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.begin()

    def begin(self):
        self.n = 0

    def count(self):
        return self.n

    def step(self):
        self.n = self.n + 1

    def forward(self, x):
        if self.training:
            self.step()
        return fades(x, self.count())


@dataclasses.dataclass(slots=True)
class Slots:
    n: int = 0


class InSlots(Counting):
    def begin(self):
        self.s = Slots()

    def count(self):
        return self.s.n

    def step(self):
        self.s.n += 1


class OldSlots:
    __slots__ = ("__dict__", "n")


class InOldSlots(Counting):
    def begin(self):
        self.s = OldSlots()
        self.s.n = 0
        self.s.other = 0

    def count(self):
        return self.s.n

    def step(self):
        self.s.n += 1
        self.s.other += 2


@dataclasses.dataclass(frozen=True)
class Frozen:
    n: int = 0


class InFrozen(Counting):
    def begin(self):
        self.s = Frozen()

    def count(self):
        return self.s.n

    def step(self):
        self.s = dataclasses.replace(self.s, n=self.s.n + 1)


class Pair(collections.namedtuple("Pair", "n m")):
    pass


class InPair(Counting):
    def begin(self):
        self.s = Pair(0, "a")

    def count(self):
        return self.s.n

    def step(self):
        self.s = self.s._replace(n=self.s.n + 1)


class InFraction(Counting):
    def begin(self):
        self.n = fractions.Fraction(0)

    def count(self):
        return self.n * 7

    def step(self):
        self.n += fractions.Fraction(1, 7)


class InDecimal(Counting):
    def begin(self):
        self.n = decimal.Decimal(0)

    def count(self):
        return self.n

    def step(self):
        self.n += 1


class Phase(enum.Enum):
    WARM = 0
    COLD = 99


class InEnum(Counting):
    def begin(self):
        self.n, self.phase = 0, Phase.WARM

    def count(self):
        return self.phase.value

    def step(self):
        self.n += 1
        if self.n > 30:
            self.phase = Phase.COLD


class InFrozenset(Counting):
    def begin(self):
        self.s = frozenset()

    def count(self):
        return len(self.s)

    def step(self):
        self.s = self.s | {len(self.s)}


def counter():
    n = 0

    def step(add=1):
        nonlocal n
        n += add
        return n

    return step


class InClosure(Counting):
    def begin(self):
        self.s = counter()

    def count(self):
        return self.s(0)

    def step(self):
        self.s()


class InHook(Counting):
    def begin(self):
        n = 0

        def before(module, inputs):
            nonlocal n
            n += module.training
            return inputs[0] * float(n <= 30)

        self.register_forward_pre_hook(before)

    def count(self):
        return 0

    def step(self):
        pass


class Hook:
    def __init__(self):
        self.n = 0

    def __call__(self, module, inputs, output):
        self.n += module.training
        return output * float(self.n <= 30)


class InHookObject(Counting):
    def begin(self):
        self.register_forward_hook(Hook())

    def count(self):
        return 0

    def step(self):
        pass


class InTeacher(Counting):
    def begin(self):
        self.s = [nn.Linear(1, 1, bias=False)]
        self.s[0].weight.data.zero_()

    def count(self):
        return float(self.s[0].weight.detach())

    def step(self):
        with torch.no_grad():
            self.s[0].weight += 1


class InParameterList(Counting):
    def begin(self):
        self.s = {"w": nn.Parameter(torch.zeros(()))}

    def count(self):
        return float(self.s["w"].detach())

    def step(self):
        self.s["w"].data += 1


class InLateBuffer(Counting):
    def begin(self):
        pass

    def count(self):
        return float(self.n) if "n" in self._buffers else 0

    def step(self):
        if "n" not in self._buffers:
            self.register_buffer("n", torch.zeros(()))
        self.n += 1


class InView(Counting):
    def begin(self):
        self.register_buffer("all", torch.zeros(4))
        self.one = self.all[2:3]

    def count(self):
        return float(self.all[2])

    def step(self):
        self.one += 1


class InArrayView(Counting):
    def begin(self):
        self.all = np.zeros(4)
        self.one = self.all[2:3]

    def count(self):
        return float(self.all[2])

    def step(self):
        self.one += 1


class InSharedArray(Counting):
    def begin(self):
        self.all = np.zeros(4)
        self.holder = Hook()
        self.holder.n = self.all

    def count(self):
        return float(self.all[2])

    def step(self):
        self.holder.n[2] += 1


class InNames(Counting):
    def begin(self):
        self.s = np.array(["a"], dtype="<U40")
        self.t = np.zeros(1, dtype=[("n", "i4"), ("m", "f8")])

    def count(self):
        return int(self.t["n"][0])

    def step(self):
        self.t["n"] += 1
        self.s[0] += "b"


class InOddTypes(Counting):
    def begin(self):
        self.d = np.array(["2020-01-01"], dtype="datetime64[D]")
        self.l = np.zeros(1, dtype=np.longdouble)
        self.u = np.zeros(1, dtype=">u2")

    def count(self):
        return float(self.l[0])

    def step(self):
        self.d += 1
        self.l += 1
        self.u += 1


class InRandomState(Counting):
    def begin(self):
        self.r = np.random.RandomState(3)
        self.n = 0.0

    def count(self):
        return self.n * 60

    def step(self):
        self.n += self.r.uniform(0.9, 1.1) / 60


class InBytearray(Counting):
    def begin(self):
        self.s = bytearray(1)

    def count(self):
        return self.s[0]

    def step(self):
        self.s[0] += 1


class InArray(Counting):
    def begin(self):
        self.s = array.array("i", [0])

    def count(self):
        return self.s[0]

    def step(self):
        self.s[0] += 1


class InCounter(Counting):
    def begin(self):
        self.s = collections.Counter()

    def count(self):
        return self.s["n"]

    def step(self):
        self.s["n"] += 1


class InDefault(Counting):
    def begin(self):
        self.s = collections.defaultdict(list)

    def count(self):
        return len(self.s["n"])

    def step(self):
        self.s["n"].append(1)


class InUserDict(Counting):
    def begin(self):
        self.s = collections.UserDict(n=0)

    def count(self):
        return self.s["n"]

    def step(self):
        self.s["n"] += 1


class Meter:
    def __init__(self, n):
        self.n = n


class InLateObject(Counting):
    def begin(self):
        self.s = None

    def count(self):
        return self.s.n if self.s else 0

    def step(self):
        if self.s is None:
            self.s = Meter(0)
        self.s.n += 1


class InList(Counting):
    def begin(self):
        self.s = []

    def count(self):
        return len(self.s)

    def step(self):
        self.s.append(Meter(len(self.s)))


class InPartial(Counting):
    def begin(self):
        self.s = functools.partial(list.append, [])

    def count(self):
        return len(self.s.args[0])

    def step(self):
        self.s(1)


class InMethod(Counting):
    def begin(self):
        self.s = collections.deque().append

    def count(self):
        return len(self.s.__self__)

    def step(self):
        self.s(1)


class InOwnMethod(Counting):
    def begin(self):
        self.s = Tally().add

    def count(self):
        return self.s(0)

    def step(self):
        self.s(1)


class Tally:
    n = 0

    def add(self, one):
        self.n += one
        return self.n


class InFunctionAttribute(Counting):
    def begin(self):
        def count():
            pass

        count.n = 0
        self.s = count

    def count(self):
        return self.s.n

    def step(self):
        self.s.n += 1


class InProxy(Counting):
    def begin(self):
        self.s = types.MappingProxyType({"n": [0]})

    def count(self):
        return self.s["n"][0]

    def step(self):
        self.s["n"][0] += 1


class InTupleKeys(Counting):
    def begin(self):
        self.s = {}

    def count(self):
        return len(self.s)

    def step(self):
        self.s[(len(self.s), "key")] = torch.zeros(2, dtype=torch.complex128)
