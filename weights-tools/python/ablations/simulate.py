"""P devices that share a forward by segment means, all at once: one masked attention over every device's rows and the means
that others sent. Definition: ../shared/reference/prism_reference.py, which `check.py` holds this against.

Letters: B inputs, N rows of the sequence, R rows computed (N, and copies of anchor rows), S means sent by all devices, D width.
"""
from __future__ import annotations
import math
from dataclasses import dataclass, field, replace
import torch
import torch.nn.functional as F

NEVER = float("-inf")


@dataclass(frozen=True)
class Sharing:
    """What is shared and how. Bytes are those of the rows; frames are not counted."""
    devices: int = 2
    rows: int | tuple[int, ...] = 3   # rows that each device sends, exact ones included (a tuple: a layer each); 0: isolated, -1: all
    sink: int = 0                     # of these: the sequence's first rows, exactly
    near: int = 0                     # of these: rows next to each cut, exactly
    tail: int = 0                     # of these: the sequence's last rows, exactly
    anchor: int = 0                   # first rows that every device computes itself (not sent)
    halo: int = 0                     # rows before each cut (and after, where not causal) that the other side computes itself too
    growth: float = 1.0               # sizes of segments grow by this factor with each step from the cut
    toward: str = "cut"               # finest there, or at the 'start' or 'end' of each device's rows
    point: str = "normed"
    counts: bool = True
    alpha: float | tuple[float, ...] = 1.0   # gain is α·ln c
    wire: str = "f32"                 # see wires.py
    merge: str = ""                   # clusters by content instead of runs: 'neighbours' or 'any' (may be apart), by Ward's method or '-farK'
                                      # (farthest rows as centres, K rounds of k-means) or '-runK' (from runs); distances as in `alike`;
                                      # '-mass', '-near' weigh rows by attention received at home, by nearness to the cut; '-once': in the first layer only
    outliers: int = 0                 # of the rows: those most attended to at home, exactly
    proxy: float = 0.0                # weigh rows within a mean by exp(proxy · mean local logit)
    second: str = ""                  # '', 'full', 'diagonal', 'head': second-moment correction
    reuse: int = 1                    # means are sent in every reuse-th layer
    lost: tuple[int, int, int] | None = None  # device, from layer, to layer: its means do not arrive
    order: str = "raster"             # of an image's patches


# ---- plan ---------------------------------------------------------------------------------------

def split_even(n, parts):
    q, r = divmod(n, parts)
    sizes = [q + 1] * r + [q] * (parts - r)
    ends = torch.tensor(sizes).cumsum(0).tolist() if parts else []
    return [(e - s, e) for s, e in zip(sizes, ends)]


def graded(n, parts, growth, sides):
    """n rows in runs whose sizes grow geometrically away from the fine side ('start', 'end' or 'both')."""
    parts = min(parts, n)
    step = {"end": lambda i: parts - 1 - i, "start": lambda i: i, "both": lambda i: min(i, parts - 1 - i)}[sides]
    ideal = [growth ** step(i) for i in range(parts)]
    sizes = [1] * parts
    total = sum(ideal)
    for _ in range(n - parts):                                      # the run that lacks most gets the next row
        i = max(range(parts), key=lambda j: ideal[j] * n / total - sizes[j])
        sizes[i] += 1
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [(e - s, e) for s, e in zip(sizes, ends)]


@dataclass
class Plan:
    row: list[int] = field(default_factory=list)       # which of the N rows each of the R is
    device: list[int] = field(default_factory=list)
    own: list[bool] = field(default_factory=list)      # not a copy
    runs: list[list[tuple[int, int]]] = field(default_factory=list)   # per layer: sent segments, in rows of the sequence
    owner: list[list[int]] = field(default_factory=list)


def plan_of(n, s: Sharing, layers, causal):
    bounds = split_even(n, s.devices)
    plan = Plan()
    for p, (a, b) in enumerate(bounds):
        for t in range(min(s.anchor, a)):
            plan.row.append(t); plan.device.append(p); plan.own.append(False)
        for t in range(max(a - s.halo, 0, min(s.anchor, a)), a):
            plan.row.append(t); plan.device.append(p); plan.own.append(False)
        for t in range(a, b):
            plan.row.append(t); plan.device.append(p); plan.own.append(True)
        if not causal:
            for t in range(b, min(b + s.halo, n)):
                plan.row.append(t); plan.device.append(p); plan.own.append(False)
    made = {}
    for i in range(layers):
        L = s.rows[i] if isinstance(s.rows, tuple) else s.rows
        if L not in made:
            made[L] = [], []
            for p, (a, b) in enumerate(bounds):
                for run in device_runs(n, a, b, p, L, s, causal):
                    made[L][0].append(run); made[L][1].append(p)
        plan.runs.append(made[L][0]); plan.owner.append(made[L][1])
    return plan


