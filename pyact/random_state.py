"""Independent random streams for initial weights, shuffling and dropout.

One root `numpy.random.SeedSequence` feeds them all. Each consumer that was given no seed
of its own takes the next child of the root, in order of creation, so one `set_seed`
fixes a whole script. NumPy's global random state is never read or written.

Source: the spawning scheme of NumPy's SeedSequence (NEP 19; O'Neill 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._locks import guard

if TYPE_CHECKING:
    from numpy.random import Generator, SeedSequence

__all__ = ["generator", "seed_sequence", "seed_value", "set_seed", "spawn"]

_lock = guard()
_root: SeedSequence | None = None  # made from the system's entropy on first use
_TAG = 0x70796163  # "pyac": keeps our children apart from those the caller spawns


def set_seed(seed: int | Generator | SeedSequence | None = None) -> None:
    """Fixes everything random that follows: initial weights, order of rows, dropout.

    seed: an int >= 0; a `numpy.random.Generator` (128 bits are drawn from it); a
    `SeedSequence` (left as it is); or None for fresh entropy from the system.

    Raises TypeError for another type and ValueError for a negative int.

    >>> set_seed(1); a = generator().random()
    >>> set_seed(1); b = generator().random()
    >>> a == b
    True
    """
    global _root
    root = seed_sequence(seed, fresh=True)
    with _lock:
        _root = root


def spawn() -> SeedSequence:
    """The next child of the root: a stream that no other consumer shares."""
    global _root
    with _lock:
        if _root is None:
            from numpy.random import SeedSequence

            _root = SeedSequence()
        return _root.spawn(1)[0]


def seed_sequence(
    seed: int | Generator | SeedSequence | None = None, *, fresh: bool = False
) -> SeedSequence:
    """The SeedSequence that `seed` stands for; None takes the root's next child.

    fresh: None means new entropy from the system instead.
    """
    if seed is None and not fresh:
        return spawn()
    from numpy.random import Generator, SeedSequence

    if seed is None:
        return SeedSequence()
    if isinstance(seed, SeedSequence):
        key = (*seed.spawn_key, _TAG)
        return SeedSequence(seed.entropy, spawn_key=key, pool_size=seed.pool_size)
    if isinstance(seed, Generator):
        words: Any = seed.integers(0, 2**32, 4, "uint32")
        return SeedSequence([int(w) for w in words])
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(
            "seed must be an int, a numpy.random.Generator, a numpy.random.SeedSequence "
            f"or None, got {type(seed).__name__}"
        )
    number = seed.__index__()
    if number < 0:
        raise ValueError(f"seed must be at least 0, got {number}")
    return SeedSequence(number)


def generator(seed: int | Generator | SeedSequence | None = None) -> Generator:
    """A NumPy Generator: `seed` itself if it is one, else one seeded by it.

    None takes the root's next child; an int or SeedSequence gives the same numbers
    each time.
    """
    from numpy.random import PCG64, Generator

    if isinstance(seed, Generator):
        return seed
    return Generator(PCG64(seed_sequence(seed)))


def seed_value(seed: int | Generator | SeedSequence | None = None) -> int:
    """A 64-bit integer for a random stream in C; None takes the root's next child.

    >>> seed_value(3) == seed_value(3), seed_value(3) == seed_value(4)
    (True, False)
    """
    low, high = seed_sequence(seed).generate_state(2)
    return int(low) | int(high) << 32
