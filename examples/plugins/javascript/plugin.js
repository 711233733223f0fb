// Keeps first contacts waiting for a while, and scores mail that holds a word.

import * as config from "waypost:plugin/config@0.1.0";
import * as kv from "waypost:plugin/kv@0.1.0";
import * as log from "waypost:plugin/log@0.1.0";
import * as message from "waypost:plugin/message@0.1.0";
import * as session from "waypost:plugin/session@0.1.0";
import * as transaction from "waypost:plugin/transaction@0.1.0";

const DAY_S = 86_400;

/** @type {import("waypost:plugin/setup@0.1.0").Setup} */
export const setup = {
  // What is thrown refuses the configuration, and the operator reads it.
  validate() {
    settings();
  },
};

/** @type {import("waypost:plugin/on-recipient@0.1.0").OnRecipient} */
export const onRecipient = {
  checkRecipient(address) {
    const { delay } = settings();
    if (delay === 0) return { tag: "pass" };

    const key = [session.peerIp(), transaction.sender() ?? "", lowerAscii(address)].join("|");
    const now = Math.floor(Date.now() / 1000);
    try {
      return greylist(firstContact(key, now), now, delay);
    } catch (error) {
      // What the gateway's functions throw has a payload; anything else is a mistake in this file.
      if (error.payload === undefined) throw error;
      const { tag } = error.payload;
      log.write("warn", `no state: ${tag}`, [["error", tag]]);
      return { tag: "pass" };
    }
  },
};

/** @type {import("waypost:plugin/on-message@0.1.0").OnMessage} */
export const onMessage = {
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

/**
 * All in seconds.
 * @param {number} first
 * @param {number} now
 * @param {number} delay
 * @returns {import("waypost:plugin/types@0.1.0").Verdict}
 */
function greylist(first, now, delay) {
  const wait = first + delay - now;
  if (wait <= 0) return { tag: "pass" };
  return { tag: "tempfail", val: { code: 451, enhanced: "4.7.1", text: `greylisted, come back in ${wait} s` } };
}

/**
 * When this contact was first seen; noted if it is now.
 * @param {string} key
 * @param {number} now
 */
function firstContact(key, now) {
  const first = kv.get(key);
  if (first != null) return Number(new TextDecoder().decode(first));
  kv.add(key, utf8(String(now)), DAY_S);
  kv.increment("deferred", 1, null);
  return now;
}

function settings() {
  return {
    delay: wholeNumber("delay-s", "whole seconds from 0 to 86400", 0, DAY_S) ?? 300,
    rejectAt: wholeNumber("reject-at", "a whole number", -(2 ** 31), 2 ** 31 - 1),
    word: config.get("word") ?? "unsubscribe",
  };
}

/**
 * @param {string} key
 * @param {string} expected
 * @param {number} least
 * @param {number} most
 */
function wholeNumber(key, expected, least, most) {
  const text = config.get(key) ?? null;
  if (text === null) return null;
  const number = /^-?\d+$/.test(text) ? Number(text) : NaN;
  if (number >= least && number <= most) return number;
  throw `${key}: expected ${expected}, got "${text}"`;
}

/**
 * Only A to Z: what else a local part holds is its domain's business.
 * @param {string} text
 */
function lowerAscii(text) {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** @param {string} text */
function utf8(text) {
  return new TextEncoder().encode(text);
}
