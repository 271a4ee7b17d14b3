"""Makes the goldens of the models that are shipped: inputs, cases and outputs in the format of ../shared/reference.

    pip install torch transformers safetensors numpy pillow tokenizers
    python weights-tools/python/model_goldens.py ../shared/reference models/vit-cifar10 --images examples/images/plane.png examples/images/ship.png
    python weights-tools/python/model_goldens.py ../shared/reference models/gpt2-chronicle

Weights are the stored ones, arithmetic is float64. Single-device results come from Hugging Face transformers, shared ones
from prism_reference.py (in the folder given first), which must agree with transformers to 1e-9 where nothing is approximated.
To stay small the goldens keep logits where they are few (ViT: ten classes) and hidden rows where they are not (GPT-2: a
vocabulary of 8,192), and of GPT-2's logits only those of the short prompt.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import GPT2LMHeadModel, ViTForImageClassification

GREEDY_TOKENS = 20
SHARED_GREEDY_TOKENS = 12
TOO_CLOSE = 1e-3          # a greedy choice by less could fall the other way in float32
LARGEST_BYTES = 400_000

SINK = {"name": "p3-l4-normed-sink", "devices": 3, "segments": 4, "point": "normed", "sink": 1}
INPUT = {"name": "p2-l3-input", "devices": 2, "segments": 3, "point": "input"}
PROMPTS = [
    "And it came to pass in those days, that the captain of the ship stood upon the deck, and spake unto the people, "
    "saying, Behold, the sea is wide,",
    "Call me",
]
GPT2_CASES = ["p2-full", "p2-l3-normed", "p3-uneven-l2-normed"]
GPT2_GREEDY = ["p2-full", "p2-l3-normed", "p3-l1-normed-sink", "p2-l1-normed-handoff"]


def pixels_of(path, folder):
    """A picture as the folder's preprocessor_config.json says; 2 is PIL's number for bilinear."""
    spec = json.loads((folder / "preprocessor_config.json").read_text())
    assert spec["resample"] == 2 and spec["do_rescale"] and spec["do_normalize"]
    size = (spec["size"]["width"], spec["size"]["height"])
    image = Image.open(path).convert("RGB").resize(size, Image.Resampling.BILINEAR)
    mean, std = np.array(spec["image_mean"]), np.array(spec["image_std"])
    pixels = ((np.asarray(image) * spec["rescale_factor"] - mean) / std).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels, dtype=np.float32)    # safetensors writes memory as it lies


def named(cases, names):
    return [next(case for case in cases if case["name"] == name) for name in names]


def vit(folder, images, ref, cases):
    model = ViTForImageClassification.from_pretrained(folder, dtype=torch.float64).eval()
    reference = ref.load(folder)
    inputs = {f"pixels.{i}": pixels_of(path, folder) for i, path in enumerate(images)}
    cases = cases + [INPUT, SINK]
    want = {}
    for b, pixels in enumerate(inputs.values()):
        with torch.no_grad():
            o = model(torch.from_numpy(pixels)[None].double(), output_hidden_states=True)
        last = len(o.hidden_states) - 1
        want[f"single/{b}/logits"] = o.logits[0].numpy()
        want[f"single/{b}/hidden.{last}"] = o.hidden_states[last][0].numpy()
        for case in cases:
            got = ref.run_case(reference, case, [pixels])
            check(case, got["logits"], want[f"single/{b}/logits"])
            want[f"{case['name']}/{b}/logits"] = got["logits"]
        p = torch.softmax(o.logits[0], 0)
        print(Path(images[b]).name, model.config.id2label[int(p.argmax())], round(float(p.max()), 4))
    # Rows of both devices, once: the logits tell only of the first.
    want["p2-l3-normed/0/last_hidden_state"] = ref.run_case(reference, named(cases, ["p2-l3-normed"])[0], [inputs["pixels.0"]])["last_hidden_state"]
    return inputs, cases, None, want


def gpt2(folder, ref, cases, greedy):
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float64).eval()
    reference = ref.load(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    inputs = {f"ids.{i}": np.array(tokenizer.encode(text).ids, np.int32) for i, text in enumerate(PROMPTS)}
    cases, greedy = named(cases, GPT2_CASES) + [SINK], named(greedy, GPT2_GREEDY)
    want = {}
    for b, ids in enumerate(inputs.values()):
        with torch.no_grad():
            o = model(torch.from_numpy(ids)[None].long(), output_hidden_states=True)
        last = len(o.hidden_states) - 1
        want[f"single/{b}/hidden.{last}"] = o.hidden_states[last][0].numpy()
        if b == len(PROMPTS) - 1:
            want[f"single/{b}/logits"] = o.logits[0].numpy()
        for case in cases:
            got = ref.run_case(reference, case, [ids])
            check(case, got["last_hidden_state"], o.hidden_states[last][0].numpy())
            want[f"{case['name']}/{b}/last_hidden_state"] = got["last_hidden_state"]
    alone = generate(model, inputs["ids.0"])
    want["greedy/0/ids"] = alone.astype(np.int32)
    print(repr(tokenizer.decode(alone.tolist())))
    for case in greedy:
        for b, ids in enumerate(inputs.values()):
            out, logits = ref.greedy(reference, case, ids, SHARED_GREEDY_TOKENS)
            top = np.sort(logits, -1)
            closest = float((top[:, -1] - top[:, -2]).min())
            assert closest > TOO_CLOSE, ("too close to call", case["name"], b, closest)
            if case["segments"] is None and b == 0:
                assert (out == alone[: len(out)]).all()
            want[f"greedy-{case['name']}/{b}/ids"] = out.astype(np.int32)
            print(case["name"], b, f"closest choice {closest:.3f}", repr(tokenizer.decode(out[len(ids):].tolist())))
    return inputs, cases, greedy, want


def generate(model, ids):
    """Greedy, on one device; every choice clear enough."""
    ids = torch.from_numpy(ids)[None].long()
    with torch.no_grad():
        for _ in range(GREEDY_TOKENS):
            top = model(ids).logits[0, -1].topk(2)
            assert top.values[0] - top.values[1] > TOO_CLOSE, ("too close to call", ids.shape)
            ids = torch.cat([ids, top.indices[:1][None]], 1)
    return ids[0].numpy()


def check(case, got, single):
    """Cases that leave nothing out must give what one device gives."""
    exact = case.get("wire", "f32") == "f32" and not case.get("lost") and (case.get("segments") is None or case["segments"] >= 1000)
    if exact:
        assert np.abs(got - single).max() < 1e-9, (case["name"], np.abs(got - single).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path, help="the folder with prism_reference.py and make_cases.py")
    parser.add_argument("model", type=Path, help="a model folder; the goldens are written into it")
    parser.add_argument("--images", nargs="*", default=[], help="ViT: the pictures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(args.reference))
    import make_cases
    import prism_reference as ref

    kind = json.loads((args.model / "config.json").read_text())["model_type"]
    if kind == "vit":
        inputs, cases, greedy, want = vit(args.model, args.images, ref, make_cases.DISTRIBUTED)
    else:
        inputs, cases, greedy, want = gpt2(args.model, ref, make_cases.DISTRIBUTED, make_cases.GREEDY)
    outputs = {k: np.ascontiguousarray(v if v.dtype == np.int32 else v.astype(np.float32)) for k, v in want.items()}
    for name, tensors in {"inputs": inputs, "outputs": outputs}.items():
        save_file(tensors, args.model / f"{name}.safetensors")
        (args.model / f"{name}.safetensors").chmod(0o644)          # save_file leaves it unreadable to others
    spec = {"model": args.model.name, "inputs": [[name] for name in inputs], "cases": cases}
    if greedy:
        spec["greedy"] = greedy
    (args.model / "cases.json").write_text(json.dumps(spec, indent=1) + "\n")
    written = sum((args.model / name).stat().st_size for name in ("cases.json", "inputs.safetensors", "outputs.safetensors"))
    assert written < LARGEST_BYTES, written
    print(f"{args.model}: {len(outputs)} arrays, {written:,} bytes")


if __name__ == "__main__":
    main()
