"""Text burnt into a picture: when and where it was taken and by whom, for case files that leave the system.

The font is the one Pillow carries (Aileron, CC0): digits and Latin letters, which codes and times are made of. No CJK
font whose licence lets it be shipped is at hand, so names of places do not appear.
"""

from PIL import Image, ImageDraw, ImageFont

LINES_A_HEIGHT = 28
SMALLEST_FONT = 10
GROUND = (0, 0, 0, 150)
INK = (255, 255, 255, 255)


def stamp(image: Image.Image, lines: list[str]) -> Image.Image:
    """A copy of a picture with lines of text on a dark band at its lower edge. Other characters than ASCII become `?`.

    The band lies on the picture and covers a part of it: a margin could be cut off without a trace.
    """
    size = max(SMALLEST_FONT, min(image.size) // LINES_A_HEIGHT)
    font = ImageFont.load_default(size)
    text = "\n".join(line.encode("ascii", "replace").decode() for line in lines)
    size = _fitting(image, font, text, size)
    font = ImageFont.load_default(size)
    step = round(size * 1.4)
    height = min(image.height, step * len(lines) + size // 2)
    band = Image.new("RGBA", (image.width, height), GROUND)
    draw = ImageDraw.Draw(band)
    for number, line in enumerate(text.split("\n")):
        draw.text((size // 2, size // 4 + number * step), line, font=font, fill=INK)
    out = image.copy()
    out.paste(band.convert("RGB"), (0, image.height - height), band.getchannel("A"))
    return out


def _fitting(image: Image.Image, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str, size: int) -> int:
    """The size of font at which the longest line fits the picture's width, never more than the size given."""
    widest = max((font.getlength(line) for line in text.split("\n")), default=0)
    room = image.width - size
    return size if widest <= room else max(6, int(size * room / widest))
