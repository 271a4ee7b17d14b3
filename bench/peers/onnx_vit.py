"""Writes a ViT's folder as ONNX, with the names of inputs and outputs that transformers.js knows.

    python onnx_vit.py MODEL_FOLDER FILE
"""
import json
import sys
from pathlib import Path

import graphs
import numpy as np
import onnx
from safetensors.numpy import load_file


def main(folder, file):
    config = json.loads((Path(folder) / "config.json").read_text())
    weights = {name: w.astype(np.float32) for name, w in load_file(Path(folder) / "model.safetensors").items()}
    onnx.save(graphs.vit(weights, config, pixels="pixel_values"), file)


if __name__ == "__main__":
    main(*sys.argv[1:])
