"""Sequitur: the grammar in which no pair of symbols repeats, in time linear in the sequence."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

GUARD = 2**62
"""Value of the guards, which no symbol of a sequence has."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """What Sequitur makes of some sequences.

    Args:
        sequences: Each sequence as symbols; those from 0 on are the sequences' own, negative ones
            are names of rules.
        rules: The symbols that each rule stands for, two or more.
    """

    sequences: tuple[tuple[int, ...], ...]
    rules: dict[int, tuple[int, ...]]

    def expand(self, symbols: Iterable[int]) -> Iterator[int]:
        """The symbols of the sequences' own that ``symbols`` stand for."""
        stack = list(symbols)[::-1]
        while stack:
            symbol = stack.pop()
            if symbol < 0:
                stack += self.rules[symbol][::-1]
            else:
                yield symbol


def sequitur(sequences: Iterable[Iterable[int]]) -> Grammar:
    """Return one grammar for all ``sequences``, of symbols from 0 on.

    It keeps two laws while it reads: no two symbols stand side by side in two places that do not
    overlap (or a rule replaces them), and each rule is used at least twice (or it is undone).
    Where the original leaves the order of repairs to recursion, here a list of places waits to be
    looked at, so that both laws hold at the end whatever undoing a rule brings about. Rules are
    shared between sequences; none spans two.

    Source: Nevill-Manning & Witten 1997, "Identifying hierarchical structure in sequences", JAIR 7.
    """
    builder = _Builder()
    for sequence in sequences:
        builder.read(sequence)
    return builder.grammar()


class _Symbol:
    """A link of a chain that closes at its guard; by itself, it is in no chain (any more)."""

    __slots__ = ("following", "previous", "rule", "value")

    def __init__(self, value: int, rule: int = 0) -> None:
        """Stand alone; ``rule`` is the name of the rule that a guard guards, 0 for a sequence."""
        self.value = value
        self.rule = rule
        self.previous = self
        self.following = self


class _Builder:
    """A grammar under construction."""

    def __init__(self) -> None:
        """Begin with nothing."""
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
        """What has been read."""
        return Grammar(
            tuple(self._body(guard) for guard in self._sequences),
            {rule: self._body(guard) for rule, guard in self._rules.items()},
        )

    def _settle(self) -> None:
        """Repair until both laws hold."""
        while self._waiting or self._underused:
            if self._underused:
                self._undo(self._underused.pop())
            else:
                self._look(self._waiting.pop())

    def _look(self, symbol: _Symbol) -> None:
        """See whether the pair that begins with ``symbol`` stands elsewhere too."""
        second = symbol.following
        if second is symbol or GUARD in (symbol.value, second.value):
            return
        key = (symbol.value, second.value)
        other = self._places.setdefault(key, symbol)
        if second is other:
            # Of overlapping pairs the first is kept, lest two that do not overlap flank it.
            self._places[key] = symbol
            self._waiting.append(other.following)
        elif other is not symbol and other.following is not symbol:
            self._unite(other, symbol, key)

    def _unite(self, first: _Symbol, second: _Symbol, key: tuple[int, int]) -> None:
        """Make one rule of the same pair in two places."""
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
        """Make a rule of the pair ``key``, and note it as the pair's place."""
        self._names -= 1
        guard = _Symbol(GUARD, self._names)
        self._rules[self._names], self._users[self._names] = guard, {}
        for value in key:
            self._insert(value, guard.previous)
        self._places[key] = guard.following
        return self._names

    def _replace(self, first: _Symbol, rule: int) -> None:
        """Put ``rule`` where ``first`` and what follows it stand."""
        before, second = first.previous, first.following
        self._forget(before)
        self._forget(first)
        self._forget(second)
        self._remove(first)
        self._remove(second)
        self._waiting += [self._insert(rule, before), before]

    def _rename(self, rule: int, name: int) -> None:
        """Use the rule ``name`` wherever ``rule``, of the same symbols, is used."""
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
        """Put a rule's symbols where it is used, if it is used only once."""
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
        """The pair that begins with ``symbol`` is no more; one that overlaps it may take over."""
        key = (symbol.value, symbol.following.value)
        if self._places.get(key) is symbol:
            del self._places[key]
            if key[0] == key[1]:
                self._waiting += [symbol.following, symbol.previous]

    def _ruled(self, first: _Symbol) -> int:
        """The rule that is just the pair beginning with ``first``; 0 if there is none."""
        guard = first.previous
        return guard.rule if first.following.following is guard and guard.value == GUARD else 0

    def _insert(self, value: int, before: _Symbol) -> _Symbol:
        """Put a new symbol after ``before``."""
        symbol, after = _Symbol(value), before.following
        before.following, symbol.previous = symbol, before
        symbol.following, after.previous = after, symbol
        if value < 0:
            self._users[value][symbol] = None
        return symbol

    def _remove(self, symbol: _Symbol) -> None:
        """Take ``symbol`` out of its chain, for good."""
        symbol.previous.following, symbol.following.previous = symbol.following, symbol.previous
        symbol.following = symbol.previous = symbol
        if symbol.value < 0:
            users = self._users[symbol.value]
            del users[symbol]
            if len(users) == 1:
                self._underused.append(symbol.value)

    def _body(self, guard: _Symbol) -> tuple[int, ...]:
        """The values between a guard and itself."""
        values, symbol = [], guard.following
        while symbol is not guard:
            values.append(symbol.value)
            symbol = symbol.following
        return tuple(values)
