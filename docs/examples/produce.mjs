#!/usr/bin/env node
// Sends records so that each is stored once, whatever fails on the way. Node 18 or newer, nothing else.
//
//     produce.mjs URL TOPIC < records     each line is ID, a tab, and the value; the ID is its Idempotency-Key
//
// Prints the ID and the receipt of each record that was accepted. It may be killed at any time and started again on the
// same lines: what was accepted is not stored again.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

// For one answer; longer than the gateway takes to say that its disk hangs (spool.sync_timeout, 30 s).
const answerMsMax = 40_000;
const [pauseMs, pauseMsMax] = [100, 5_000];
// Well before the gateway forgets the key (idempotency.lifetime, 24 h).
const giveUpMs = 12 * 3_600_000;

// {status, told, afterMs}; null without an answer, and then nothing is known.
async function tryOnce(url, headers, body) {
  try {
    const answer = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(answerMsMax) });
    const text = await answer.text();
    const afterMs = Number(answer.headers.get("Retry-After") ?? 0) * 1000 || 0;
    try {
      return { status: answer.status, told: JSON.parse(text), afterMs };
    } catch {
      // Of a proxy on the way.
      return answer.ok ? null : { status: answer.status, told: {}, afterMs };
    }
  } catch {
    return null;
  }
}

// Also where it says not_accepted: that is about this try, and an earlier one may have been accepted.
function isToBeRepeated({ status, told }) {
  return told.code === "idempotency_in_flight" || status === 408 || status === 429 || status >= 500;
}

// The same request, with the same key, until the gateway says what it is.
async function answerTo(url, headers, body) {
  const giveUp = Date.now() + giveUpMs;
  for (let pause = pauseMs; ; pause = Math.min(pause * 2, pauseMsMax)) {
    const answer = await tryOnce(url, headers, body);
    if (answer !== null && !isToBeRepeated(answer)) return answer;
    if (Date.now() > giveUp) throw new Error(`no answer for ${giveUpMs} ms: ${url}`);
    // With jitter: not all clients at once when a gateway is back.
    await sleep((answer?.afterMs ?? 0) + pause * (0.5 + Math.random() / 2));
  }
}

const [url, topic] = process.argv.slice(2);
for await (const line of createInterface({ input: process.stdin, crlfDelay: 0 })) {
  const tab = line.indexOf("\t");
  const id = line.slice(0, tab);
  const headers = { "Idempotency-Key": `"${id}"`, "Content-Type": "text/plain; charset=utf-8" };
  const { status, told } = await answerTo(`${url}/v1/topics/${topic}`, headers, line.slice(tab + 1));
  if (status === 202) {
    console.log(`${id}\t${told.receipts[0]}`);
  } else {
    // Refused for good, and not stored: repeating would not help.
    console.error(`${id}\t${status}\t${told.code}\t${told.detail}`);
    process.exitCode = 1;
  }
}
