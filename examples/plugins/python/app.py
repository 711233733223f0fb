"""Keeps first contacts waiting for a while, and scores mail that holds a word."""

import re
import time
from typing import NamedTuple

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import config, kv, log, message, session, transaction
from wit_world.imports.types import Reply, Verdict, Verdict_Pass, Verdict_Reject, Verdict_Tempfail

DAY_S = 86_400


class Settings(NamedTuple):
    delay: int
    reject_at: int | None
    word: str


class Setup(exports.Setup):
    def validate(self) -> None:
        try:
            read_settings()
        except ValueError as refusal:
            # Told to the operator, and the configuration is refused.
            raise Err(str(refusal)) from None


class OnRecipient(exports.OnRecipient):
    def check_recipient(self, address: str) -> Verdict:
        delay = read_settings().delay
        if delay == 0:
            return Verdict_Pass()

        key = "|".join([session.peer_ip(), transaction.sender() or "", lower_ascii(address)])
        now = int(time.time())
        try:
            wait = seconds_to_wait(first_contact(key, now), now, delay)
        except Err as error:
            case = case_name(error.value)
            log.write(log.Level.WARN, f"no state: {case}", [("error", case)])
            return Verdict_Pass()
        if wait > 0:
            return Verdict_Tempfail(Reply(451, "4.7.1", f"greylisted, come back in {wait} s"))
        return Verdict_Pass()


class OnMessage(exports.OnMessage):
    def check_message(self) -> Verdict:
        settings = read_settings()
        if message.find(settings.word.encode(), 0) is not None:
            transaction.add_score(150, "WORD")

        score = transaction.score()
        subject = message.header("subject")
        shown = "-" if subject is None else subject
        message.add_header("X-Example", f"size={message.size()} subject={shown} score={score}")
        if settings.reject_at is not None and score >= settings.reject_at:
            return Verdict_Reject(Reply(550, "5.7.1", f"too much like spam: score {score}"))
        return Verdict_Pass()


def seconds_to_wait(first: int, now: int, delay: int) -> int:
    return max(0, first + delay - now)


def first_contact(key: str, now: int) -> int:
    """When this contact was first seen; noted if it is now."""
    first = kv.get(key)
    if first is not None:
        return int(first)
    kv.add(key, str(now).encode(), DAY_S)
    kv.increment("deferred", 1, None)
    return now


def read_settings() -> Settings:
    delay = whole_number("delay-s", "whole seconds from 0 to 86400", 0, DAY_S)
    reject_at = whole_number("reject-at", "a whole number", -(2**31), 2**31 - 1)
    word = config.get("word")
    return Settings(300 if delay is None else delay, reject_at, "unsubscribe" if word is None else word)


def whole_number(key: str, expected: str, least: int, most: int) -> int | None:
    text = config.get(key)
    if text is None:
        return None
    if re.fullmatch("-?[0-9]+", text) and least <= int(text) <= most:
        return int(text)
    raise ValueError(f'{key}: expected {expected}, got "{text}"')


def lower_ascii(text: str) -> str:
    """Only A to Z: what else a local part holds is its domain's business."""
    return text.encode().lower().decode()


def case_name(error: object) -> str:
    """The contract's name of an error's case: "not-found" for Error_NotFound."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "-", type(error).__name__.removeprefix("Error_")).lower()
