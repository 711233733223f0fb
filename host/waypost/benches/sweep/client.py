"""The sender: sessions that keep each mail until they have read a 250 for it, and a log of each final reply."""

import asyncio, json, time

import mails


class Load:
    """Each attempt has a name of its own: of one without a reply nobody knows whether it was stored."""

    def __init__(self, port, domains, count, sessions, log, pace):
        self.port, self.domains, self.count, self.sessions = port, domains, count, sessions
        self.pace = pace
        # Since the server was started.
        self.greeted = False
        self.log = log.open("w")
        self.next, self.acknowledged, self.replies = 0, {}, {}

    async def run(self):
        await asyncio.gather(*(self.session(number) for number in range(self.sessions)))
        self.log.close()

    async def session(self, number):
        stream = None
        while self.next < self.count:
            mail, self.next = self.next, self.next + 1
            attempt = 0
            while True:
                name = f"m{mail}-{attempt}"
                attempt += 1
                stream = await self.attempt(stream, name, self.recipients(mail))
                if name in self.acknowledged:
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(self.pace)
        if stream:
            stream[1].close()

    def recipients(self, mail):
        """Of one domain, because DATA has one reply; each fifth mail has two."""
        domain = self.domains[mail % len(self.domains)]
        return [f"ann@{domain}", f"bob@{domain}"] if mail % 5 == 4 else [f"ann@{domain}"]

    async def attempt(self, stream, name, recipients):
        """The connection, where it can be used again."""
        try:
            stream = stream or await self.connect()
            async with asyncio.timeout(20):
                reply = await self.mail(stream, name, recipients)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            reply = f"none: {type(error).__name__}"
        self.note(name, recipients, reply)
        if reply[:3] in ("none", "421", "non"):
            if stream:
                stream[1].close()
            return None
        return stream

    def note(self, name, recipients, reply):
        moment = time.time()
        self.log.write(json.dumps({"name": name, "recipients": recipients, "reply": reply, "time": moment}) + "\n")
        self.log.flush()
        key = reply[:3] if reply[:1].isdigit() else reply
        self.replies[key] = self.replies.get(key, 0) + 1
        if reply.startswith("250"):
            self.acknowledged[name] = recipients

    async def connect(self):
        async with asyncio.timeout(5):
            stream = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
            for line in (None, "EHLO load.test"):
                if not (await say(stream, line))[:1] == "2":
                    stream[1].close()
                    raise ConnectionAbortedError
        self.greeted = True
        return stream

    async def mail(self, stream, name, recipients):
        """The final reply, or the first that refuses."""
        lines = [f"MAIL FROM:<{name}@client.test>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA"]
        for line in lines:
            reply = await say(stream, line)
            if reply[:1] not in "23":
                if reply[:3] != "421":
                    await say(stream, "RSET")
                return reply
        stream[1].write(mails.stuffed(mails.content(name)))
        return await say(stream, None)


async def say(stream, line):
    """The last line of the reply."""
    reader, writer = stream
    if line is not None:
        writer.write(line.encode() + b"\r\n")
    while True:
        reply = await reader.readuntil(b"\n")
        if reply[3:4] != b"-":
            return reply.decode("ascii", "replace").strip()
