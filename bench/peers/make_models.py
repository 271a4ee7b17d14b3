"""Writes what onnxruntime runs beside each folder of random weights: NAME.onnx, NAME-q8.onnx, and GPT-2's past.

    python make_models.py FOLDER_OF_MODELS [NAME…]
"""
import json
import sys
from pathlib import Path

import graphs
import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

from reference import reference

PAST = 512
# Largest difference to PyTorch, relative to its largest value.
TOLERANCE = 1e-4


def cases(folder):
    """What is run of each model: (case, graph of weights and config)"""
    return {
        "vit-b16": [("vit-b16", graphs.vit)],
        "bert-base": [(f"bert-base-{n}", lambda w, c, n=n: graphs.bert(w, c, n)) for n in (128, 256)],
        "minilm": [("minilm-16", lambda w, c: graphs.bert(w, c, 16))],
        "gpt2": [
            ("gpt2-prefill-512", lambda w, c: graphs.gpt2(w, c, 512, 0)),
            ("gpt2-decode-512", lambda w, c: graphs.gpt2(w, c, 1, PAST)),
        ],
    }.get(folder.name, [])


def make(folder):
    config = json.loads((folder / "config.json").read_text())
    inputs = json.loads((folder / "inputs.json").read_text())
    weights = load_file(folder / "model.safetensors")
    for name, graph in cases(folder):
        plain, small = folder / f"{name}.onnx", folder / f"{name}-q8.onnx"
        graphs.save(graph(weights, config), plain)
        options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        kinds = ["MatMul", "Attention"]
        quantize_dynamic(plain, small, weight_type=QuantType.QInt8, op_types_to_quantize=kinds, extra_options=options)
        want, past, following = reference(folder, name, inputs, PAST)
        feed = {}
        if past is not None:
            (folder / "past.bin").write_bytes(past.tobytes())
            (folder / "past.json").write_text(json.dumps({"following": following, "shape": past.shape}) + "\n")
            kinds = [f"past_{kind}_{i}" for i in range(past.shape[0] // 2) for kind in ("key", "value")]
            feed = dict(zip(kinds, past))
        if config["model_type"] == "vit":
            feed["pixels"] = np.array(inputs["pixels"], dtype=np.float32).reshape(1, 3, 224, 224)
        else:
            rows = 1 if past is not None else int(name.rsplit("-", 1)[1])
            feed["ids"] = np.array([[following]] if past is not None else [inputs["ids"][:rows]], dtype=np.int64)
        for path, bound in ((plain, TOLERANCE), (small, None)):
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            got = session.run(["hidden" if config["model_type"] == "bert" else "logits"], feed)[0]
            error = np.abs(got.reshape(-1) - want.reshape(-1)).max() / np.abs(want).max()
            print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB, {error:.1e} from PyTorch", flush=True)
            if bound and not error <= bound:
                sys.exit(f"{path.name} computes something else than PyTorch")


def main(root, *names):
    torch.manual_seed(0)
    for folder in sorted(Path(root).iterdir()):
        if not names or folder.name in names:
            make(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
