"""Clean copies of photos as the first answer to the question would make them: Pillow, decoded whole, scaled from there.

Arguments: folder of photos, folder for the copies, repetitions, WebP method.
"""

import sys
from io import BytesIO
from pathlib import Path

from pi_heif import register_heif_opener
from PIL import Image, ImageOps


def copies(content: bytes, method: int) -> dict[str, bytes]:
    """The four copies by name."""
    with Image.open(BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    found = {}
    for name, longest, quality in (("large", 1600, 90), ("thumb", 400, 82)):
        scale = longest / max(upright.size)
        size = (round(upright.width * scale), round(upright.height * scale))
        small = upright.resize(size, Image.Resampling.LANCZOS)
        small.info = {}
        for suffix, options in (("jpeg", {"quality": quality}), ("webp", {"quality": 82, "method": method})):
            out = BytesIO()
            small.save(out, suffix, **options)
            found[f"{name}.{suffix}"] = out.getvalue()
    return found


def main() -> None:
    """Make them all."""
    register_heif_opener()
    photos, out, repeats, method = sys.argv[1:5]
    for _ in range(int(repeats)):
        for path in sorted(Path(photos).iterdir()):
            for name, content in copies(path.read_bytes(), int(method)).items():
                (Path(out) / f"{path.stem}-{name}").write_bytes(content)


if __name__ == "__main__":
    main()
