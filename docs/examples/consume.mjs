#!/usr/bin/env node
// Takes records so that each has its effect once, whatever fails on the way. Node 18 or newer, nothing else.
//
//     consume.mjs URL TOPIC CONSUMER DIRECTORY
//
// The effect here is a file in DIRECTORY, named by the record's place and holding its value. A record that is not text
// cannot be handled: after three deliveries it is in the topic CONSUMER.dead-letters, and the others go on. It may be
// killed at any time and started again.

import { mkdir, open, rename } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

// Longer than a poll waits.
const answerMsMax = 40_000;
const pauseMs = 200;
// Always the same for one process at a time: what it had open when it died comes again at once.
const client = "example";

// {status, told}; null without an answer.
async function call(method, url, body) {
  try {
    const answer = await fetch(url, {
      method,
      headers: { "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(answerMsMax),
    });
    return { status: answer.status, told: await answer.json() };
  } catch {
    return null;
  }
}

class CannotBeHandled extends Error {}

// Done again, it has the same effect: deliveries are repeated, so this must be so.
async function handle(record, directory) {
  if (record.value_text === undefined) throw new CannotBeHandled("not text");
  const name = `${record.topic}-${record.partition}-${record.offset}`;
  const file = await open(`${directory}/.${name}`, "w");
  try {
    await file.writeFile(record.value_text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${directory}/.${name}`, `${directory}/${name}`);
}

async function handleAll(consumerUrl, records, directory) {
  const done = [];
  const stuck = new Set();
  for (const record of records) {
    const partition = `${record.topic}/${record.partition}`;
    // Comes again behind the one that failed, in order.
    if (stuck.has(partition)) continue;
    try {
      await handle(record, directory);
      done.push(record.delivery.id);
    } catch (error) {
      if (!(error instanceof CannotBeHandled)) throw error;
      stuck.add(partition);
      const deliveries = [record.delivery.id];
      await call("POST", `${consumerUrl}/nacks`, { deliveries, delay_ms: 100, reason: error.message });
    }
  }
  // Only now: what is acknowledged does not come again. Without an answer, or where a lease was lost, what is open
  // comes again, and has its effect already.
  if (done.length > 0) await call("POST", `${consumerUrl}/acks`, { deliveries: done });
}

const [url, topic, consumer, directory] = process.argv.slice(2);
await mkdir(directory, { recursive: true });
const consumerUrl = `${url}/v1/consumers/${consumer}`;
for (;;) {
  const answer = await call("PUT", consumerUrl, { topics: [topic], max_deliveries: 3 });
  if (answer?.status === 200 || answer?.status === 201) break;
  if (answer?.status === 409) throw new Error(answer.told.detail);
  // Also 404: the topic is there with its first record.
  await sleep(pauseMs);
}
for (;;) {
  const answer = await call("POST", `${consumerUrl}/poll?wait=10&values=text&client=${client}`);
  if (answer?.status === 200) await handleAll(consumerUrl, answer.told.records, directory);
  else await sleep(pauseMs);
}
