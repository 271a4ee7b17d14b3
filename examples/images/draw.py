"""Draws the example pictures; models/vit-cifar10 tells what each shows.

    pip install numpy pillow
    python examples/images/draw.py examples/images
"""
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 256


def gradient(top, bottom):
    a = np.linspace(0, 1, SIDE)[:, None, None]
    return Image.fromarray((np.array(top) * (1 - a) + np.array(bottom) * a).repeat(SIDE, 1).astype(np.uint8))


def plane():
    im = gradient((90, 150, 220), (180, 210, 240))
    d = ImageDraw.Draw(im)
    d.polygon([(30, 135), (60, 120), (200, 112), (235, 125), (200, 140), (60, 148)], fill=(235, 235, 240))
    d.polygon([(110, 128), (160, 128), (120, 200), (95, 200)], fill=(200, 203, 210))
    d.polygon([(120, 122), (150, 122), (140, 75), (125, 75)], fill=(215, 218, 225))
    d.polygon([(35, 130), (60, 125), (45, 85), (28, 85)], fill=(190, 60, 60))
    return im


def ship():
    im = gradient((170, 200, 230), (210, 225, 235))
    d = ImageDraw.Draw(im)
    d.rectangle([0, 170, 256, 256], fill=(40, 80, 120))
    d.polygon([(30, 160), (225, 160), (200, 200), (60, 200)], fill=(60, 30, 30))
    d.rectangle([80, 125, 170, 160], fill=(240, 240, 240))
    d.rectangle([110, 95, 150, 125], fill=(230, 230, 230))
    d.rectangle([120, 65, 138, 95], fill=(200, 60, 40))
    return im


def automobile():
    im = gradient((200, 215, 230), (215, 215, 210))
    d = ImageDraw.Draw(im)
    d.rectangle([0, 170, 256, 256], fill=(130, 130, 130))
    d.ellipse([15, 190, 245, 215], fill=(80, 80, 82))
    d.polygon([(12, 150), (25, 128), (75, 118), (108, 85), (178, 85), (210, 120), (242, 132), (246, 180), (12, 180)], fill=(200, 30, 30))
    d.polygon([(84, 119), (112, 93), (140, 93), (140, 119)], fill=(45, 55, 70))
    d.polygon([(147, 93), (174, 93), (199, 119), (147, 119)], fill=(45, 55, 70))
    for x in (62, 195):
        d.ellipse([x - 26, 154, x + 26, 206], fill=(25, 25, 28))
        d.ellipse([x - 12, 168, x + 12, 192], fill=(190, 190, 195))
    return im


def frog():
    im = gradient((120, 100, 70), (90, 75, 50))
    d = ImageDraw.Draw(im)
    d.ellipse([45, 90, 215, 215], fill=(90, 130, 40))
    d.ellipse([25, 150, 95, 225], fill=(75, 115, 35))
    d.ellipse([165, 150, 235, 225], fill=(75, 115, 35))
    d.ellipse([70, 60, 190, 165], fill=(110, 150, 50))
    for x in (90, 170):
        d.ellipse([x - 22, 45, x + 22, 89], fill=(125, 165, 60))
        d.ellipse([x - 11, 55, x + 11, 77], fill=(20, 20, 10))
    d.arc([85, 85, 175, 145], 20, 160, fill=(60, 80, 25), width=5)
    d.ellipse([95, 160, 165, 215], fill=(180, 185, 110))
    return im


def cat():
    im = gradient((205, 190, 170), (170, 150, 130))
    d = ImageDraw.Draw(im)
    d.ellipse([60, 140, 200, 290], fill=(105, 95, 85))
    d.polygon([(62, 110), (62, 30), (118, 70)], fill=(100, 90, 80))
    d.polygon([(194, 110), (194, 30), (138, 70)], fill=(100, 90, 80))
    d.polygon([(72, 90), (72, 50), (100, 72)], fill=(200, 150, 145))
    d.polygon([(184, 90), (184, 50), (156, 72)], fill=(200, 150, 145))
    d.ellipse([55, 60, 201, 195], fill=(120, 110, 98))
    d.ellipse([92, 135, 164, 190], fill=(215, 208, 198))
    for x in (98, 158):
        d.ellipse([x - 17, 100, x + 17, 130], fill=(190, 200, 90))
        d.ellipse([x - 6, 101, x + 6, 129], fill=(10, 10, 10))
    d.polygon([(118, 140), (138, 140), (128, 152)], fill=(190, 110, 110))
    for x in (108, 128, 148):
        d.line([x, 68, x, 92], fill=(60, 52, 45), width=6)
    return im


def horse():
    im = gradient((170, 200, 230), (120, 160, 80))
    d = ImageDraw.Draw(im)
    d.rectangle([0, 190, 256, 256], fill=(110, 150, 70))
    coat, dark = (120, 65, 35), (45, 28, 18)
    d.ellipse([70, 100, 205, 170], fill=coat)
    d.polygon([(75, 145), (45, 65), (82, 48), (125, 110)], fill=coat)
    d.polygon([(48, 78), (20, 118), (38, 128), (82, 82)], fill=coat)
    d.polygon([(62, 62), (70, 36), (82, 58)], fill=coat)
    d.polygon([(78, 50), (92, 58), (132, 112), (112, 112)], fill=dark)
    d.polygon([(198, 118), (225, 135), (222, 205), (205, 190)], fill=dark)
    for x in (88, 112, 168, 190):
        d.polygon([(x - 10, 150), (x + 10, 150), (x + 6, 235), (x - 6, 235)], fill=coat)
        d.rectangle([x - 7, 226, x + 7, 238], fill=dark)
    return im


# Each drawing and the side it is stored at.
DRAWINGS = {plane: 256, ship: 256, automobile: 160, cat: 160, frog: 160, horse: 160}


def main():
    folder = Path(sys.argv[1])
    for draw, side in DRAWINGS.items():
        image = draw().filter(ImageFilter.GaussianBlur(2))
        if side != SIDE:
            image = image.resize((side, side), Image.Resampling.BILINEAR)
        image.save(folder / f"{draw.__name__}.png")


if __name__ == "__main__":
    main()
