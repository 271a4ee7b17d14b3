"""Writes test/fixtures/images: small pictures, and what Pillow makes of them.

    python make_image_goldens.py [--photographs ../shared/data/sample-images] [--check-transformers]

Needs Pillow 12 and numpy. (Pillow 13.0.0 resizes the height before the width where that is less work, which now and then
moves a value by one. What models were trained behind, and what prismal follows, is the width first, always.)
What comes out is the same from run to run with the same versions, which `cases.json` names. It lists the cases;
`pixels.bin` holds what is expected, each at the `offset` (bytes) that its case names. Large results are kept as SHA-256.
`--check-transformers` compares the preprocessing below with transformers' own PIL processors (transformers 5; PyTorch is
not needed).
"""

import argparse
import hashlib
import io
import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps, features

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "test/fixtures/images"
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}

pixels = bytearray()
kept: dict = {}


def keep(array: np.ndarray) -> dict:
    """Puts an array into pixels.bin, once, and says where."""
    data = np.ascontiguousarray(array).tobytes()
    if data not in kept:
        pixels.extend(b"\0" * (-len(pixels) % 4))
        kept[data] = {"offset": len(pixels), "length": len(data)}
        pixels.extend(data)
    return kept[data]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lcg_bytes(count: int, seed: int) -> np.ndarray:
    """Bytes that the test makes again for itself: x = (1103515245 x + 12345) mod 2^31, bits 16 to 23."""
    out = bytearray(count)
    x = seed
    for i in range(count):
        x = (1103515245 * x + 12345) & 0x7FFFFFFF
        out[i] = (x >> 16) & 255
    return np.frombuffer(bytes(out), np.uint8)


def picture(width: int, height: int, channels: int, seed: int = 1) -> np.ndarray:
    """Gradients that differ by axis and channel, a hard edge and some noise: a flip or a swap shows."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 / width, y * 255 / height, (x + 2 * y) % 64 * 4, 255 - x * 200 / width]
    image = np.stack(planes[:channels], axis=-1)
    image[height // 3 :, : width // 4] = 255 - image[height // 3 :, : width // 4]
    noise = lcg_bytes(width * height * channels, seed).reshape(height, width, channels)
    return np.clip(image + noise / 8 - 16, 0, 255).astype(np.uint8)


def as_image(array: np.ndarray) -> Image.Image:
    """Pillow wants grey as [height, width]."""
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


# ---- PNG, written here because Pillow writes neither interlaced ones nor every depth ----

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack(samples: np.ndarray, depth: int) -> bytes:
    """A row's samples, most significant bit first."""
    if depth == 16:
        return samples.astype(">u2").tobytes()
    if depth == 8:
        return samples.astype(np.uint8).tobytes()
    bits = ((samples[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8)
    return np.packbits(bits.reshape(-1)).tobytes()


def filtered(rows: list, step: int) -> bytes:
    """The rows with filters 0 to 4 in turn, so that each is met, also in a first row of a pass."""
    out = bytearray()
    above = bytes(len(rows[0]))
    for n, row in enumerate(rows):
        kind = (n + len(row)) % 5
        out.append(kind)
        for i, value in enumerate(row):
            a = row[i - step] if i >= step else 0
            b = above[i]
            c = above[i - step] if i >= step else 0
            pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
            paeth = a if pa <= pb and pa <= pc else b if pb <= pc else c
            out.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) & 255)
        above = row
    return bytes(out)


