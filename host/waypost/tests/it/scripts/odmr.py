"""Collects mail on demand (RFC 2645) by the standard library alone, and prints as JSON what came of it.

The one argument is JSON: address [host, port], mechanism, user, password, domains (the argument of ATRN), tls,
replies {start of a recipient's address: reply to its RCPT}, cut (close the connection in the middle of that mail's data),
pause ([a file to make, a file to wait for] before the first mail is taken).
"""
import base64, hashlib, hmac, json, os, socket, ssl, sys, time


def b64(data):
    return base64.b64encode(data).decode()


def scram_final(password, first_bare, server_first, nonce_start):
    """RFC 5802 §3: the client's final message, and the signature that the server must show."""
    said = dict(part.split("=", 1) for part in server_first.split(","))
    assert said["r"].startswith(nonce_start) and len(said["r"]) > len(nonce_start), server_first
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(said["s"]), int(said["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    without_proof = f"c={b64(b'n,,')},r={said['r']}"
    message = f"{first_bare},{server_first},{without_proof}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"{without_proof},p={b64(proof)}", f"v={b64(hmac.digest(server_key, message, 'sha256'))}"


def check_against_rfc_7677():
    first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    final, signature = scram_final("pencil", "n=user,r=rOprNGfwEbeRWgbNEkqO", first, "rOprNGfwEbeRWgbNEkqO")
    assert final.endswith("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), final
    assert signature == "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", signature


class Session:
    def __init__(self, wanted):
        self.wanted = wanted
        self.open(socket.create_connection(wanted["address"], timeout=60))
        assert self.reply().startswith("220 ")
        self.ehlo()

    def open(self, stream):
        self.stream, self.file = stream, stream.makefile("rb")

    def send(self, line):
        self.stream.sendall(line.encode() + b"\r\n")

    def reply(self):
        lines = []
        while not lines or lines[-1][3:4] == "-":
            line = self.file.readline().decode()
            if not line:
                return ""
            lines.append(line.rstrip("\r\n"))
        return "\n".join(lines)

    def command(self, line):
        self.send(line)
        return self.reply()

    def ehlo(self):
        self.offers = [line[4:] for line in self.command("EHLO collector.test").split("\n")[1:]]

    def starttls(self):
        assert self.command("STARTTLS").startswith("220 ")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.open(context.wrap_socket(self.stream))
        self.ehlo()

    def auth(self):
        user, password = self.wanted["user"], self.wanted["password"]
        if self.wanted["mechanism"] == "PLAIN":
            return self.command("AUTH PLAIN " + b64(f"\0{user}\0{password}".encode()))
        if self.wanted["mechanism"] == "CRAM-MD5":
            challenge = base64.b64decode(self.command("AUTH CRAM-MD5").split(" ", 1)[1])
            digest = hmac.new(password.encode(), challenge, "md5").hexdigest()
            return self.command(b64(f"{user} {digest}".encode()))
        nonce = b64(os.urandom(18))
        first = f"n={user},r={nonce}"
        reply = self.command("AUTH SCRAM-SHA-256 " + b64(f"n,,{first}".encode()))
        if not reply.startswith("334 "):
            return reply
        final, signature = scram_final(password, first, base64.b64decode(reply[4:]).decode(), nonce)
        reply = self.command(b64(final.encode()))
        if not reply.startswith("334 "):
            return reply
        assert base64.b64decode(reply[4:]).decode() == signature, reply
        return self.command("")

    def receive(self):
        """The roles have turned: a mail server."""
        mails, mail, recipients = [], "", []
        self.send("220 collector.test ready")
        while line := self.file.readline().decode().rstrip("\r\n"):
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                self.send("250-collector.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES")
            elif verb == "MAIL":
                mail, recipients = line, []
                self.send("250 2.1.0 ok")
            elif verb == "RCPT":
                address = line.split("<")[1].split(">")[0]
                replies = self.wanted.get("replies", {}).items()
                reply = next((reply for start, reply in replies if address.startswith(start)), "250 2.1.5 ok")
                if reply.startswith("250"):
                    recipients.append(address)
                self.send(reply)
            elif verb == "DATA" and not recipients:
                self.send("554 5.5.1 nobody takes it")
            elif verb == "DATA":
                self.send("354 go on")
                content = b""
                while (piece := self.file.readline()) != b".\r\n":
                    content += piece[1:] if piece.startswith(b".") else piece
                    if len(mails) == self.wanted.get("cut"):
                        self.stream.close()
                        return mails
                if not mails and (pause := self.wanted.get("pause")):
                    open(pause[0], "w").close()
                    deadline = time.monotonic() + 60
                    while not os.path.exists(pause[1]):
                        assert time.monotonic() < deadline
                        time.sleep(0.05)
                mails.append({"mail": mail, "recipients": recipients, "content": content.decode("latin-1")})
                self.send("250 2.0.0 taken")
            elif verb == "QUIT":
                self.send("221 2.0.0 bye")
                break
            else:
                self.send("250 2.0.0 ok")
        return mails


check_against_rfc_7677()
session = Session(json.loads(sys.argv[1]))
result = {"offers": session.offers}
if session.wanted.get("tls"):
    session.starttls()
    result["offers-tls"] = session.offers
result["auth"] = session.auth()
if result["auth"].startswith("235"):
    result["atrn"] = session.command(f"ATRN {session.wanted.get('domains', '')}".strip())
    if result["atrn"].startswith("250"):
        result["mails"] = session.receive()
print(json.dumps(result))
