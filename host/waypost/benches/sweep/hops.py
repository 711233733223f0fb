"""Next hops that write down what they get, and whether they said so: quick, slow, and one that is away at first."""

import asyncio, socket, time

import mails

SLOW = 0.05


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Hop:
    def __init__(self, log, delay=0.0):
        self.port, self.delay, self.log = free_port(), delay, log
        self.server, self.open = None, set()

    async def listen(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, limit=1 << 20)

    async def close(self):
        if self.server:
            self.server.close()
        for writer in list(self.open):
            writer.close()

    async def serve(self, reader, writer):
        self.open.add(writer)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self.dialogue(reader, writer)
        except (OSError, EOFError, ValueError, asyncio.CancelledError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def dialogue(self, reader, writer):
        recipients = []
        writer.write(b"220 hop.test ESMTP\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-hop.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            elif verb == b"DATA" and recipients:
                writer.write(b"354 go on\r\n")
                await self.take(reader, writer, recipients)
                recipients = []
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                return
            else:
                if verb == b"RCPT":
                    recipients.append(line[line.find(b"<") + 1 : line.rfind(b">")].decode())
                elif verb in (b"MAIL", b"RSET"):
                    recipients = []
                writer.write(b"250 ok\r\n")

    async def take(self, reader, writer, recipients):
        """First it has the mail, then it says so; an entry without the second is one whose reply nobody was sent."""
        lines = []
        while (line := await reader.readuntil(b"\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        copy = mails.Copy(b"".join(lines))
        entry = {"name": copy.name, "verdict": copy.verdict, "digest": copy.digest, "dot": time.time(), "reply": None}
        entry |= {"recipients": recipients, "hop": self.port}
        if recipients[0].endswith("@client.test"):
            # A notification: which mail it is about is told by its recipient.
            entry |= {"name": recipients[0].split("@")[0], "verdict": "notification"}
        self.log.append(entry)
        await asyncio.sleep(self.delay)
        writer.write(b"250 taken\r\n")
        await writer.drain()
        if not writer.is_closing():
            entry["reply"] = time.time()
