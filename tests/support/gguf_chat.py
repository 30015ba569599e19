"""Gives a GGUF file a chat template."""

import struct

KEY = b"tokenizer.chat_template"
STRING, ARRAY = 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
ALIGNMENT = 32


def with_chat_template(source, template):
    """The bytes of the file at `source` with this template in addition. It must have none, and be
    of version 3 with the usual alignment."""
    with open(source, "rb") as file:
        data = file.read()
    magic, version, tensors, keys = struct.unpack_from("<4sIQQ", data)
    if magic != b"GGUF" or version != 3:
        raise ValueError(source + " is not GGUF version 3")
    at = 24

    def skip_string(at):
        return at + 8 + struct.unpack_from("<Q", data, at)[0]

    def skip_value(at, kind):
        if kind == STRING:
            return skip_string(at)
        if kind != ARRAY:
            return at + SIZES[kind]
        of, count = struct.unpack_from("<IQ", data, at)
        at += 12
        if of in SIZES:
            return at + SIZES[of] * count
        for _ in range(count):
            at = skip_value(at, of)
        return at

    for _ in range(keys):
        if data[at + 8:skip_string(at)] == KEY:
            raise ValueError(source + " has a chat template")
        at = skip_string(at)
        at = skip_value(at + 4, struct.unpack_from("<I", data, at)[0])
    keys_end = at
    for _ in range(tensors):
        at = skip_string(at)
        dims = struct.unpack_from("<I", data, at)[0]
        at += 4 + 8 * dims + 4 + 8
    infos_end = at
    text = template.encode()
    added = struct.pack("<Q", len(KEY)) + KEY + struct.pack("<IQ", STRING, len(text)) + text
    head = struct.pack("<4sIQQ", magic, version, tensors, keys + 1) + data[24:keys_end] + added
    head += data[keys_end:infos_end]
    body = data[(infos_end + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT:]
    return head + bytes(-len(head) % ALIGNMENT) + body
