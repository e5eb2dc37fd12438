"""Encodes and decodes a document of N records: strings, numbers, lists and dicts by the million."""
import json
import random
import sys
import zlib

records = int(sys.argv[1])
draw = random.Random(1)


def record(number):
    return {
        "id": number,
        "name": "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 20))),
        "tags": [f"tag{draw.randint(0, 50)}" for _ in range(draw.randint(0, 6))],
        "position": {"x": draw.random(), "y": draw.random()},
        "notes": "lorem ipsum " * draw.randint(0, 12),
    }


document = [record(number) for number in range(records)]
for _ in range(6):
    text = json.dumps(document)
    document = json.loads(text)
print(len(text), zlib.crc32(text.encode()))
