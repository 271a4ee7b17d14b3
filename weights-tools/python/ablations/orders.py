"""Orders of an image's patches: a permutation of side², row by row in the picture."""


def patch_order(name, side, devices):
    at = [(y, x) for y in range(side) for x in range(side)]
    if name == "raster":
        key = lambda p: p
    elif name == "hilbert":
        key = lambda p: hilbert(side, *p)
    elif name == "morton":
        key = lambda p: sum(((p[0] >> b & 1) << 2 * b + 1) | ((p[1] >> b & 1) << 2 * b) for b in range(8))
    elif name == "snake":
        key = lambda p: (p[0], p[1] if p[0] % 2 == 0 else -p[1])
    elif name.startswith("tile"):                       # tileAxB: A×B tiles in raster order, snake inside
        a, b = map(int, name[4:].split("x"))
        key = lambda p: (p[0] // a, p[1] // b if p[0] // a % 2 == 0 else -(p[1] // b), p[0] % a, p[1])
    elif name == "spread":                              # every device gets rows from everywhere: raster dealt out in turn
        key = lambda p: ((p[0] * side + p[1]) % devices, p)
    elif name == "spread-hilbert":                      # the same of a Hilbert curve
        key = lambda p: (hilbert(side, *p) % devices, hilbert(side, *p))
    elif name.startswith("cyclic"):                     # cyclicB: runs of B along a Hilbert curve dealt out in turn
        b = int(name[6:])
        key = lambda p: (hilbert(side, *p) // b % devices, hilbert(side, *p))
    elif name == "checker":
        key = lambda p: ((p[0] + p[1]) % devices, hilbert(side, *p))
    elif name == "centre":                              # rings around the centre
        c = (side - 1) / 2
        key = lambda p: (max(abs(p[0] - c), abs(p[1] - c)), p)
    else:
        raise ValueError(name)
    return [y * side + x for y, x in sorted(at, key=key)]


def token_order(name, n, devices):
    """Of n tokens: as they come ('raster'), or runs of B dealt out in turn ('cyclicB')."""
    if name == "raster":
        return list(range(n))
    b = int(name[6:])
    return sorted(range(n), key=lambda i: (i // b % devices, i))


def hilbert(side, y, x):
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
