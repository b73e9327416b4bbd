"""Makes vectors.json: what upb, the decoder of protobuf in C, makes of bytes that are no plain message.

    python3 -m venv /tmp/upb && /tmp/upb/bin/pip install protobuf
    npx buf build test/protobuf -o /tmp/vectors.binpb
    /tmp/upb/bin/python test/protobuf/make-vectors.py /tmp/vectors.binpb > /tmp/vectors.json
    node test/protobuf/compare-es.ts /tmp/vectors.json > test/protobuf/vectors.json
"""

import base64
import json
import random
import sys

import google.protobuf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError

schema = open(sys.argv[1], "rb").read()
files = descriptor_pb2.FileDescriptorSet.FromString(schema)
pool = descriptor_pool.DescriptorPool()
for file in files.file:
    pool.Add(file)
All, Old = (
    message_factory.GetMessageClass(pool.FindMessageTypeByName(f"vectors.{name}"))
    for name in ("All", "Old")
)

VARINT, I64, LEN, START, END, I32 = range(6)


def varint(value, size=0):
    """`size`: so many bytes, more than are needed."""
    value &= 2**64 - 1
    out = []
    while value >= 0x80 or len(out) + 1 < size:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def tag(number, wire, size=0):
    return varint(number << 3 | wire, size)


def num(number, value, size=0):
    return tag(number, VARINT) + varint(value, size)


def sub(number, *parts):
    body = b"".join(parts)
    return tag(number, LEN) + varint(len(body)) + body


def group(number, *parts):
    return tag(number, START) + b"".join(parts) + tag(number, END)


def nested(number, depth):
    body = b""
    for _ in range(depth):
        body = sub(number, body)
    return body


def groups(number, depth):
    return tag(number, START) * depth + tag(number, END) * depth


NEEDED = num(12, 1)
BIT32 = bytes.fromhex("01020304")
BIT64 = bytes.fromhex("0102030405060708")
WIRES = {
    "varint": lambda n: num(n, 5),
    "fixed64": lambda n: tag(n, I64) + BIT64,
    "length-delimited": lambda n: sub(n, b"\x08\x05"),
    "group": lambda n: group(n, num(1, 5)),
    "fixed32": lambda n: tag(n, I32) + BIT32,
}

vectors = []


def vector(name, data, kind=All):
    vectors.append((name, kind, data))


# Tags.
for size in (1, 2, 4, 5):
    vector(f"a tag in {size} bytes", tag(1, VARINT, size) + varint(7))
for size in (6, 10, 11):
    vector(f"a tag in {size} bytes", tag(1, VARINT, size) + varint(7))
    vector(f"an unknown tag in {size} bytes", tag(200, VARINT, size) + varint(7))
vector("a tag of 2^32", tag(2**29, VARINT) + varint(7))
vector("a tag with bits above the 32nd", bytes.fromhex("888080801007"))
vector("a tag with bits above the 32nd, all set", bytes.fromhex("88808080f007"))
vector("the highest field number", tag(2**29 - 1, I64) + BIT64)
vector("the highest field number with another wire type", tag(2**29 - 1, VARINT) + varint(7))
vector("the field number 0", bytes.fromhex("0007"))
vector("the field number 0 in 2 bytes", bytes.fromhex("800007"))
vector("the field number 0, length-delimited", bytes.fromhex("0200"))
for wire in (6, 7):
    vector(f"wire type {wire} of a known field", tag(1, wire) + varint(7))
    vector(f"wire type {wire} of an unknown field", tag(200, wire) + varint(7))
vector("a tag that is cut off", b"\x88")
vector("a tag without a value", b"\x08")
vector("reserved field numbers as unknown fields", num(19000, 5) + num(19999, 6))

# Varints.
for size in (2, 5, 6, 9, 10):
    for number in (1, 3, 7, 2, 16):
        vector(f"field {number} with a varint in {size} bytes", num(number, 1, size))
for number in (1, 2, 3, 4, 5, 6, 7, 16, 200):
    vector(f"field {number} with a varint in 11 bytes", num(number, 1, 11))
    vector(f"field {number} with a varint of 70 bits", tag(number, VARINT) + b"\xff" * 9 + b"\x7f")
    vector(f"field {number} with a varint of 65 bits", tag(number, VARINT) + b"\x81" + b"\x80" * 8 + b"\x02")
    vector(f"field {number} with a varint of 2^64-1", num(number, -1))
    vector(f"field {number} with a varint that is cut off", tag(number, VARINT) + b"\xff\xff")
    vector(f"field {number} with a varint of 2^32", num(number, 2**32))
    vector(f"field {number} with a varint of 2^32+5", num(number, 2**32 + 5))
    vector(f"field {number} with a varint of 2^63", num(number, 2**63))
    vector(f"field {number} with a varint of 2^31", num(number, 2**31))
