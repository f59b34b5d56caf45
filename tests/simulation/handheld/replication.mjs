// One collection's replication: RxDB's own, with the handlers that an honest client gives it.

import { Subject } from 'rxjs';
import { getAssumedMasterState, getChangedDocumentsSince } from 'rxdb/plugins/core';
import { replicateRxCollection } from 'rxdb/plugins/replication';
import { CheckpointAhead, EpochChanged } from './protocol.mjs';
import { pause } from './faults.mjs';

const PATIENCE_MS = 40_000;

export class Replication {
  /** `device` is the handheld: its protocol, its refused list, its options and its alarms. */
  constructor(device, kind, collection) {
    this.device = device;
    this.kind = kind;
    this.pokes = new Subject();
    this.lastPush = Promise.resolve();
    this.pulls = 0;
    this.pushes = 0;
    this.moved = 0;
    this.lost = true; // perhaps a grid was lost before the app died
    const { epoch, options, protocol, lives: life } = device;
    this.protocol = protocol;
    this.state = replicateRxCollection({
      collection,
      replicationIdentifier: `zhiwang-${kind}-${epoch}`,
      deletedField: '_deleted',
      live: true,
      retryTime: options.retryTime,
      waitForLeadership: false,
      pull: {
        batchSize: options.pullBatch,
        stream$: this.pokes.asObservable(),
        handler: (checkpoint, limit) => this.#pull(checkpoint, limit),
      },
      push: { batchSize: options.pushBatch, handler: (rows) => this.#push(rows) },
    });
    this.state.error$.subscribe((error) => {
      this.complaint = `${error.code} ${JSON.stringify(error.parameters?.errors ?? String(error)).slice(0, 400)}`;
      if (life === device.lives) device.failed(kind, error);
    });
  }

  poke() {
    this.pokes.next('RESYNC');
  }

  /** Poke, and wait until a pull that began afterwards has come to its end and nothing waits to be pushed. */
  async round() {
    const end = Date.now() + PATIENCE_MS;
    const begun = this.pulls;
    this.poke();
    while (this.pulls === begun && !this.state.isStopped()) {
      if (Date.now() > end) throw new Error(`${this.kind}: no pull came to its end; ${this.#condition()}`);
      await pause(2);
    }
    await this.state.awaitInSync();
  }

  #condition() {
    const { up, down } = this.state.internalReplicationState.events.active;
    return `pushing ${up.getValue()}, pulling ${down.getValue()}, last complaint: ${this.complaint}`;
  }

  // A page that was read after a push was applied must not be stored before that push's answer is: RxDB would skip a
  // document whose edit it still holds to be unsent, and never see it again, because the answer says nothing about
  // what came later. So a pull waits until nothing is being pushed, and is repeated where a push began meanwhile.
  async #pull(checkpoint, limit) {
    for (;;) {
      await this.#pushesStored();
      const begun = this.pushes;
      const page = await this.#guarded(() => this.protocol.pull(this.kind, checkpoint, limit));
      if (this.pushes !== begun && this.device.options.turns) continue;
      this.#noteLoss(checkpoint, page.checkpoint);
      this.moved += page.documents.length;
      if (page.documents.length < limit) this.pulls += 1;
      return { documents: page.documents, checkpoint: page.checkpoint };
    }
  }

  async #pushesStored() {
    const inner = this.state.internalReplicationState;
    while (this.device.options.turns && !this.state.isStopped()) {
      const up = inner.streamQueue.up;
      await up;
      if (up === inner.streamQueue.up) return;
    }
  }

  /** The server's versions from which the edits that wait here were made, by id. */
  async basesOfUnsent() {
    const inner = this.state.internalReplicationState;
    const { documents } = await getChangedDocumentsSince(inner.input.forkInstance, 100_000);
    const assumed = await getAssumedMasterState(inner, documents.map(({ id }) => id));
    const unsent = documents.filter(({ id, op }) => assumed[id] && assumed[id].docData.op !== op);
    const bases = unsent.map(({ id }) => [id, assumed[id].docData]).filter(([, base]) => !base._deleted);
    return Object.fromEntries(bases);
  }

  // One push after the other: RxDB may hand out several batches at once, and each call has a number of its own.
  #push(given) {
    const turn = this.lastPush.then(() => this.#pushNow(given));
    this.lastPush = turn.catch(() => {});
    return turn;
  }

  async #pushNow(given) {
    if (this.state.isStopped()) throw new Error('stopped');
    const bases = this.device.bases[this.kind] ?? {};
    const rows = given.map((row) => withBase(row, bases[row.newDocumentState.id]));
    this.pushes += 1;
    this.moved += rows.length;
    this.device.pushed.push(...rows);
    const answer = await this.#guarded(() =>
      this.protocol.push(this.kind, rows, (row, why) => this.device.refuse(this.kind, [row], why)),
    );
    const answered = new Set(answer.map((document) => document.id));
    // Before the answer is applied: a create that was refused must not vanish from its author.
    await this.device.refuse(this.kind, rows.filter((row) => answered.has(row.newDocumentState.id) && isOwn(row)), '');
    this.device.accepted(this.kind, rows);
    return answer;
  }

  async #guarded(call) {
    try {
      return await call();
    } catch (error) {
      if (error instanceof EpochChanged) this.device.changeEpoch(error.epoch);
      if (error instanceof CheckpointAhead) this.device.startAnew();
      if (error.retryAfter) await pause(1000 * error.retryAfter);
      throw error;
    }
  }

  #noteLoss(before, after) {
    this.lost ||= JSON.stringify(before?.gone ?? {}) !== JSON.stringify(after.gone);
  }
}

/** After a restore RxDB knows no base; the device may. */
function withBase(row, base) {
  return row.assumedMasterState || !base || base.op === row.newDocumentState.op ? row : { ...row, assumedMasterState: base };
}

/** A living row that somebody wrote here; a server's version on its way back is none. */
function isOwn({ newDocumentState, assumedMasterState }) {
  return !newDocumentState._deleted && newDocumentState.op !== assumedMasterState?.op;
}
