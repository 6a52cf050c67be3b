"""Sequitur: infer a grammar in which no pair of symbols repeats, in linear time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

GUARD = 2**62
"""Value of the guards, which no symbol of a sequence has."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The grammar that Sequitur infers from some sequences.

    Args:
        sequences: Each sequence as symbols: terminals, from 0 on, or negative names of rules.
        rules: The two or more symbols that each rule stands for.
    """

    sequences: tuple[tuple[int, ...], ...]
    rules: dict[int, tuple[int, ...]]

    def expand(self, symbols: Iterable[int]) -> Iterator[int]:
        """Yield the terminals that ``symbols`` stand for."""
        stack = list(symbols)[::-1]
        while stack:
            symbol = stack.pop()
            if symbol < 0:
                stack += self.rules[symbol][::-1]
            else:
                yield symbol


def sequitur(sequences: Iterable[Iterable[int]]) -> Grammar:
    """Return one grammar for all ``sequences``, of symbols from 0 on.

    While reading, it maintains two invariants: no pair of adjacent symbols occurs twice without
    overlap (else a rule replaces it), and each rule is used at least twice (else it is inlined).
    Where the original leaves the order of repairs to recursion, this version keeps a list of places
    to check, so that both invariants hold at the end whatever an inlined rule brings about. Rules
    are shared between sequences; none spans two.

    Source: Nevill-Manning & Witten 1997, "Identifying hierarchical structure in sequences", JAIR 7.
    """
    builder = _Builder()
    for sequence in sequences:
        builder.read(sequence)
    return builder.grammar()


class _Symbol:
    """A link of a circular list closed by a guard; one linked to itself is in no list."""

    __slots__ = ("following", "previous", "rule", "value")

    def __init__(self, value: int, rule: int = 0) -> None:
        """Start unlinked; ``rule`` names the rule that a guard closes, 0 for a sequence."""
        self.value = value
        self.rule = rule
        self.previous = self
        self.following = self


class _Builder:
    """A grammar under construction."""

    def __init__(self) -> None:
        """Start empty."""
        self._sequences: list[_Symbol] = []
        self._rules: dict[int, _Symbol] = {}
        self._users: dict[int, dict[_Symbol, None]] = {}
        self._places: dict[tuple[int, int], _Symbol] = {}
        self._waiting: list[_Symbol] = []
        self._underused: list[int] = []
        self._names = 0

    def read(self, sequence: Iterable[int]) -> None:
        """Read one sequence to its end."""
        guard = _Symbol(GUARD)
        self._sequences.append(guard)
        for value in sequence:
            last = guard.previous
            self._insert(value, last)
            self._waiting.append(last)
            self._settle()

    def grammar(self) -> Grammar:
        """The grammar of what has been read."""
        return Grammar(
            tuple(self._body(guard) for guard in self._sequences),
            {rule: self._body(guard) for rule, guard in self._rules.items()},
        )

    def _settle(self) -> None:
        """Repair until both invariants hold."""
        while self._waiting or self._underused:
            if self._underused:
                self._undo(self._underused.pop())
            else:
                self._look(self._waiting.pop())

    def _look(self, symbol: _Symbol) -> None:
        """Check whether the pair that begins with ``symbol`` also occurs elsewhere."""
        second = symbol.following
        if second is symbol or GUARD in (symbol.value, second.value):
            return
        key = (symbol.value, second.value)
        other = self._places.setdefault(key, symbol)
        if second is other:
            # Keep the first of overlapping pairs: a later one could hide two that do not overlap.
            self._places[key] = symbol
            self._waiting.append(other.following)
        elif other is not symbol and other.following is not symbol:
            self._unite(other, symbol, key)

    def _unite(self, first: _Symbol, second: _Symbol, key: tuple[int, int]) -> None:
        """Replace the same pair in two places by one rule."""
        if (rule := self._ruled(first)) and (same := self._ruled(second)):
            self._rename(same, rule)
        elif rule:
            self._replace(second, rule)
        elif rule := self._ruled(second):
            self._places[key] = second
            self._replace(first, rule)
        else:
            rule = self._new_rule(key)
            self._replace(first, rule)
            self._replace(second, rule)

    def _new_rule(self, key: tuple[int, int]) -> int:
        """Make a rule of the pair ``key``, and record it as the pair's place."""
        self._names -= 1
        guard = _Symbol(GUARD, self._names)
        self._rules[self._names], self._users[self._names] = guard, {}
        for value in key:
            self._insert(value, guard.previous)
        self._places[key] = guard.following
        return self._names

    def _replace(self, first: _Symbol, rule: int) -> None:
        """Replace ``first`` and the symbol after it by ``rule``."""
        before, second = first.previous, first.following
        self._forget(before)
        self._forget(first)
        self._forget(second)
        self._remove(first)
        self._remove(second)
        self._waiting += [self._insert(rule, before), before]

    def _rename(self, rule: int, name: int) -> None:
        """Replace ``rule`` everywhere by the rule ``name``, which has the same symbols."""
        for user in list(self._users[rule]):
            self._forget(user.previous)
            self._forget(user)
            user.value = name
            self._users[name][user] = None
            self._waiting += [user, user.previous]
        del self._users[rule]
        guard = self._rules.pop(rule)
        while guard.following is not guard:
            self._forget(guard.following)
            self._remove(guard.following)

    def _undo(self, rule: int) -> None:
        """Inline a rule that is used only once."""
        if len(self._users.get(rule, ())) != 1:
            return
        (user,) = self._users.pop(rule)
        guard = self._rules.pop(rule)
        self._forget(user.previous)
        self._forget(user)
        first, last = guard.following, guard.previous
        before, after = user.previous, user.following
        before.following, first.previous = first, before
        last.following, after.previous = after, last
        user.following = user.previous = user
        self._waiting += [last, before]

    def _forget(self, symbol: _Symbol) -> None:
        """Drop the pair that begins with ``symbol``; one that overlaps it may take its place."""
        key = (symbol.value, symbol.following.value)
        if self._places.get(key) is symbol:
            del self._places[key]
            if key[0] == key[1]:
                self._waiting += [symbol.following, symbol.previous]

    def _ruled(self, first: _Symbol) -> int:
        """The rule that consists of the pair beginning with ``first``; 0 if there is none."""
        guard = first.previous
        return guard.rule if first.following.following is guard and guard.value == GUARD else 0

    def _insert(self, value: int, before: _Symbol) -> _Symbol:
        """Insert a new symbol after ``before``."""
        symbol, after = _Symbol(value), before.following
        before.following, symbol.previous = symbol, before
        symbol.following, after.previous = after, symbol
        if value < 0:
            self._users[value][symbol] = None
        return symbol

    def _remove(self, symbol: _Symbol) -> None:
        """Remove ``symbol`` from its list for good."""
        symbol.previous.following, symbol.following.previous = symbol.following, symbol.previous
        symbol.following = symbol.previous = symbol
        if symbol.value < 0:
            users = self._users[symbol.value]
            del users[symbol]
            if len(users) == 1:
                self._underused.append(symbol.value)

    def _body(self, guard: _Symbol) -> tuple[int, ...]:
        """The values in a guard's list."""
        values, symbol = [], guard.following
        while symbol is not guard:
            values.append(symbol.value)
            symbol = symbol.following
        return tuple(values)