vector("an int32 of -1 in 5 bytes", tag(1, VARINT) + bytes.fromhex("ffffffff0f"))
vector("a bool of 2", num(7, 2))
vector("a bool of 0 in 10 bytes", num(7, 0, 10))
vector("an enum's unknown number", num(16, 77))
vector("an enum's negative number", num(16, -3))

# Lengths.
for number in (14, 15, 17, 18, 200):
    vector(f"field {number} with a length past the end", tag(number, LEN) + varint(5) + b"abc")
    vector(f"field {number} with a length in 5 bytes", tag(number, LEN) + varint(0, 5))
    vector(f"field {number} with a length in 6 bytes", tag(number, LEN) + varint(0, 6))
    vector(f"field {number} with a length in 10 bytes", tag(number, LEN) + varint(0, 10))
    vector(f"field {number} with a length of 2^31-1", tag(number, LEN) + varint(2**31 - 1) + b"abc")
    vector(f"field {number} with a length of 2^32-1", tag(number, LEN) + varint(2**32 - 1) + b"abc")
    vector(f"field {number} with a length of 2^32", tag(number, LEN) + varint(2**32) + b"abc")
    vector(f"field {number} with a length of 2^64-1", tag(number, LEN) + varint(-1) + b"abc")
    vector(f"field {number} with no length", tag(number, LEN))
for number in (8, 9, 12, 13, 200, 201):
    wire, data = (I32, BIT32) if number in (8, 12, 200) else (I64, BIT64)
    vector(f"field {number} cut off in its fixed value", tag(number, wire) + data[:-1])

# Wire types that are not the field's: unknown fields.
for number in (1, 2, 5, 7, 8, 9, 12, 13, 14, 15, 16, 17, 18, 20, 22, 24, 25, 26, 27, 28, 29, 30, 34, 35, 200):
    for name, make in WIRES.items():
        vector(f"field {number} as {name}", num(3, 9) + make(number) + num(4, 9))
vector("a mismatched field does not unset what came", num(1, 5) + sub(1, b"abc") + num(200, 1))
vector("a mismatched member does not unset a oneof", num(26, 5) + num(27, 6))
vector("a mismatched field that is cut off", sub(1, b"abc")[:-1])
vector("a mismatched field in a child", sub(17, sub(1, b"abc"), num(2, 3)))
vector("a known field as a group that never ends", tag(1, START) + num(1, 5))

# Packed and not.
vector("packed elements one by one", num(18, 1) + num(18, 2))
vector("unpacked elements packed", sub(19, varint(1), varint(2)))
vector("both by turns", num(18, 1) + sub(18, varint(2), varint(3)) + num(18, 4))
vector("an empty packed field", sub(18))
vector("fixed elements one by one", tag(20, I32) + BIT32 + tag(20, I32) + BIT32)
vector("packed fixed elements with half of one", sub(20, BIT32, BIT32[:2]))
vector("packed doubles with half of one", sub(36, BIT64, BIT64[:4]))
vector("packed varints with half of one", sub(18, b"\x01\xff") + num(1, 5))
vector("packed varints, the last overruns", sub(18, b"\x01\x80") + b"\x01")
vector("packed overlong varints", sub(18, varint(1, 10), varint(2, 3)))
vector("packed varints of 11 bytes", sub(18, varint(1, 11)))
vector("packed bools of all sizes", sub(21, varint(2), varint(2**40), varint(0, 4)))
vector("packed enums of unknown numbers", sub(23, varint(77), varint(-3), varint(2**32 + 1)))
vector("packed int32 of more than 32 bits", sub(18, varint(2**32 + 5), varint(-1)))
vector("packed sint64", sub(22, varint(1), varint(-1), varint(-2)))
vector("packed strings are strings", sub(24, b"ab"))

