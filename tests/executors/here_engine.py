"""An engine whose other machines are objects of this process, which can be lost at will."""

from __future__ import annotations

import pickle
from collections.abc import Callable

from relubench.executors.remote.engine import Arrival, Parcel
from relubench.executors.remote.performance import Performance


class HereEngine:
    """Carries out jobs here, some at the same time; what goes out and comes home is pickled on its way."""

    def __init__(self, size: int = 2, lose: Callable[[int, Parcel, int], str] | None = None) -> None:
        """`lose`: number of the flight, its parcel, turns so far -> how its process ends; empty: it does not."""
        self.size, self.lose = size, lose or (lambda flight, parcel, turns: "")
        self.out: dict[int, tuple[Parcel, Performance]] = {}
        self.turns: dict[int, int] = {}
        self.parcels: list[Parcel] = []
        self.most_out = 0
        self.closed = False

    def places(self) -> int:
        return self.size - len(self.out)

    def workers(self) -> int:
        return self.size

    def launch(self, flight: int, parcel: Parcel) -> None:
        parcel = pickle.loads(pickle.dumps(parcel))
        self.parcels.append(parcel)
        self.out[flight], self.turns[flight] = (parcel, Performance(parcel.job, parcel.supplies)), 0
        self.most_out = max(self.most_out, len(self.out))

    def arrivals(self, seconds: float) -> list[Arrival]:
        return [self._turn(flight, parcel, job) for flight, (parcel, job) in list(self.out.items())]

    def _turn(self, flight: int, parcel: Parcel, job: Performance) -> Arrival:
        deliveries = pickle.loads(pickle.dumps(job.advance(0.05)))
        self.turns[flight] += 1
        if not job.ended and (lost := self.lose(flight, parcel, self.turns[flight])):
            del self.out[flight]
            return Arrival(flight=flight, deliveries=deliveries, lost=lost, final="cancelled" in lost)
        if job.ended:
            del self.out[flight]
        return Arrival(flight=flight, deliveries=deliveries, ended=job.ended)

    def stop(self) -> list[Arrival]:
        return [Arrival(flight=flight, deliveries=job.stop()) for flight, (_, job) in self.out.items()]

    def close(self) -> None:
        self.closed = True
