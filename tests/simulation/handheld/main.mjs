// A handheld as a process: one JSON command a line on stdin, one JSON answer a line on stdout.

import { createInterface } from 'node:readline';
import { Handheld } from './handheld.mjs';

let device;

const COMMANDS = {
  async open(given) {
    await device?.close();
    device = new Handheld(given);
    device.network.rates = given.rates ?? {};
    device.network.emptyAnswers = given.emptyAnswers ?? false;
    await device.open();
  },
  insert: ({ kind, document }) => device.insert(kind, document),
  patch: ({ kind, id, fields }) => device.patch(kind, id, fields),
  remove: ({ kind, id }) => device.remove(kind, id),
  resubmit: ({ op, fields }) => device.resubmit(op, fields),
  restart: (given) => device.restart(given),
  async offline({ offline }) {
    device.network.offline = offline;
  },
  async faults({ rates }) {
    device.network.rates = rates;
  },
  async hold({ place }) {
    device.network.hold(place);
  },
  /** How many requests or answers wait there. */
  async held({ place }) {
    return device.network.gates.get(place)?.met ?? 0;
  },
  async release({ place }) {
    device.network.release(place);
  },
  async poke() {
    for (const replication of device.replications) replication.poke();
  },
  /** The highest feed number of the stored checkpoint. */
  async position({ kind }) {
    const { state } = device.replications.find((replication) => replication.kind === kind);
    const { checkpointData } = state.internalReplicationState.lastCheckpointDoc.down ?? {};
    return Math.max(0, ...Object.values(checkpointData?.g ?? {}).map(([, seq]) => seq));
  },
  settle: () => device.settle(),
  outcomes: () => device.readOutcomes(),
  dump: () => device.dump(),
  refused: () => device.refused(),
  async report() {
    const { seen, pushed, alarms, network, epoch, restarts } = device;
    return { accepted: seen, pushed, alarms, faults: network.counts, epoch, restarts };
  },
  async close() {
    await device?.close();
    device = undefined;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { number, command, ...given } = JSON.parse(line);
  let answer;
  try {
    answer = { number, result: (await COMMANDS[command](given)) ?? null };
  } catch (error) {
    answer = { number, error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