# What overruns the message around it.
vector("a string past the end of its message", tag(17, LEN) + b"\x03" + tag(14, LEN) + b"\x05abcde")
vector("a varint past the end of its message", tag(17, LEN) + b"\x02\x08\x80" + b"\x01")
vector("a fixed32 past the end of its message", tag(17, LEN) + b"\x03" + tag(8, I32) + BIT32)
vector("a fixed64 past the end of its message", tag(17, LEN) + b"\x03" + tag(9, I64) + BIT64)
vector("a tag past the end of its message", tag(17, LEN) + b"\x01\x92" + b"\x01\x00")
vector("a message past the end of its message", tag(17, LEN) + b"\x03" + sub(17, num(1, 5)) + num(1, 5))
vector("packed elements past the end of their message", tag(17, LEN) + b"\x04" + sub(18, varint(1), varint(2)))
vector("an unknown field past the end of its message", tag(17, LEN) + b"\x04" + sub(200, b"abcd"))
vector("an unknown varint past the end of its message", tag(17, LEN) + b"\x03" + tag(200, VARINT) + b"\x80\x01")
vector("a group past the end of its message", tag(17, LEN) + b"\x04" + group(200, num(1, 5)))
vector("a map entry past the end of its message", tag(17, LEN) + b"\x04" + sub(30, sub(1, b"a"), num(2, 5)))
vector("a map's key past the end of its entry", tag(30, LEN) + b"\x03" + sub(1, b"abc") + num(1, 1))
vector("a map's value past the end of its entry", tag(30, LEN) + b"\x04" + sub(1, b"a") + num(2, 500))
vector("a message that ends its message exactly", sub(17, sub(17, num(1, 5))))

# Groups.
vector("an unknown group", group(200, num(1, 5), sub(2, b"abc"), tag(3, I32) + BIT32))
vector("an unknown group in a group", group(200, group(201, num(1, 5)), num(2, 6)))
vector("a group that never ends", tag(200, START) + num(1, 5))
vector("a group that ends as another", tag(200, START) + num(1, 5) + tag(201, END))
vector("groups that end in the wrong order", tag(200, START) + tag(201, START) + tag(200, END) + tag(201, END))
vector("the end of a group that never began", tag(200, END))
vector("the end of a group with a known number", tag(17, END))
vector("the end of a group in a child", sub(17, tag(17, END)))
vector("a group that goes on behind its message", sub(17, tag(200, START)) + tag(200, END))
vector("an unknown group of field number 0", tag(200, START) + b"\x00\x05" + tag(200, END))
vector("an unknown group with invalid UTF-8", group(200, sub(14, b"\xc3\x28")))

# Depth.
for depth in (98, 99, 100, 101, 102):
    vector(f"children, {depth} deep", nested(17, depth))
    vector(f"list items, {depth} deep", nested(25, depth))
    vector(f"unknown groups, {depth} deep", groups(200, depth))
    vector(f"groups of a known field, {depth} deep", groups(17, depth))
    vector(f"unknown length-delimited fields, {depth} deep", nested(200, depth))
for depth in (48, 49, 50, 51, 52):
    body = b""
    for _ in range(depth):
        body = sub(31, num(1, 1), sub(2, body))
    vector(f"maps of messages, {depth} deep", body)
vector("unknown groups in children, 100 deep", sub(17, groups(200, 99)))
vector("unknown groups in children, 101 deep", sub(17, groups(200, 100)))
vector("unknown groups in children, 102 deep", sub(17, groups(200, 101)))

# Strings.
for name, data in {
    "a lone continuation byte": b"\x80",
    "a sequence that is cut off": b"\xc3",
    "a sequence with a wrong byte": b"\xc3\x28",
    "an overlong slash": b"\xc0\xaf",
    "half a surrogate pair": b"\xed\xa0\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "U+10FFFF": b"\xf4\x8f\xbf\xbf",
    "a byte order mark": b"\xef\xbb\xbfa",
    "NUL": b"\x00a",
    "100 letters and a wrong byte": b"a" * 100 + b"\xff",
}.items():
    vector(f"a string with {name}", sub(14, data))
    vector(f"a oneof's string with {name}", sub(27, data))
vector("an item of invalid UTF-8", sub(24, b"ok") + sub(24, b"\xff"))
vector("a map's key of invalid UTF-8", sub(30, sub(1, b"\xff"), num(2, 1)))
vector("bytes of invalid UTF-8", sub(15, b"\xff"))