def device_runs(n, a, b, p, L, s, causal):
    if L < 0 or L >= b - max(a, s.anchor):
        return [(t, t + 1) for t in range(max(a, s.anchor), b)]
    if L == 0:
        return []
    last = p == s.devices - 1
    if s.halo:                                                      # rows that a neighbour computes are a mean of their own, for the others
        inner = (a if p == 0 or causal else min(a + s.halo, b)), (b if last else max(b - s.halo, a))
        without = replace(s, halo=0)
        others = s.devices > 2
        edges = [(x, y) for x, y in ((a, inner[0]), (inner[1], b)) if y > x] if others else []
        return sorted(device_runs(n, *inner, p, max(1, L - len(edges)), without, causal) + edges)
    head = max(0, min(s.sink, b) - a) if a < s.sink else 0
    start = a + max(head, min(s.anchor, b) - a if a < s.anchor else 0)
    tail = s.tail if last else 0
    left = s.near if p > 0 and not causal else 0
    right = s.near if not last else 0
    exact = head + tail + left + right
    if exact >= L:                                                  # at least one mean
        cut = exact - L + 1
        right, cut = right - min(right, cut), cut - min(right, cut)
        left, cut = left - min(left, cut), cut - min(left, cut)
        tail, cut = tail - min(tail, cut), cut - min(tail, cut)
        head, cut = head - min(head, cut), cut - min(head, cut)
        start = max(a + head, min(max(a, s.anchor), b))
        exact = head + tail + left + right
    runs = [(a + t, a + t + 1) for t in range(head)] + [(start + t, start + t + 1) for t in range(left)]
    lo, hi = start + left, b - right - tail
    sides = s.toward
    if sides == "cut":
        sides = "end" if p == 0 or causal else "start" if last else "both"
    parts = L - exact
    cuts = split_even(hi - lo, min(parts, hi - lo)) if s.growth == 1 else graded(hi - lo, parts, s.growth, sides)
    runs += [(lo + x, lo + y) for x, y in cuts]
    return runs + [(t, t + 1) for t in range(hi, b)]


# ---- merging by content -------------------------------------------------------------------------

def ward(h, parts, neighbours, fixed=(0, 0), weight=None):
    """Rows h [B, n, D] merged until `parts` clusters are left, cheapest in summed squares first, each weighted [B, n].
    → membership [B, parts, n] of 0 and 1. The first and last `fixed` rows stay alone."""
    B, n, _ = h.shape
    member = torch.eye(n).repeat(B, 1, 1)
    alive = torch.ones(B, n, dtype=torch.bool)
    count = torch.ones(B, n) if weight is None else weight.clone()
    dist = torch.cdist(h, h).square() * (count[:, :, None] * count[:, None] / (count[:, :, None] + count[:, None]))
    big = float("inf")
    dist.diagonal(dim1=1, dim2=2).fill_(big)
    alone = (torch.arange(n) < fixed[0]) | (torch.arange(n) >= n - fixed[1])
    dist[:, alone] = big
    dist[:, :, alone] = big
    if neighbours:
        idx = torch.arange(n)
        far = (idx[:, None] - idx[None]).abs() > 1
        adjacent = ~far.repeat(B, 1, 1)
    z = h.clone()
    at = torch.arange(B)
    for _ in range(n - parts):
        d = dist.masked_fill(~adjacent, big) if neighbours else dist
        flat = d.flatten(1).argmin(1)
        i, j = flat // n, flat % n
        i, j = torch.minimum(i, j), torch.maximum(i, j)
        ci, cj = count[at, i], count[at, j]
        z[at, i] = (z[at, i] * ci[:, None] + z[at, j] * cj[:, None]) / (ci + cj)[:, None]
        count[at, i] = ci + cj
        member[at, i] += member[at, j]
        alive[at, j] = False
        c = count
        new = (z - z[at, i][:, None]).square().sum(-1) * c * (ci + cj)[:, None] / (c + (ci + cj)[:, None])
        new = new.masked_fill(~alive, big)
        new[at, i] = big
        new[:, alone] = big
        dist[at, i] = new
        dist[at, :, i] = new
        dist[at, j] = big
        dist[at, :, j] = big
        if neighbours:
            both = adjacent[at, i] | adjacent[at, j]
            adjacent[at, i] = both
            adjacent[at, :, i] = both
    order = alive.float().topk(parts, dim=1, sorted=True).indices.sort(1).values
    return member.gather(1, order[..., None].expand(-1, -1, n))


