"""What arrives of a mean [.., D] for each wire format, and its bytes.

A format is words with dashes: `f32`, `f16`, `int8`, `int4`, `int3`, `int2`; then any of `g32` (a scale for every 32 columns; default one a row),
`zp` (zero point beside the scale), `clip0.9` (scale by so much of the largest), `best` (the clipping of least squared error, searched by
the sender), `nf` (levels at a normal distribution's quantiles), `had` (Hadamard rotation of blocks of columns first), `plain` (before the norm's γ and β),
`delta` (of the difference to what was received in the layer before).
"""
import math
import torch


def parse(wire):
    head, *words = wire.split("-")
    o = dict(bits=int(head[3:]) if head.startswith("int") else None, head=head, group=0, zp=False, clip=1.0, best=False, nf=False, had=False, plain=False, delta=False)
    for w in words:
        if w.startswith("g"): o["group"] = int(w[1:])
        elif w.startswith("clip"): o["clip"] = float(w[4:])
        elif w in o: o[w] = True
        else: raise ValueError(f"wire: {w!r} in {wire!r} is not known")
    return o


def row_bytes(wire, D):
    """Bytes of one row."""
    o = parse(wire)
    if o["bits"] is None:
        return D * {"f32": 4, "f16": 2}[o["head"]]
    scales = D // o["group"] if o["group"] else 1
    per = 4 if not o["group"] and not o["zp"] else 2                # one a row: f32 as the int8 wire has it; of groups: f16
    return math.ceil(D * o["bits"] / 8) + scales * (per + (2 if o["zp"] else 0))


_rotations = {}


def hadamard(D):
    block = D & -D
    if D not in _rotations:
        h = torch.ones(1, 1)
        while len(h) < block:
            h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
        _rotations[D] = h / math.sqrt(block)
    return _rotations[D]


def rotate(z):
    h = hadamard(z.shape[-1])
    return (z.unflatten(-1, (-1, len(h))) @ h).flatten(-2)


def levels(bits):
    """Normal quantiles, symmetric, largest 1 (as NF4 is made, without its asymmetry)."""
    n = 2**bits
    p = (torch.arange(n) + 0.5) / n
    q = torch.special.ndtri(p)
    return q / q.max()


def quantise(z, o):
    bits = o["bits"]
    g = o["group"] or z.shape[-1]
    y = z.unflatten(-1, (-1, g))
    top = 2 ** (bits - 1) - 1
    if o["nf"]:
        lv = levels(bits)
        s = y.abs().amax(-1, keepdim=True).clamp_min(1e-12) * o["clip"]
        mid = (lv[1:] + lv[:-1]) / 2
        out = lv[torch.bucketize((y / s).clamp(-1, 1), mid)] * s
    elif o["zp"]:
        lo, hi = y.amin(-1, keepdim=True), y.amax(-1, keepdim=True)
        c = (lo + hi) / 2
        lo, hi = c + (lo - c) * o["clip"], c + (hi - c) * o["clip"]
        lo = lo.half().float()
        s = ((hi - lo) / (2**bits - 1)).clamp_min(1e-7).half().float()
        out = ((y - lo) / s).round().clamp(0, 2**bits - 1) * s + lo
    else:
        m = y.abs().amax(-1, keepdim=True).clamp_min(1e-12)
        best = None
        for c in (1.0, 0.92, 0.84, 0.76, 0.68, 0.6, 0.52, 0.44) if o["best"] else (o["clip"],):
            s = m * c / max(top, 0.5 if bits == 1 else top)
            s = s.half().float() if o["group"] else s
            out = (y / s).round().clamp(-top, top) * s
            if o["best"]:
                e = (out - y).square().sum(-1, keepdim=True)
                best = (e, out) if best is None else (torch.minimum(e, best[0]), torch.where(e < best[0], out, best[1]))
        if o["best"]:
            out = best[1]
    return out.flatten(-2)


def on_wire(wire):
    """A function (z, layer, stack, state) → z as it arrives."""
    o = parse(wire)
    if o["head"] == "f32":
        return lambda z, i, stack, state: z
    if o["head"] == "f16":
        return lambda z, i, stack, state: z.half().float()

    def f(z, i, stack, state):
        if o["plain"]:
            g, b = stack.affine(i)
            z = (z - b) / g
        if o["had"]:
            z = rotate(z)
        before = state.get("sent") if o["delta"] else None
        r = quantise(z if before is None else z - before, o)
        r = r if before is None else r + before
        state["sent"] = r
        if o["had"]:
            r = rotate(r)
        if o["plain"]:
            r = r * g + b
        return r
    return f