# What comes more than once.
vector("the last scalar wins", num(1, 5) + num(1, 6))
vector("a zero wins over what came before", num(1, 5) + num(1, 0))
vector("children are merged", sub(17, num(1, 5), num(18, 1)) + sub(17, num(2, 6), num(18, 2)))
vector("the last member of a oneof wins", num(26, 5) + sub(27, b"abc"))
vector("a oneof's zero is set", num(26, 0))
vector("a oneof's child is merged", sub(28, num(1, 5)) + sub(28, num(2, 6)))
vector("a oneof's child is not merged over another member", sub(28, num(1, 5)) + num(26, 1) + sub(28, num(2, 6)))
vector("an optional zero is set", num(34, 0) + sub(35))
vector("implicit zeros are not set", num(1, 0) + sub(14) + num(7, 0) + num(16, 0))
vector("a float of -0", tag(12, I32) + bytes.fromhex("00000080"))
vector("a double of -0", tag(13, I64) + bytes.fromhex("0000000000000080"))
vector("infinities", tag(12, I32) + bytes.fromhex("0000807f") + tag(13, I64) + bytes.fromhex("000000000000f0ff"))

# Maps.
A = sub(1, b"a")
vector("a map's entry", sub(30, A, num(2, 5)))
vector("a map's entry, the value first", sub(30, num(2, 5), A))
vector("a map's entry without a key", sub(30, num(2, 5)))
vector("a map's entry without a value", sub(30, A))
vector("an empty entry", sub(30))
vector("an empty entry of messages", sub(31))
vector("an empty entry of bytes", sub(32))
vector("an empty entry of enums", sub(33))
vector("a map's key twice in an entry", sub(30, A, sub(1, b"b"), num(2, 5)))
vector("a map's value twice in an entry", sub(30, A, num(2, 5), num(2, 6)))
vector("a map's message twice in an entry", sub(31, num(1, 1), sub(2, num(1, 5)), sub(2, num(2, 6))))
vector("a map's key in two entries", sub(30, A, num(2, 5)) + sub(30, A, num(2, 6)))
vector("a map's message in two entries", sub(31, num(1, 1), sub(2, num(1, 5))) + sub(31, num(1, 1), sub(2, num(2, 6))))
vector("an entry with an unknown field", sub(30, A, num(2, 5), num(3, 9)))
vector("an entry with an unknown group", sub(30, A, num(2, 5), group(3, num(1, 5))))
vector("an entry with a wrong wire type for its key", sub(30, num(2, 5), num(1, 9)))
vector("an entry with a wrong wire type for its value", sub(30, A, sub(2, b"x")))
vector("an entry as a group", group(30, A, num(2, 5)))
vector("an entry with field number 0", sub(30, A, b"\x00\x01"))
vector("an entry with the end of a group", sub(30, A, tag(1, END)))
vector("a key named __proto__", sub(30, sub(1, b"__proto__"), num(2, 5)))
vector("a key of more than 32 bits", sub(31, num(1, 2**32 + 1), sub(2, num(1, 5))))
vector("a bool key of 2", sub(32, num(1, 2), sub(2, b"x")))
vector("an enum value of an unknown number", sub(33, num(1, -1), num(2, 77)))

# Unknown fields.
vector("unknown fields of every wire type", b"".join(make(200) for make in WIRES.values()))
vector("unknown fields in a child", sub(17, num(200, 5), num(1, 6)))
vector("unknown fields between known ones", num(200, 5) + num(1, 6) + sub(201, b"abc") + num(2, 7))
vector("unknown fields of a child that comes twice", sub(17, num(200, 5)) + sub(17, num(201, 6)))
vector("an unknown varint of 10 bytes for 1", num(200, 1, 10))
vector("nothing at all", b"")

# proto2.
PART = {"Part": 6, "Parts": 7, "OnePart": 9}
for name, number in PART.items():
    vector(f"the group {name}", NEEDED + group(number, num(1, 5)), Old)
    vector(f"the group {name} twice", NEEDED + group(number, num(1, 5)) + group(number, num(200, 6)), Old)
    vector(f"the group {name}, length-delimited", NEEDED + sub(number, num(1, 5)), Old)
    vector(f"the group {name} that never ends", NEEDED + tag(number, START) + num(1, 5), Old)
    vector(f"the group {name} that ends as another", NEEDED + tag(number, START) + num(1, 5) + tag(8, END), Old)
