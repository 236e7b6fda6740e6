"""How long a file must be by its own headers. libsndfile reads one that is cut short without a
word.
"""

import os
import struct
from typing import BinaryIO

_W64_RIFF = b"riff\x2e\x91\xcf\x11"     # the beginnings of Wave64's long names of chunks
_W64_DATA = b"data\xf3\xac\xd3\x11"


_OGG_PAGE = 27 + 255 + 255 * 255        # bytes of the longest page


def needed(file: BinaryIO) -> int:
    """Return where the samples of an open file end, in bytes, by its headers; 0 for not known.

    Of WAV, RF64, Wave64, AIFF, CAF, AU and Ogg. Programs that write to a pipe leave lengths open.
    """
    head = file.read(1 << 16)
    if head[:4] == b"OggS":
        return _last_page_end(file)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        end = _chunk_end(head, 12, "<4sI", b"data")
        if head[:4] != b"RIFF" and end and head[12:16] == b"ds64" and len(head) >= 36:
            begin, (length,) = end[0], struct.unpack_from("<Q", head, 28)
            end = begin, length if end[1] == 0xFFFFFFFF else end[1]
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        end = _chunk_end(head, 12, ">4sI", b"SSND")
    elif head[:4] == b"caff":
        end = _chunk_end(head, 8, ">4sQ", b"data", align=1)
    elif head[:8] == _W64_RIFF:
        end = _chunk_end(head, 40, "<8s8xQ", _W64_DATA, align=8, own=24)
    elif head[:4] == b".snd" and len(head) >= 12:
        end = struct.unpack_from(">II", head, 4)
    else:
        return 0
    begin, length = end or (0, 0)
    left_open = length >= 1 << 62 or 0xFFFF0000 <= length <= 0xFFFFFFFF
    return 0 if length == 0 or left_open else begin + length


def _last_page_end(file: BinaryIO) -> int:
    """Return where the last page of an Ogg file ends."""
    first = max(0, file.seek(0, os.SEEK_END) - _OGG_PAGE)
    file.seek(first)
    tail = file.read()
    at = tail.rfind(b"OggS\0")
    if at < 0:
        return 0
    segments = tail[at + 27:at + 27 + tail[at + 26]] if at + 27 <= len(tail) else b""
    return first + at + 27 + len(segments) + sum(segments)


def _chunk_end(head: bytes, at: int, form: str, name: bytes, *, align: int = 2,
               own: int = 0) -> tuple[int, int] | None:
    """Return where the content of a chunk begins and its length, as the chunk says; or None.

    form: of what precedes a chunk's content, its name and its length, which counts `own` bytes of
    that too.
    """
    size = struct.calcsize(form)
    while at + size <= len(head):
        found, length = struct.unpack_from(form, head, at)
        if found == name:
            return at + size, max(0, length - own)
        at += size + max(0, -(-length // align) * align - own)
    return None