def png(
    samples: np.ndarray, depth: int, colour: int, interlaced: bool, before: bytes = b"", after: bytes = b""
) -> bytes:
    """samples [height, width, samples a pixel]. `before` and `after` are chunks around the data."""
    height, width, count = samples.shape
    step = max(1, count * depth // 8)
    stream = b""
    for x, y, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[y::dy, x::dx]
        if part.size:
            stream += filtered([pack(row.reshape(-1), depth) for row in part], step)
    packed = zlib.compress(stream, 9)
    half = len(packed) // 2
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    data = chunk(b"IDAT", packed[:half]) + chunk(b"IDAT", packed[half:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + after + chunk(b"IEND", b"")


def exif(orientation: int, order: str) -> bytes:
    """A TIFF structure with another tag before the orientation."""
    mark = b"II" if order == "<" else b"MM"
    entries = struct.pack(order + "HHIHH", 0x0100, 3, 1, 23, 0) + struct.pack(
        order + "HHIHH", 0x0112, 3, 1, orientation, 0
    )
    return mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 2) + entries + struct.pack(order + "I", 0)


# ---- decoding ----


def decode_cases() -> list:
    cases = []

    def add(file: str, data: bytes, mode: str, expected: np.ndarray | None = None, note: str | None = None) -> None:
        (OUT / file).write_bytes(data)
        if expected is None:
            upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
            expected = np.asarray(upright.convert(mode))
        channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
        case = {"file": file, "width": expected.shape[1], "height": expected.shape[0], "channels": channels}
        cases.append(case | {"pixels": keep(expected)} | ({"note": note} if note else {}))

    def jpeg(file: str, array: np.ndarray, mode: str = "RGB", **options) -> None:
        out = io.BytesIO()
        as_image(array).save(out, "JPEG", **({"quality": 80} | options))
        add(file, out.getvalue(), mode)

    rgb = picture(23, 17, 3)
    grey = picture(23, 17, 1)
    for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
        jpeg(f"baseline-{name}.jpg", rgb, subsampling=subsampling)
        jpeg(f"progressive-{name}.jpg", rgb, subsampling=subsampling, progressive=True)
    jpeg("grey.jpg", grey, "L")
    jpeg("grey-progressive.jpg", grey, "L", progressive=True)
    jpeg("low-quality.jpg", picture(33, 25, 3), quality=12)
    jpeg("restarts.jpg", rgb, restart_marker_blocks=1)
    jpeg("not-ycc.jpg", rgb, keep_rgb=True)
    jpeg("one-pixel.jpg", rgb[:1, :1])
    for n in range(1, 9):
        jpeg(
            f"orientation-{n}.jpg", picture(11, 7, 3), exif=b"Exif\0\0" + exif(n, "<" if n % 2 else ">"), subsampling=0
        )
    jpeg("orientation-grey.jpg", picture(11, 7, 1), "L", exif=b"Exif\0\0" + exif(6, ">"))
    jpeg("orientation-9.jpg", picture(11, 7, 3), exif=b"Exif\0\0" + exif(9, "<"))
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    jpeg("orientation-xmp.jpg", picture(11, 7, 3), xmp=packet)
    jpeg("orientation-exif-and-xmp.jpg", picture(11, 7, 3), xmp=packet, exif=b"Exif\0\0" + exif(3, "<"))

    width, height = 19, 13
    for interlaced in (False, True):
        end = "-interlaced.png" if interlaced else ".png"
        wide = picture(width, height, 4).astype(np.uint16) * 256 + lcg_bytes(width * height * 4, 7).reshape(
            height, width, 4
        )
        for depth in (1, 2, 4, 8):
            levels = (picture(width, height, 1) >> (8 - depth)).astype(np.uint8)
            add(f"grey-{depth}{end}", png(levels, depth, 0, interlaced), "L")
            colours = lcg_bytes(3 << depth, depth)
            palette = chunk(b"PLTE", colours.tobytes())
            add(f"palette-{depth}{end}", png(levels, depth, 3, interlaced, palette), "RGB")
            # Fewer alphas than colours: the others are opaque.
            alpha = chunk(b"tRNS", bytes(range(10, 10 + (1 << depth) // 2)))
            add(f"palette-{depth}-alpha{end}", png(levels, depth, 3, interlaced, palette + alpha), "RGBA")
        note = "the upper bytes; Pillow's convert would cut everything above 255 to white"
        add(f"grey-16{end}", png(wide[..., :1], 16, 0, interlaced), "L", (wide[..., 0] >> 8).astype(np.uint8), note)
        for depth in (8, 16):
            samples = wide >> (16 - depth)
            add(f"grey-alpha-{depth}{end}", png(samples[..., :2], depth, 4, interlaced), "RGBA")
            add(f"rgb-{depth}{end}", png(samples[..., :3], depth, 2, interlaced), "RGB")
            add(f"rgba-{depth}{end}", png(samples, depth, 6, interlaced), "RGBA")
    samples = picture(width, height, 3)
    key = chunk(b"tRNS", struct.pack(">HHH", *samples[0, 0]))
    add("rgb-key.png", png(samples, 8, 2, False, key), "RGB")
    add("orientation-6.png", png(samples, 8, 2, False, chunk(b"eXIf", exif(6, ">"))), "RGB")
    add("orientation-5-after-data.png", png(samples, 8, 2, True, b"", chunk(b"eXIf", exif(5, "<"))), "RGB")
    # Smaller than Adam7's passes: some of them are empty.
    for w, h in [(1, 1), (2, 3), (5, 1)]:
        add(f"tiny-{w}x{h}-interlaced.png", png(picture(w, h, 3), 8, 2, True), "RGB")
    return cases


def refused_cases() -> list:
    """Files that Pillow may read but prismal does not; the messages are the tests'."""
    out = io.BytesIO()
    Image.fromarray(picture(9, 8, 4), "CMYK").save(out, "JPEG")
    (OUT / "cmyk.jpg").write_bytes(out.getvalue())
    out = io.BytesIO()
    Image.fromarray(picture(9, 8, 3)).save(out, "GIF")
    (OUT / "picture.gif").write_bytes(out.getvalue())
    return ["cmyk.jpg", "picture.gif"]


# ---- conversion, resizing ----


def convert_cases() -> list:
    cases = []
    for mode, channels in [("L", 1), ("RGB", 3), ("RGBA", 4)]:
        array = lcg_bytes(16 * 16 * channels, 3).reshape(16, 16, channels)
        image = as_image(array)
        case = {"width": 16, "height": 16, "channels": channels, "pixels": keep(array)}
        cases.append(case | {k: keep(np.asarray(image.convert(m))) for k, m in (("rgb", "RGB"), ("grey", "L"))})
    return cases


def resize_cases() -> list:
    cases = []
    for channels, sizes in [
        (3, [(7, 5), (27, 18), (19, 6), (8, 13), (1, 1), (30, 3), (19, 13)]),
        (1, [(6, 7), (23, 29)]),
    ]:
        # Noise, so that the negative lobes go out of 0…255 and are cut.
        array = lcg_bytes(19 * 13 * channels, 5).reshape(13, 19, channels)
        image = as_image(array)
        source = {"width": 19, "height": 13, "channels": channels, "pixels": keep(array)}
        for size in sizes:
            for number in FILTERS.values():
                result = np.asarray(image.resize(size, Image.Resampling(number)))
                target = {"width": size[0], "height": size[1], "resample": number, "pixels": keep(result)}
                cases.append({"source": source, "target": target})
    return cases


def large_resize_cases() -> dict:
    width, height, seed = 640, 427, 11
    image = Image.fromarray(lcg_bytes(width * height * 3, seed).reshape(height, width, 3))
    targets = []
    for size in [(224, 224), (1000, 700), (333, 427), (640, 100)]:
        for number in FILTERS.values():
            digest = sha256(image.resize(size, Image.Resampling(number)).tobytes())
            targets.append({"width": size[0], "height": size[1], "resample": number, "sha256": digest})
    return {"width": width, "height": height, "seed": seed, "targets": targets}


# ---- preprocessing, after transformers' image_processing_backends.py (PilBackend) and image_transforms.py ----


def resized_sides(height: int, width: int, size: dict) -> tuple:
    if "height" in size:
        return size["height"], size["width"]
    edge, longest = size["shortest_edge"], size.get("longest_edge")
    raw = None
    if longest is not None and max(height, width) / min(height, width) * edge > longest:
        raw = longest * min(height, width) / max(height, width)
        edge = round(raw)
    if min(height, width) == edge:
        return height, width
    scale = edge if raw is None else raw
    return (int(scale * height / width), edge) if width < height else (edge, int(scale * width / height))


def center_crop(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W, C], by padding first and cutting then, as transformers does."""
    h, w, _ = image.shape
    top, left = (h - height) // 2, (w - width) // 2
    padded = np.zeros((max(h, height), max(w, width), image.shape[2]), np.uint8)
    y, x = math.ceil((padded.shape[0] - h) / 2), math.ceil((padded.shape[1] - w) / 2)
    padded[y : y + h, x : x + w] = image
    return padded[max(0, top + y) :, max(0, left + x) :][:height, :width]


def processed(image: Image.Image, steps: dict) -> np.ndarray:
    """[C, H, W] float32."""
    if size := steps.get("size"):
        height, width = resized_sides(image.height, image.width, size)
        image = image.resize((width, height), Image.Resampling(steps["resample"]))
    array = np.asarray(image).reshape(image.height, image.width, -1)
    if crop := steps.get("crop"):
        array = center_crop(array, *crop)
    values = array.transpose(2, 0, 1)
    values = (
        (values * np.float64(steps["factor"])).astype(np.float32) if "factor" in steps else values.astype(np.float32)
    )
    if "mean" in steps:
        mean, std = (np.array(steps[k], np.float32).reshape(-1, 1, 1) for k in ("mean", "std"))
        values = (values - mean) / std
    return values


HALF = {"mean": [0.5], "std": [0.5]}
CLIP = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
FACTOR = {"factor": 1 / 255}

# (config as a file has it, channels, what it comes to)
PREPROCESSING = [
    (
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 12}, "resample": 2},
        3,
        {"size": {"height": 16, "width": 12}, "resample": 2} | FACTOR | HALF,
    ),
    (
        {
            "feature_extractor_type": "ViTFeatureExtractor",
            "do_resize": True,
            "do_normalize": True,
            "size": 9,
            "resample": 3,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
        3,
        {"size": {"height": 9, "width": 9}, "resample": 3}
        | FACTOR
        | {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    ),
    (
        {"image_processor_type": "DeiTImageProcessor", "size": 20, "crop_size": 14, "do_center_crop": True},
        3,
        {"size": {"height": 20, "width": 20}, "resample": 3, "crop": (14, 14)} | FACTOR | HALF,
    ),
    (
        {"feature_extractor_type": "CLIPFeatureExtractor", "size": 10, "crop_size": 10, "do_center_crop": True},
        3,
        {"size": {"shortest_edge": 10}, "resample": 3, "crop": (10, 10)} | FACTOR | CLIP,
    ),
    (
        {
            "image_processor_type": "BitImageProcessorFast",
            "size": {"shortest_edge": 15},
            "crop_size": {"height": 9, "width": 12},
            "do_convert_rgb": True,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
        3,
        {"size": {"shortest_edge": 15}, "resample": 3, "crop": (9, 12)}
        | FACTOR
        | {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    ),
    (
        {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": False,
            "crop_size": {"height": 18, "width": 10},
            "image_mean": 0.5,
            "image_std": 0.25,
        },
        3,
        {"crop": (18, 10)} | FACTOR | {"mean": [0.5], "std": [0.25]},
    ),
    (
        {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 10, "longest_edge": 12},
            "resample": 1,
            "do_center_crop": False,
            "do_normalize": False,
        },
        3,
        {"size": {"shortest_edge": 10, "longest_edge": 12}, "resample": 1} | FACTOR,
    ),
    (
        {
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": 8, "width": 8},
            "resample": 0,
            "do_rescale": False,
        },
        3,
        {"size": {"height": 8, "width": 8}, "resample": 0} | HALF,
    ),
    (
        {
            "image_processor_type": "BeitImageProcessor",
            "do_center_crop": True,
            "size": {"height": 11, "width": 13},
            "crop_size": {"height": 14, "width": 9},
            "rescale_factor": 0.00784313725490196,
            "do_reduce_labels": False,
        },
        3,
        {"size": {"height": 11, "width": 13}, "resample": 3, "crop": (14, 9), "factor": 0.00784313725490196} | HALF,
    ),
    (
        {
            "image_processor_type": "ViTImageProcessor",
            "size": {"height": 14, "width": 14},
            "image_mean": [0.1307],
            "image_std": [0.3081],
        },
        1,
        {"size": {"height": 14, "width": 14}, "resample": 2} | FACTOR | {"mean": [0.1307], "std": [0.3081]},
    ),
]


def preprocess_cases(check: bool) -> dict:
    array = picture(21, 13, 3, 9)
    cases = []
    for turned in (False, True):
        source = np.ascontiguousarray(array.transpose(1, 0, 2)) if turned else array
        for config, channels, steps in PREPROCESSING:
            image = Image.fromarray(source).convert("RGB" if channels == 3 else "L")
            result = processed(image, steps)
            if check:
                compare_with_transformers(image, config, result)
            shape = {"channels": channels, "height": result.shape[1], "width": result.shape[2]}
            cases.append({"turned": turned, "config": config} | shape | {"pixels": keep(result)})
    source = {"width": 21, "height": 13, "channels": 3, "pixels": keep(array)}
    turned = {"width": 13, "height": 21, "channels": 3, "pixels": keep(array.transpose(1, 0, 2))}
    return {"source": source, "turned": turned, "cases": cases}


def compare_with_transformers(image: Image.Image, config: dict, expected: np.ndarray) -> None:
    import transformers

    kind = config.get("image_processor_type") or config["feature_extractor_type"]
    family = kind.replace("ImageProcessor", "").replace("FeatureExtractor", "").replace("Fast", "")
    own = {k: v for k, v in config.items() if not k.endswith("_type")}
    processor = getattr(transformers, f"{family}ImageProcessorPil")(**own)
    # ViT has three means by default, which transformers would not take for one channel either.
    convert = {} if image.mode == "RGB" else {"do_convert_rgb": False}
    got = processor(image, return_tensors="np", **convert)["pixel_values"][0]
    np.testing.assert_array_equal(got, expected, err_msg=str(config))
    print(f"as transformers {transformers.__version__}: {kind} {got.shape}")


# ---- photographs, which lie outside of the repository ----


def photograph_cases(folder: Path) -> list:
    cases = []
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".png", ".jpg"):
            continue
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        case = {"file": path.name, "width": image.width, "height": image.height, "rgb": sha256(image.tobytes())}
        for name in ("bilinear", "bicubic"):
            case[name] = sha256(image.resize((224, 224), Image.Resampling(FILTERS[name])).tobytes())
        cases.append(case)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, default=ROOT.parent / "shared/data/sample-images")
    parser.add_argument("--check-transformers", action="store_true")
    options = parser.parse_args()
    if int(PIL.__version__.split(".")[0]) != 12:
        parser.error(f"Pillow 12 is needed, this is {PIL.__version__}: pip install 'pillow<13'")
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        if old.suffix != ".ts":  # the reader, goldens.ts, stays
            old.unlink()
    cases = {
        "made_with": {
            "pillow": PIL.__version__,
            "libjpeg_turbo": features.version("libjpeg_turbo"),
            "numpy": np.__version__,
        },
        "decode": decode_cases(),
        "refused": refused_cases(),
        "convert": convert_cases(),
        "resize": resize_cases(),
        "large_resize": large_resize_cases(),
        "preprocess": preprocess_cases(options.check_transformers),
        "photographs": photograph_cases(options.photographs),
    }
    (OUT / "pixels.bin").write_bytes(pixels)
    parts = ",\n".join(f"{json.dumps(k)}: {lines(v)}" for k, v in cases.items())
    (OUT / "cases.json").write_text("{\n" + parts + "\n}\n")
    total = sum(path.stat().st_size for path in OUT.iterdir())
    print(f"{len(list(OUT.iterdir()))} files, {total} bytes in {OUT}")


def lines(value: object) -> str:
    """One case a line."""
    if isinstance(value, list):
        return "[\n" + ",\n".join(json.dumps(v, separators=(",", ":")) for v in value) + "\n]"
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    main()