vector("a message as a group", NEEDED + group(11, num(1, 5)), Old)
vector("a group behind the end of its message", NEEDED + sub(11, NEEDED, tag(6, START)) + tag(6, END), Old)
vector("a group in a message in a group", NEEDED + group(6, sub(2, NEEDED, group(6, num(1, 5)))), Old)
for depth in (99, 100, 101):
    body = b""
    for _ in range(depth):
        body = sub(11, NEEDED, body)
    vector(f"proto2 children, {depth} deep", NEEDED + body, Old)
for number, name in {3: "singular", 4: "repeated", 8: "oneof"}.items():
    vector(f"a closed enum, {name}, known", NEEDED + num(number, 2), Old)
    vector(f"a closed enum, {name}, unknown", NEEDED + num(number, 77), Old)
    vector(f"a closed enum, {name}, unknown and negative", NEEDED + num(number, -5), Old)
    vector(f"a closed enum, {name}, unknown behind known", NEEDED + num(number, 2) + num(number, 77), Old)
    vector(f"a closed enum, {name}, of more than 32 bits", NEEDED + num(number, 2**32 + 2), Old)
vector("closed enums, packed", NEEDED + sub(5, varint(1), varint(77), varint(2), varint(-1)), Old)
vector("closed enums, packed where they need not be", NEEDED + sub(4, varint(1), varint(77)), Old)
vector("closed enums, not packed where they should be", NEEDED + num(5, 1) + num(5, 77), Old)
vector("a closed enum in a map", NEEDED + sub(10, A, num(2, 2)), Old)
vector("an unknown closed enum in a map", NEEDED + sub(10, A, num(2, 77)), Old)
vector("a map's entry without its closed enum", NEEDED + sub(10, A), Old)
vector("an unknown extension", NEEDED + num(100, 5), Old)
vector("an optional zero of proto2", NEEDED + num(1, 0) + sub(2), Old)


def judged(kind, data):
    """The message's bytes as upb writes them again, None where it refuses them."""
    message = kind()
    try:
        message.MergeFromString(data)
    except DecodeError:
        return None
    return message.SerializePartialToString(deterministic=True).hex()


def fuzzed(seed):
    """Well-formed fields in any order, and then a few bytes that are not as they were."""
    dice = random.Random(seed)
    values = [0, 1, 5, 127, 128, 2**31, 2**32 + 1, 2**63, -1]

    def fields(depth):
        out = []
        for _ in range(dice.randrange(1, 5)):
            number = dice.choice([*range(1, 30), *range(34, 37), 200])
            if number in (17, 25, 28) and depth < 2:
                out.append(sub(number, fields(depth + 1)))
            elif number in (8, 10, 12):
                out.append(tag(number, I32) + BIT32)
            elif number in (9, 11, 13):
                out.append(tag(number, I64) + BIT64)
            elif number in (14, 15, 24, 27, 35):
                out.append(sub(number, dice.choice([b"", b"abc", "ü".encode(), b"x" * 20])))
            elif number in (18, 19, 21, 22, 23) and dice.random() < 0.5:
                out.append(sub(number, *(varint(dice.choice(values)) for _ in range(3))))
            else:
                out.append(dice.choice(list(WIRES.values()))(number) if dice.random() < 0.2 else num(number, dice.choice(values)))
        return b"".join(out)

    data = bytearray(fields(0))
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(max(len(data), 1))
        kind = dice.random()
        if not data:
            break
        if kind < 0.5:
            data[at] = dice.randrange(256)
        elif kind < 0.65:
            del data[at]
        elif kind < 0.8:
            data[at:at] = dice.choice([b"\x00", b"\x80", b"\xff", b"\x0b", b"\x0c"])
        else:
            del data[max(at, 1):]
    return bytes(data)


json.dump(
    {
        "about": [
            "What upb makes of bytes: `again` is the message as it writes it again, null where it refuses the bytes.",
            "`es` is there where protobuf-es' fromBinary() differs: it accepts, refuses, or reads another message.",
            "Made by make-vectors.py, which says how.",
        ],
        "protobuf": f"{google.protobuf.__version__} ({api_implementation.Type()})",
        "schema": base64.b64encode(schema).decode(),
        "vectors": [
            {"name": name, "type": kind.DESCRIPTOR.full_name, "bytes": data.hex(), "again": judged(kind, data)}
            for name, kind, data in vectors
        ],
        "fuzz": [
            {"bytes": data.hex(), "again": judged(All, data)} for data in map(fuzzed, range(1200))
        ],
    },
    sys.stdout,
    indent=1,
)
