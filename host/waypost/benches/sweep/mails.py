"""What is sent: content that is told by its name alone, so that any copy of it can be judged without the sender."""

import hashlib, random

MARK = b"X-Load: "


def content(name):
    """Header section and body, 1 to 64 KiB, as it stands before dots are stuffed; the same for the same name."""
    chance = random.Random(name)
    size = chance.choice((1, 1, 2, 2, 4, 4, 8, 16, 64)) * 1024
    text = chance.randbytes(size // 2).hex()
    lines = [text[at : at + 76] for at in range(0, len(text), 76)]
    lines[chance.randrange(len(lines))] = "." * chance.randrange(1, 4)
    # All that servers add where it is missing.
    fields = f"{name}\r\nDate: Mon, 01 Jan 2024 00:00:00 +0000\r\nFrom: load@client.test\r\nMessage-Id: <{name}@client.test>\r\n"
    return MARK + f"{fields}Subject: load\r\n\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n"


def stuffed(data):
    return (b"\r\n" + data).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Copy:
    """What arrived at a next hop, judged: its name, and whether what is below the trace fields is what was sent."""

    def __init__(self, data):
        at = data.find(MARK)
        below = data[at:] if at >= 0 else b""
        self.name = below[len(MARK) : below.find(b"\r\n")].decode("ascii", "replace") if below else None
        self.digest = digest(below)
        sent = content(self.name) if below else None
        whole = sent is not None and below == sent
        self.verdict = "whole" if whole else "half" if sent is None or sent.startswith(below) else "altered"
