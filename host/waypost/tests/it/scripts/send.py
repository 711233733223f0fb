"""Sends mails with smtplib. argv[1] is a file with a JSON array of jobs; prints a JSON array with what was answered.

A job: address, sender, recipients, file; and perhaps tls (the certificate that the server must show),
options and recipient_options (of MAIL and RCPT), how: "sendmail" (the default), "dot" (nothing but the final dot),
or a list of chunk sizes for BDAT, the last of which takes the rest and is LAST; 0 at the end is an empty LAST.
"""

import json
import pathlib
import smtplib
import ssl
import sys


def connect(job):
    host, port = job["address"].rsplit(":", 1)
    client = smtplib.SMTP(host, int(port), local_hostname="client.test", timeout=120)
    if job.get("tls"):
        context = ssl.create_default_context(cafile=job["tls"])
        context.check_hostname = False  # It names the gateway, and we dialled an address.
        client.starttls(context=context)
    client.ehlo()
    return client


def text(code, message):
    return f"{code} {message.decode() if isinstance(message, bytes) else message}"


def checked(answer, wanted):
    if answer[0] != wanted:
        raise smtplib.SMTPResponseException(*answer)
    return answer


def chunks(client, job, content):
    replies = []
    sizes = job["how"]
    for nth, size in enumerate(sizes):
        last = nth + 1 == len(sizes)
        part = content if last else content[:size]
        content = content[len(part):]
        client.send(f"BDAT {len(part)}{' LAST' if last else ''}\r\n".encode() + part)
        replies.append(text(*checked(client.getreply(), 250)))
    return replies[-1]


def by_hand(client, job, content):
    checked(client.mail(job["sender"], job.get("options", ())), 250)
    for recipient in job["recipients"]:
        checked(client.rcpt(recipient, job.get("recipient_options", ())), 250)
    if job["how"] != "dot":
        return chunks(client, job, content)
    checked(client.docmd("DATA"), 354)
    return text(*client.docmd("."))


def deliver(client, job):
    content = pathlib.Path(job["file"]).read_bytes()
    if job.get("how", "sendmail") != "sendmail":
        return {"reply": by_hand(client, job, content)}
    refused = client.sendmail(
        job["sender"], job["recipients"], content, job.get("options", ()), job.get("recipient_options", ())
    )
    return {"reply": "250", "refused": {to: text(*answer) for to, answer in refused.items()}}


def attempt(job):
    with connect(job) as client:
        try:
            return deliver(client, job)
        except smtplib.SMTPRecipientsRefused as error:
            return {"refused": {to: text(*answer) for to, answer in error.recipients.items()}}
        except smtplib.SMTPResponseException as error:
            return {"reply": text(error.smtp_code, error.smtp_error)}


json.dump([attempt(job) for job in json.loads(pathlib.Path(sys.argv[1]).read_text())], sys.stdout)
