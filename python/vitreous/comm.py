"""How processes share a job: four verbs, called by the driver loop alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Comm(Protocol):
    """What a driver loop may ask of the processes that run it."""

    rank: int
    size: int

    def share(self, items: Iterable[Item]) -> Iterator[Item]:
        """This process's part of the items; every item goes to exactly one process."""

    def sum(self, value: Any) -> Any:
        """The sum of every process's value, on all of them; the value has +."""

    def gather(self, rows: Sequence[Item]) -> list[Item]:
        """The rows of all processes in the order of the shared items, on all of them."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """function(item) for every item, each computed on one process, in order, on all of them."""


@dataclass(frozen=True)
class LocalComm:
    """One process: each verb is the identity."""

    rank: int = 0
    size: int = 1

    def share(self, items: Iterable[Item]) -> Iterator[Item]:
        return iter(items)

    def sum(self, value: Any) -> Any:
        return value

    def gather(self, rows: Sequence[Item]) -> list[Item]:
        return list(rows)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        return [function(item) for item in items]
