#!/usr/bin/env python3
"""Prints the records of a Strata bucket as NDJSON, without any broker. Written from FORMAT.md alone.

    strata_reader.py BUCKET_DIR [--topic NAME] [--partition N]

Needs Python 3.11. Compressed parts need a package: zstandard (groups, zstd blocks and batches), lz4, python-snappy.
Every checksum is verified; whatever is wrong ends the program with a message and status 1.
"""
import argparse
import base64
import importlib
import json
import pathlib
import re
import struct
import sys
import zlib

HEAD = ">qiibIhiqqqhii"
TABLE = []
for n in range(256):
    for _ in range(8):
        n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def check(condition, what):
    if not condition:
        raise ValueError(what)


def unzstd(data):
    return importlib.import_module("zstandard").ZstdDecompressor().decompressobj().decompress(data)


def unsnappy(data):
    snappy = importlib.import_module("snappy")
    if not data.startswith(b"\x82SNAPPY\x00"):
        return snappy.uncompress(data)
    out, at = b"", 16
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        out += snappy.uncompress(data[at + 4:at + 4 + length])
        at += 4 + length
    return out


CODECS = [bytes, lambda data: zlib.decompress(data, 31), unsnappy,
          lambda data: importlib.import_module("lz4.frame").decompress(data), unzstd]


def read_json(data, what):
    value = json.loads(data)
    check(value.get("format") == 1, f"{what}: format {value.get('format')} is not 1, which this reader knows")
    return value


def entries_of(directory, root):
    """The live entries of a root, in order; contiguous from start to end."""
    entries = []
    for key, count, skip, base, end, _, _, _, length, crc in root["groups"]:
        stored = (directory / key).read_bytes()
        check(len(stored) == length and crc32c(stored) == crc, f"{key}: checksum")
        rows = read_json(unzstd(stored), key)["entries"]
        check(len(rows) == count and rows[skip][6] == base and rows[-1][7] == end, f"{key}: not the group of its root")
        entries += rows[skip:]
    entries += root["entries"]
    at = root["start"]
    for entry in entries:
        check(entry[6] == at < entry[7], f"{entry[1]}: the range begins at {entry[6]}, not at {at}")
        at = entry[7]
    check(at == root["end"], f"the ranges end at {at}, not at {root['end']}")
    return entries


def sections(data, what):
    """The framed sections of a run, as (kind, payload)."""
    at = 0
    while at < len(data):
        kind, version, length = struct.unpack_from(">HHI", data, at)
        body = data[at:at + 8 + length]
        check(struct.unpack_from(">I", data, at + 8 + length)[0] == crc32c(body), f"{what}: checksum of section {kind}")
        check(kind > 5 or version == 1, f"{what}: version {version} of section {kind} is newer than this reader")
        yield kind, body[8:]
        at += 12 + length


def check_trailer(data, what):
    blocks_end, length, directory, version, _, crc, magic = struct.unpack(">QQIHHI8s", data[-36:])
    check(magic == b"STRATOBJ" and crc == crc32c(data[-36:-12]), f"{what}: no trailer, or a damaged one")
    check(version == 1 and length == len(data), f"{what}: version {version}, {length} bytes")
    found = dict(sections(data[blocks_end:-36], what))
    check(set(range(6)) <= set(found) and len(found[0]) + 12 == directory, f"{what}: sections are missing")


def blocks(data, entry):
    """The raw bytes of each block that the entry's index names."""
    check_trailer(data, entry[1])
    index = dict(sections(data[entry[4]:entry[4] + entry[5]], entry[1]))
    (count,) = struct.unpack_from(">I", index[2])
    check(len(index[2]) == 4 + 48 * count, f"{entry[1]}: block table")
    for row in range(count):
        _, _, _, position, stored, raw, crc, codec, _, _ = struct.unpack_from(">qqqQIIIBBH", index[2], 4 + 48 * row)
        block = data[position:position + stored]
        check(len(block) == stored and crc32c(block) == crc, f"{entry[1]}: checksum of block {row}")
        block = unzstd(block) if codec == 1 else block
        check(codec <= 1 and len(block) == raw, f"{entry[1]}: length of block {row}")
        yield block


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)

    def field(self):
        length = self.varint()
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length:self.at]


def records(block, what):
    """The records of a block's batches: offset, timestamp, key, value, headers."""
    at = 0
    while at < len(block):
        base, length, _, magic, crc, attributes, _, base_time, max_time, *_, count = struct.unpack_from(HEAD, block, at)
        batch = block[at:at + 12 + length]
        check(magic == 2 and len(batch) == 12 + length and crc32c(batch[21:]) == crc, f"{what}: batch at {base}")
        at += 12 + length
        if attributes & 0x20:
            continue
        cursor = Cursor(CODECS[attributes & 7](batch[61:]))
        for _ in range(count):
            cursor.varint()
            cursor.at += 1
            time, offset = base_time + cursor.varint(), base + cursor.varint()
            key, value = cursor.field(), cursor.field()
            headers = [(cursor.field(), cursor.field()) for _ in range(cursor.varint())]
            yield offset, max_time if attributes & 8 else time, key, value, headers


def text(data):
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def print_partition(directory, topic, partition):
    root = read_json((directory / "manifest.json").read_bytes(), "manifest.json")
    for entry in entries_of(directory, root):
        data = (directory / entry[1]).read_bytes()
        for block in blocks(data, entry):
            for offset, time, key, value, headers in records(block, entry[1]):
                if max(entry[6], root["log_start"]) <= offset < entry[7]:
                    row = {"topic": topic, "partition": partition, "offset": offset, "timestamp": time, "key": text(key),
                           "value": text(value), "headers": [{"key": text(k), "value": text(v)} for k, v in headers]}
                    print(json.dumps(row, separators=(",", ":")))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("bucket", type=pathlib.Path)
    arguments.add_argument("--topic")
    arguments.add_argument("--partition", type=int)
    chosen = arguments.parse_args()
    try:
        read_json((chosen.bucket / "strata.json").read_bytes(), "strata.json")
        for root in sorted(chosen.bucket.glob("topics/*/*/*/manifest.json")):
            name = re.fullmatch(r"(.+)-[A-Za-z0-9_-]{22}", root.parent.parent.name)[1]
            partition = int(root.parent.name)
            if chosen.topic in (None, name) and chosen.partition in (None, partition):
                print_partition(root.parent, name, partition)
    except (OSError, ImportError, ValueError, IndexError, KeyError, struct.error) as error:
        sys.exit(f"strata_reader: {error}")


if __name__ == "__main__":
    main()
