"""What a folder of pictures carries beside pixels, read by libvips. One line a finding: name, what it is.

A picture that libvips cannot decode to its last row is a finding too.
"""

import sys
from pathlib import Path

import pyvips

FIELDS = ("exif", "xmp", "iptc", "icc", "comment", "photoshop", "jpeg-thumbnail", "png-")


def main() -> None:
    for path in sorted(Path(sys.argv[1]).iterdir()):
        try:
            image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="warning")
            image.avg()
        except pyvips.Error:
            print(path.name, "undecodable")
            continue
        for field in image.get_fields():
            if field.startswith(FIELDS):
                print(path.name, field)


main()
