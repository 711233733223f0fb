// Keeps first contacts waiting for a while, and scores mail that holds a word.

import * as config from "waypost:plugin/config@0.1.0";
import * as kv from "waypost:plugin/kv@0.1.0";
import * as log from "waypost:plugin/log@0.1.0";
import * as message from "waypost:plugin/message@0.1.0";
import type { OnMessage } from "waypost:plugin/on-message@0.1.0";
import type { OnRecipient } from "waypost:plugin/on-recipient@0.1.0";
import * as session from "waypost:plugin/session@0.1.0";
import type { Setup } from "waypost:plugin/setup@0.1.0";
import * as transaction from "waypost:plugin/transaction@0.1.0";
import type { Error as GatewayError, Verdict } from "waypost:plugin/types@0.1.0";

const DAY_S = 86_400;

export const setup: Setup = {
  // What is thrown refuses the configuration, and the operator reads it.
  validate() {
    settings();
  },
};

export const onRecipient: OnRecipient = {
  checkRecipient(address) {
    const { delay } = settings();
    if (delay === 0) return { tag: "pass" };

    const key = [session.peerIp(), transaction.sender() ?? "", lowerAscii(address)].join("|");
    const now = Math.floor(Date.now() / 1000);
    try {
      return greylist(firstContact(key, now), now, delay);
    } catch (error) {
      const { tag } = fromGateway(error);
      log.write("warn", `no state: ${tag}`, [["error", tag]]);
      return { tag: "pass" };
    }
  },
};

export const onMessage: OnMessage = {
  checkMessage() {
    const { word, rejectAt } = settings();
    if (message.find(utf8(word), 0) != null) transaction.addScore(150, "WORD");

    const score = transaction.score();
    const subject = message.header("subject") ?? "-";
    message.addHeader("X-Example", `size=${message.size()} subject=${subject} score=${score}`);
    if (rejectAt === null || score < rejectAt) return { tag: "pass" };
    return { tag: "reject", val: { code: 550, enhanced: "5.7.1", text: `too much like spam: score ${score}` } };
  },
};

/** All in seconds. */
function greylist(first: number, now: number, delay: number): Verdict {
  const wait = first + delay - now;
  if (wait <= 0) return { tag: "pass" };
  return { tag: "tempfail", val: { code: 451, enhanced: "4.7.1", text: `greylisted, come back in ${wait} s` } };
}

/** When this contact was first seen; noted if it is now. */
function firstContact(key: string, now: number): number {
  const first = kv.get(key);
  if (first != null) return Number(new TextDecoder().decode(first));
  kv.add(key, utf8(String(now)), DAY_S);
  kv.increment("deferred", 1, null);
  return now;
}

/** What the gateway's functions throw has a payload; anything else is a mistake in this file. */
function fromGateway(error: unknown): GatewayError {
  if (typeof error === "object" && error !== null && "payload" in error) return error.payload as GatewayError;
  throw error;
}

function settings() {
  return {
    delay: wholeNumber("delay-s", "whole seconds from 0 to 86400", 0, DAY_S) ?? 300,
    rejectAt: wholeNumber("reject-at", "a whole number", -(2 ** 31), 2 ** 31 - 1),
    word: config.get("word") ?? "unsubscribe",
  };
}

function wholeNumber(key: string, expected: string, least: number, most: number): number | null {
  const text = config.get(key) ?? null;
  if (text === null) return null;
  const number = /^-?\d+$/.test(text) ? Number(text) : NaN;
  if (number >= least && number <= most) return number;
  throw `${key}: expected ${expected}, got "${text}"`;
}

/** Only A to Z: what else a local part holds is its domain's business. */
function lowerAscii(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
