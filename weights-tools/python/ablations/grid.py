"""What `run.py` tries: (group, task, items, sharing). Items are images, pairs or windows of the development data."""

INT4 = "int4-g32"
FORMATS = ("int8 int4 int4-clip0.8 int4-best int4-zp int4-nf int4-had int4-plain int4-g64 int4-g32 int4-g32-zp int4-g32-best "
           "int3 int3-best int3-g32-best int3-had-best int2-zp int2-best int2-had-best").split()
DEALT = "spread-hilbert"


def grid():
    for wire in FORMATS:
        yield "formats", "vit", 1000, dict(rows=24, order="hilbert", wire=wire)
        yield "formats", "sts", 600, dict(rows=-1, wire=wire)
        yield "formats", "gpt512", 24, dict(rows=-1, wire=wire)

    for devices in (2, 3, 4, 8):
        yield "published", "vit", 1000, dict(devices=devices, rows=0)
        for rows in (3, 7, 10):
            yield "published", "vit", 1000, dict(devices=devices, rows=rows)
    for point in ("normed", "input"):
        for counts in (True, False):
            yield "published", "vit", 1000, dict(rows=3, point=point, counts=counts)
            yield "published", "gpt512", 24, dict(rows=16, point=point, counts=counts)
    for task in ("sts", "mrpc"):
        for rows in (0, 2, 3, 4):
            for counts in (True, False):
                yield "published", task, 500, dict(rows=rows, counts=counts)

    for devices in (2, 4):
        for order in ("raster", "hilbert", "cyclic2", DEALT, "spread", "tile4x2", "tile4x4"):
            for rows in (0, 3, 10):
                yield "orders", "vit", 1000, dict(devices=devices, rows=rows, order=order)
    for order in ("raster", "cyclic1", "cyclic2"):
        yield "orders", "sts", 500, dict(rows=3, sink=1, order=order)
        yield "orders", "mrpc", 500, dict(rows=8, sink=1, wire=INT4, order=order)

    for devices in (2, 3, 4):
        for kind in (dict(), dict(sink=1), dict(sink=2), dict(anchor=1), dict(tail=1), dict(tail=1, sink=1), dict(near=1)):
            yield "exact rows", "sts", 500, dict(devices=devices, rows=3, **kind)
    for kind in (dict(sink=1), dict(anchor=1), dict(near=4), dict(near=8), dict(near=12), dict(halo=8), dict(halo=16)):
        yield "exact rows", "gpt512", 24, dict(rows=16, **kind)
    for kind in (dict(sink=1), dict(anchor=1), dict(outliers=1)):
        yield "exact rows", "vit", 500, dict(rows=3, order=DEALT, **kind)

    for growth in (1.0, 1.15, 1.3, 1.5, 2.0):
        yield "graded", "gpt512", 24, dict(rows=16, growth=growth)
        yield "graded", "vit", 500, dict(rows=10, order="hilbert", growth=growth)
        yield "graded", "sts", 500, dict(rows=3, sink=1, growth=growth)
    for rows, growths in ((64, (1.02, 1.05, 1.1)), (128, (1.02, 1.05))):
        for growth in growths:
            yield "graded", "gpt512", 24, dict(rows=rows, growth=growth)

    for alpha in (0.0, 0.5, 0.75, 0.9, 1.0, 1.1):
        yield "gain", "gpt512", 24, dict(rows=16, growth=1.5, alpha=alpha)
        yield "gain", "vit", 500, dict(rows=3, order="hilbert", merge="any-far1", alpha=alpha)
        yield "gain", "sts", 500, dict(rows=3, sink=1, merge="any-far1", alpha=alpha)

    for merge in ("", "neighbours", "any", "any-kv", "any-once", "any-mass", "any-far1", "any-far2", "any-far2-kv", "any-run3"):
        yield "clusters", "vit", 500, dict(rows=3, order="hilbert", merge=merge)
        yield "clusters", "vit", 500, dict(rows=3, order=DEALT, merge=merge)
        yield "clusters", "vit", 500, dict(devices=4, rows=3, merge=merge)
        yield "clusters", "sts", 500, dict(rows=3, sink=1, merge=merge)
        yield "clusters", "sts", 500, dict(rows=3, merge=merge)
        yield "clusters", "mrpc", 300, dict(rows=14, sink=1, wire=INT4, merge=merge)
        yield "clusters", "gpt512", 16, dict(rows=16, near=8, merge=merge)

    for kind in (dict(second="full"), dict(second="diagonal"), dict(second="head"), dict(proxy=0.5), dict(proxy=1.0)):
        yield "corrections", "vit", 500, dict(rows=3, order=DEALT, **kind)
        yield "corrections", "gpt512", 16, dict(rows=16, **kind)
    for kind in (dict(rows=3), dict(rows=(5, 5, 5, 3, 3, 3, 1, 1, 1)), dict(rows=(1, 1, 1, 3, 3, 3, 5, 5, 5)), dict(rows=(1, 2, 3, 4, 5, 5, 4, 2, 1)),
                 dict(rows=(5, 4, 2, 1, 1, 1, 3, 5, 5)), dict(rows=6, reuse=2), dict(rows=9, reuse=3)):
        yield "layers", "vit", 500, dict(order=DEALT, merge="any-far1", **kind)

    for devices in (2, 3, 4, 8):
        for rows in (3, 7, 10):
            yield "method", "vit", 1000, dict(devices=devices, rows=min(rows, 64 // devices), order=DEALT if devices == 2 else "hilbert", merge="any-far1")
        yield "system", "vit", 1000, dict(devices=devices, rows=min(20, 64 // devices - 1), order=DEALT if devices == 2 else "hilbert", merge="any-far1", wire=INT4)
    for devices in (2, 3, 4):
        for rows in (2, 3, 4):
            yield "method", "sts", 1000, dict(devices=devices, rows=rows, sink=1, merge="any-far1")
        for rows in (7, 14, 21):
            yield "system", "mrpc", 500, dict(devices=devices, rows=rows, sink=1, merge="any-far1", wire=INT4)
    for devices in (2, 4):
        for rows in (4, 16):
            yield "published", "gpt512", 48, dict(devices=devices, rows=rows)
            yield "method", "gpt512", 48, dict(devices=devices, rows=rows, near=rows // 2, merge="any-far1")
        yield "system", "gpt512", 48, dict(devices=devices, rows=28, near=14, merge="any-far1", wire=INT4)

    for devices in (2, 4):
        for task, items, layers, kind, device in (("vit", 500, 9, dict(rows=7, order="hilbert", merge="any-far1"), 1), ("gpt512", 16, 6, dict(rows=16, growth=1.5), 0),
                                                  ("sts", 500, 6, dict(rows=3, sink=1, merge="any-far1"), devices - 1)):
            for k in range(layers):
                yield "lost from a layer on", task, items, dict(devices=devices, **kind, lost=(device, k, 99))
                yield "lost at one layer", task, items, dict(devices=devices, **kind, lost=(device, k, k + 1))
