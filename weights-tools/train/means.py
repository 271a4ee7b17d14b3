"""PRISM's attention as one product over all devices, so that a model can be trained with the segment means in its forward.

Every query sees its own device's rows and the means of the others; what it does not see has a gain of minus infinity. The
means are a constant matrix times the rows after the LayerNorm, so gradients pass through them. Orders, runs and segments are those of
@prismal/distribute (plan.ts, row-order.ts).
"""
import math
from dataclasses import dataclass

import torch

ORDERS = ("raster", "hilbert", "in-turn", "hilbert-in-turn")


@dataclass(frozen=True)
class Plan:
    average: torch.Tensor     # [P·L, N]: rows -> means of all devices
    gain: torch.Tensor        # [N, N + P·L]: ln of the rows that a key stands for, −inf where it is not seen


def split(n, parts):
    """n rows in runs whose sizes differ by at most one, longer ones first."""
    small, longer = divmod(n, parts)
    ends = [small * (i + 1) + min(i + 1, longer) for i in range(parts)]
    return list(zip([0, *ends], ends))


def hilbert(side):
    """The cells of a square whose side is a power of two, along the curve: y · side + x."""
    def place(y, x):
        d, s = 0, side // 2
        while s:
            rx, ry = int(x & s > 0), int(y & s > 0)
            d += s * s * ((3 * rx) ^ ry)
            if ry == 0:
                if rx:
                    x, y = side - 1 - x, side - 1 - y
                x, y = y, x
            s //= 2
        return d

    return sorted(range(side * side), key=lambda cell: place(*divmod(cell, side)))


def in_turn(rows, counts):
    """Rows dealt out in turn, as many to each device as it takes; those of a device together."""
    taken = [[] for _ in counts]
    for row in rows:
        open_to = [p for p in range(len(counts)) if len(taken[p]) < counts[p]]
        taken[min(open_to, key=lambda p: (2 * len(taken[p]) + 1) / counts[p])].append(row)
    return [row for rows in taken for row in rows]


def order_of(name, side, runs):
    """The row at each place: the class token first, then the patches."""
    patches = [1 + cell for cell in (hilbert(side) if name.startswith("hilbert") else range(side * side))]
    if name.endswith("in-turn"):
        patches = in_turn(patches, [end - start - (start == 0) for start, end in runs])
    return [0, *patches]


def plan(side, devices, segments, order="raster", sink=0):
    """`side`² patches and a class token on P devices, L means each; the first `sink` rows are sent exactly."""
    N = side * side + 1
    runs = split(N, devices)
    rows = order_of(order, side, runs)
    means = []                                                             # (device, its rows)
    owner = {}
    for p, (start, end) in enumerate(runs):
        mine = rows[start:end]
        owner.update(dict.fromkeys(mine, p))
        exact = max(0, min(sink, end) - start)
        means += [(p, [row]) for row in mine[:exact]]
        rest = mine[exact:]
        means += [(p, rest[a:b]) for a, b in split(len(rest), min(segments, len(rest)))] if rest and segments else []
    average, gain = torch.zeros(len(means), N), torch.full((N, N + len(means)), -math.inf)
    for m, (_, members) in enumerate(means):
        average[m, members] = 1 / len(members)
    for row in range(N):
        gain[row, [other for other in range(N) if owner[other] == owner[row]]] = 0
        for m, (p, members) in enumerate(means):
            if p != owner[row]:
                gain[row, N + m] = math.log(len(members))
    return Plan(average, gain)