def lloyd(h, parts, far, rounds, fixed=(0, 0)):
    """As `ward`, by k-means: from runs, or (`far`) from rows each farthest from those before it, row 0 first; then `rounds` rounds. A
    cluster may end up empty. Fixed rows stay alone."""
    B, n, _ = h.shape
    i = torch.arange(n)
    alone = (i < fixed[0]) | (i >= n - fixed[1])
    inner = h[:, ~alone]
    m, k = inner.shape[1], parts - int(alone.sum())
    if far:
        chosen = torch.zeros(B, 1, dtype=torch.long)
        gap = torch.cdist(inner, inner[:, :1])[..., 0]
        for _ in range(k - 1):
            nxt = gap.argmax(1, keepdim=True)
            chosen = torch.cat([chosen, nxt], 1)
            gap = torch.minimum(gap, torch.cdist(inner, inner.gather(1, nxt[..., None].expand(-1, -1, h.shape[2])))[..., 0])
        centre = inner.gather(1, chosen[..., None].expand(-1, -1, h.shape[2]))
    else:
        A = torch.zeros(k, m)
        for r, (a, b) in enumerate(split_even(m, k)):
            A[r, a:b] = 1 / (b - a)
        centre = A @ inner
    for r in range(rounds):
        member = F.one_hot(torch.cdist(inner, centre).argmin(-1), k).float().transpose(1, 2)
        if r < rounds - 1:
            centre = member @ inner / member.sum(-1, keepdim=True).clamp_min(1)
    out = torch.zeros(B, parts, n)
    out[:, parts - k :, ~alone] = member
    out[:, : parts - k, alone] = torch.eye(parts - k)
    return out


def alike(h, k, v, words):
    """Rows [B, n, ·] between which distances are taken: normed rows, `kv`, `values`, or parts of equal spread: `even` (k and v), `hkv`."""
    spread = lambda x: x / (x - x.mean(1, keepdim=True)).square().sum(-1, keepdim=True).mean(1, keepdim=True).sqrt().clamp_min(1e-6)
    if "kv" in words: return torch.cat([k, v], -1)
    if "values" in words: return v
    if "even" in words: return torch.cat([spread(k), spread(v)], -1)
    if "hkv" in words: return torch.cat([spread(h), spread(k), spread(v)], -1)
    if "hv" in words: return torch.cat([spread(h), spread(v)], -1)
    return h


# ---- forward ------------------------------------------------------------------------------------

