// Uploads by tus-js-client as a process: one JSON command a line on stdin, one JSON answer a line on stdout.

import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import * as tus from 'tus-js-client';

const BEGIN_AGAIN = new Set([404, 410, 460]);
const SILENCE_MS = 4000;
const FINAL = new Set([400, 401, 403, 413, 415, 507]);

/** Send a file until it is there; begins again where the server has forgotten the upload. */
async function upload({ endpoint, headers, path, chunkSize, metadata, atOnce, tries }) {
  const content = await readFile(path);
  let begun = 0;
  for (;;) {
    begun += 1;
    try {
      await once({ endpoint, headers, content, chunkSize, metadata, atOnce, tries });
      return { begun };
    } catch (error) {
      const status = error.originalResponse?.getStatus();
      if (!BEGIN_AGAIN.has(status) || begun > tries) throw error;
    }
  }
}

/**
 * One upload with the library's own retries, and a watch over it: the library does not hear of a connection that is lost
 * in the middle of an answer, nor of one that died without a word, and would wait for ever.
 */
function once({ endpoint, headers, content, chunkSize, metadata, atOnce, tries }) {
  let heard = Date.now();
  const hear = () => {
    heard = Date.now();
  };
  let watch;
  return new Promise((resolve, reject) => {
    const sending = new tus.Upload(content, {
      endpoint,
      headers,
      metadata,
      chunkSize: chunkSize ?? Infinity,
      uploadDataDuringCreation: atOnce,
      retryDelays: Array(tries).fill(20),
      onShouldRetry(error) {
        const status = error.originalResponse?.getStatus() ?? 0;
        return !BEGIN_AGAIN.has(status) && !FINAL.has(status);
      },
      onBeforeRequest: hear,
      onAfterResponse: hear,
      onProgress: hear,
      onError: reject,
      onSuccess: resolve,
    });
    watch = setInterval(async () => {
      if (Date.now() - heard < SILENCE_MS) return;
      hear();
      await sending.abort();
      sending.start();
    }, 500);
    sending.start();
  }).finally(() => clearInterval(watch));
}

for await (const line of createInterface({ input: process.stdin })) {
  const { number, command, ...given } = JSON.parse(line);
  let answer;
  try {
    if (command !== 'upload') throw new Error(`no command ${command}`);
    answer = { number, result: await upload(given) };
  } catch (error) {
    answer = { number, error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