class Shared:
    """A stack shared by devices; bytes received by all devices together and layer are added up in `bytes` (a mean per input)."""

    def __init__(self, stack, sharing: Sharing, on_wire):
        self.stack, self.s, self.on_wire, self.plans = stack, sharing, on_wire, {}

    def plan(self, n):
        if n not in self.plans:
            p = plan_of(n, self.s, self.stack.layers, self.stack.causal)
            self.plans[n] = p, [self.tensors(p, i) for i in range(self.stack.layers)]
        return self.plans[n]

    def tensors(self, p: Plan, i):
        """A [S, R] averages the rows of each mean; bias [R, R+S] is 0, a gain, or never."""
        row, dev, own = torch.tensor(p.row), torch.tensor(p.device), torch.tensor(p.own)
        runs, owner = p.runs[i], torch.tensor(p.owner[i])
        A = torch.zeros(len(runs), len(row))
        for m, (a, b) in enumerate(runs):
            A[m, own & (row >= a) & (row < b)] = 1 / (b - a)
        local = torch.where(dev[:, None] == dev[None], 0.0, NEVER)
        count = torch.tensor([b - a for a, b in runs], dtype=torch.float)
        last = torch.tensor([b - 1 for _, b in runs])
        remote = torch.zeros(len(row), len(runs))
        if len(runs):
            remote = remote.masked_fill(dev[:, None] == owner[None], NEVER)
            if self.s.halo:                                         # what a device computes itself it does not take from others
                first = torch.tensor([a for a, _ in runs])
                for d in range(self.s.devices):
                    mine = row[dev == d]
                    have = (first >= mine[self.s.anchor if d else 0 :].min()) & (last <= mine.max())
                    remote[dev == d] = remote[dev == d].masked_fill(have, NEVER)
        if self.stack.causal:
            local = local.masked_fill(row[None] > row[:, None], NEVER)
            if len(runs):
                remote = remote.masked_fill(last[None] > row[:, None], NEVER)
        return dict(A=A, local=local, remote=remote, count=count, owner=owner, dev=dev, row=row, own=own)

    def alpha(self, i):
        return self.s.alpha[i] if isinstance(self.s.alpha, tuple) else self.s.alpha

    @torch.no_grad()
    def run(self, x, wanted=None):
        """x [B, N, D] in the order of the partition; → rows [B, N, D] after the last layer, or those wanted [B, wanted, D]."""
        st, s = self.stack, self.s
        p, tensors = self.plan(x.shape[1])
        row = torch.tensor(p.row)
        first = [next(k for k, r in enumerate(p.row) if r == t and p.own[k]) for t in range(x.shape[1])]
        place = torch.tensor(first)
        x = x[:, row]
        B, H = len(x), st.heads
        state = {}
        for i in range(st.layers):
            t = tensors[i]
            h = st.norm1(i, x)
            at = None
            if i == st.layers - 1:
                at = place if wanted is None else place[wanted]
            hq = h if at is None else h[:, at]
            z, bias = self.sent(i, x, h, t, state)
            keys = h if z is None else torch.cat([h, z], 1)
            bias = bias if at is None else bias[..., at, :]
            q = st.q(i, hq).unflatten(-1, (H, -1)).transpose(1, 2)
            k, v = (m.unflatten(-1, (H, -1)).transpose(1, 2) for m in st.kv(i, keys).chunk(2, -1))
            if s.second and z is not None:
                bias = bias.unsqueeze(1) if bias.dim() == 3 else bias
                bias = self.corrected(i, q, k, bias, h, t)
            elif bias.dim() == 3:
                bias = bias.unsqueeze(1)
            o = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=st.scale(i, q.shape[-1]))
            x = st.rest(i, x if at is None else x[:, at], o.transpose(1, 2).flatten(2))
        return x

    def sent(self, i, x, h, t, state):
        """Means as received [B, S, D] in the normed space, and bias [R, R+S] or [B, R, R+S]."""
        s, st = self.s, self.stack
        if t["A"].shape[0] == 0:
            return None, t["local"]
        source = x if s.point == "input" else h
        if s.merge or s.outliers or s.proxy:
            A, gain = self.by_content(i, h, t, state)
            z = A @ source
            bias = torch.cat([t["local"].expand(len(x), -1, -1), t["remote"] + gain[:, None]], -1)
        else:
            z = t["A"] @ source
            gain = t["count"].log() * (self.alpha(i) if s.counts else 0)
            bias = torch.cat([t["local"], t["remote"] + gain], -1)
        if i % s.reuse == 0:
            z = self.on_wire(z, i, st, state)
            state["received"] = z, bias
        else:
            z, bias = state["received"]
        if s.lost and s.lost[1] <= i < s.lost[2]:
            gone = torch.cat([torch.zeros(len(t["dev"]), dtype=torch.bool), t["owner"] == s.lost[0]])
            bias = bias.masked_fill(gone, NEVER)
        if s.point == "input":
            z = st.norm1(i, z)
        return z, bias

    def by_content(self, i, h, t, state):
        """Averaging [B, S, R] and gain [B, S] where they depend on the input. Gains travel: two bytes a mean."""
        s, st = self.s, self.stack
        B, R = h.shape[:2]
        A = t["A"].repeat(B, 1, 1)
        logits = None
        if "mass" in s.merge or s.outliers or s.proxy:
            q, k = (m.unflatten(-1, (st.heads, -1)).transpose(1, 2).float() for m in (st.q(i, h), st.kv(i, h).chunk(2, -1)[0]))
            logits = q @ k.transpose(-1, -2) * st.scale(i, q.shape[-1]) + t["local"]
        for d in range(s.devices):
            mine = (t["dev"] == d) & t["own"]
            cols = mine.nonzero()[:, 0]
            at = (t["owner"] == d).nonzero()[:, 0]
            if s.halo and s.devices == 2 and len(cols):
                cols = cols[: len(cols) - s.halo] if d == 0 else cols if st.causal else cols[s.halo :]
            if len(at) == 0:
                continue
            if s.merge and "once" in s.merge and ("member", d) in state:
                member = state["member", d]
            elif s.merge:
                head = min(s.sink, len(at) - 1) if d == 0 else 0
                fixed = head, min(s.near, len(at) - 1 - head) if d < s.devices - 1 else 0
                space = alike(h[:, cols], *st.kv(i, h[:, cols]).float().chunk(2, -1), s.merge.split("-"))
                weight = None
                if "mass" in s.merge:                                                   # attention received at home
                    weight = logits[:, :, cols][..., cols].softmax(-1).mean((1, 2)) + 1e-4
                if "near" in s.merge:                                                   # distance from the cut
                    weight = (1 / (1 + (len(cols) - 1 - torch.arange(len(cols))) / 8)).expand(B, -1)
                way = next((x for x in s.merge.split("-") if x[:3] in ("far", "run")), None)
                member = lloyd(space, len(at), way[0] == "f", int(way[-1]), fixed) if way else ward(space, len(at), s.merge.startswith("neighbours"), fixed, weight)
                state["member", d] = member
            elif s.outliers:
                mass = logits[:, :, cols][..., cols].softmax(-1).mean((1, 2))          # [B, n]
                k = min(s.outliers, len(at) - 1)
                if d == 0 and s.sink:
                    mass[:, : s.sink] = 0
                top = mass.topk(k, 1).indices.sort(1).values
                member = torch.zeros(B, len(at), len(cols))
                member[:, :k].scatter_(2, top[..., None], 1.0)
                taken = member.sum(1) > 0
                fixed = s.sink if d == 0 else 0
                for e in range(fixed):
                    member[:, k + e, e] = 1
                taken[:, :fixed] = True
                rank = (~taken).cumsum(1) - 1
                left = len(cols) - k - fixed
                parts = len(at) - k - fixed
                seg = (rank * parts) // left
                for m in range(parts):
                    member[:, k + fixed + m] = ((seg == m) & ~taken).float()
            else:
                member = (t["A"][at][:, cols] > 0).float().repeat(B, 1, 1)
            weight = member
            gain = member.sum(-1).log() * (self.alpha(i) if s.counts else 0)
            if s.proxy:
                lam = s.proxy
                mean = logits[:, :, cols][..., cols].mean(2)                            # [B, H, n]: by the mean local query
                e = (lam * (mean - mean.amax(-1, keepdim=True))).exp().mean(1)          # [B, n]
                weight = member * e[:, None]
            A[:, at] = 0
            A[:, at[:, None], cols[None]] = weight / weight.sum(-1, keepdim=True).clamp_min(1e-9)
            state["gain", d] = gain
        gain = torch.cat([state["gain", d] for d in range(s.devices) if ("gain", d) in state], 1)
        return A, gain

    def corrected(self, i, q, k, bias, h, t):
        """Adds ½ qᵀΣq to the logits of means: Σ of the keys each stands for."""
        st, A = self.stack, t["A"]
        R = h.shape[1]
        scale = st.scale(i, q.shape[-1])
        kl = k[:, :, :R].float()
        mean = A @ kl
        if self.s.second == "full":
            B, H, S, d = mean.shape
            logit = (q.float() @ kl.transpose(-1, -2)) * scale                          # [B, H, n, R]
            m1 = logit @ A.T
            extra = 0.5 * (logit.square() @ A.T - m1.square())
        else:
            var = A @ kl.square() - mean.square()                                       # [B, H, S, d]
            if self.s.second == "head":
                extra = 0.5 * scale**2 * q.float().square().sum(-1, keepdim=True) * var.mean(-1)[:, :, None]
            else:
                extra = 0.5 * scale**2 * q.float().square() @ var.transpose(-1, -2)
        pad = torch.zeros(*extra.shape[:-1], R)
        return bias + torch.cat([pad, extra], -1)
