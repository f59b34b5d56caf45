// An honest handheld: a database of RxDB, its replications, and the list of rows that the server did not take.

import { randomUUID } from 'node:crypto';
import { addRxPlugin, createRxDatabase, getChangedDocumentsSince } from 'rxdb/plugins/core';
import { getRxStorageDexie } from 'rxdb/plugins/storage-dexie';
import { getRxStorageMemory } from 'rxdb/plugins/storage-memory';
import { wrappedValidateAjvStorage } from 'rxdb/plugins/validate-ajv';
import { RxDBCleanupPlugin } from 'rxdb/plugins/cleanup';
import { RxDBMigrationSchemaPlugin } from 'rxdb/plugins/migration-schema';
import { IDBFactory, IDBKeyRange } from 'fake-indexeddb';
import { canonical, comparable } from './canonical.mjs';
import { Network, pause } from './faults.mjs';
import { EpochChanged, Protocol } from './protocol.mjs';
import { Replication } from './replication.mjs';
import { collections, KINDS } from './schemas.mjs';

addRxPlugin(RxDBCleanupPlugin);
addRxPlugin(RxDBMigrationSchemaPlugin);

const MAX_ROUNDS = 50;

export class Handheld {
  constructor({ name, storage, url, token, seed = 0, options = {} }) {
    this.name = name;
    this.server = { url, token };
    this.network = new Network(seed);
    this.options = { retryTime: 30, pullBatch: 7, pushBatch: 7, turns: true, kinds: KINDS, ...options };
    this.isMemory = storage === 'memory';
    this.indexedDB = new IDBFactory();
    this.schemaVersion = 0;
    this.lives = 0;
    this.seen = [];
    this.pushed = [];
    this.alarms = [];
    this.restarts = 0;
  }

  get epoch() {
    return this.server.epoch;
  }

  /** Open the database as it was left (memory: empty) and sync, the first time as soon as the server's epoch is known. */
  async open() {
    const inner = this.isMemory
      ? getRxStorageMemory()
      : getRxStorageDexie({ indexedDB: this.indexedDB, IDBKeyRange });
    const storage = wrappedValidateAjvStorage({ storage: inner });
    // RxDB's memory storage outlives its database under the same name, for the next handheld of this process too.
    const name = this.isMemory ? `${this.name}-${randomUUID()}` : this.name;
    this.database = await createRxDatabase({ name, storage, multiInstance: false });
    await this.database.addCollections(collections(this.options.kinds, this.schemaVersion));
    for (const kind of this.options.kinds) this.#nameEachWrite(this.database[kind]);
    const known = await this.database.device.findOne('server').exec();
    this.protocol = new Protocol(this.network.connect(), this.server, (kind) => this.#nextNumber(kind));
    this.server.epoch = known?.epoch;
    this.bases = JSON.parse(known?.bases ?? '{}');
    this.replications = [];
    this.starting = this.#begin(this.lives);
  }

  /** Every local write gets an `op` of its own. */
  #nameEachWrite(collection) {
    const name = (document) => {
      document.op = randomUUID();
    };
    for (const hook of ['preInsert', 'preSave', 'preRemove']) collection[hook](name, false);
  }

  /** Replicate as soon as there is a network, and the server's epoch is known. */
  async #begin(life) {
    for (;;) {
      if (!this.network.offline) {
        const epoch = this.epoch ?? (await this.protocol.epoch().catch(() => null));
        if (life !== this.lives) return;
        if (epoch) {
          if (epoch !== this.epoch) await this.#remember(epoch, {});
          this.#replicate();
          return;
        }
      }
      await pause(this.options.retryTime);
      if (life !== this.lives) return;
    }
  }

  async #remember(epoch, bases) {
    await this.database.device.incrementalUpsert({ id: 'server', epoch, bases: JSON.stringify(bases) });
    this.server.epoch = epoch;
    this.bases = bases;
  }

  // Kept over restarts. A device that lost its memory goes on from the clock: a number that was used is refused.
  async #nextNumber(kind) {
    const id = `push ${kind}`;
    const { number = Date.now() } = (await this.database.device.findOne(id).exec())?.toJSON() ?? {};
    await this.database.device.incrementalUpsert({ id, number: number + 1 });
    return number + 1;
  }

  #replicate() {
    this.replications = this.options.kinds.map((kind) => new Replication(this, kind, this.database[kind]));
  }

  /** The app dies, answers under way are lost, and it starts again; with a newer form of its data where `migrate`. */
  async restart({ migrate = false } = {}) {
    await this.close();
    if (migrate) this.schemaVersion = 1;
    await this.open();
  }

  /** The server was restored: checkpoints are forgotten, and every document is pushed again without a base. */
  changeEpoch(epoch) {
    if (this.epoch !== epoch) this.startAnew(epoch);
  }

  startAnew(epoch = this.epoch) {
    if (this.changing) return;
    this.restarts += 1;
    this.changing = this.#startAnew(epoch, this.lives)
      .catch((error) => this.alarms.push(String(error)))
      .finally(() => {
        this.changing = undefined;
      });
  }

  // An edit that was not sent yet is pushed over the version it was made from. The server may have lost that one, so it
  // goes first, as it was given; without it the edit would meet a conflict with what it was made from.
  async #startAnew(epoch, life) {
    const old = this.replications;
    await Promise.all(old.map((replication) => replication.state.pause()));
    const bases = {};
    for (const replication of old) bases[replication.kind] = await replication.basesOfUnsent();
    this.server.epoch = epoch;
    for (const [kind, ofKind] of Object.entries(bases)) {
      const rows = Object.values(ofKind).map((newDocumentState) => ({ newDocumentState }));
      if (rows.length > 0) await this.#untilAnswered(life, () => this.protocol.push(kind, rows, () => {}));
    }
    if (life !== this.lives) return;
    await Promise.all(old.map((replication) => replication.state.remove()));
    await this.#remember(this.epoch, bases);
    this.#replicate();
  }

  async #untilAnswered(life, call) {
    while (life === this.lives) {
      try {
        return await call();
      } catch (error) {
        if (error instanceof EpochChanged) this.server.epoch = error.epoch;
        await pause(this.options.retryTime);
      }
    }
    return null;
  }

  failed(kind, error) {
    const inner = error.parameters?.writeError;
    // Handlers that threw are repeated; a document that the local form rejects is lost for ever, so it raises an alarm.
    if (inner || !['RC_PULL', 'RC_PUSH'].includes(error.code)) this.alarms.push(`${kind}: ${error.code} ${describe(error)}`);
  }

  accepted(kind, rows) {
    for (const { newDocumentState } of rows) this.seen.push({ kind, document: newDocumentState });
  }

  async refuse(kind, rows, why) {
    for (const row of rows) await this.#list(kind, row, why ? 'too_large' : '');
  }

  #list(kind, { newDocumentState: mine, assumedMasterState }, code) {
    const base = JSON.stringify(assumedMasterState ?? null);
    const row = JSON.stringify(mine);
    return this.database.refused.incrementalUpsert({ op: mine.op, id: mine.id, kind, code, row, base });
  }

  /** Read what became of the rows: what was taken after all leaves the refused list, what is held comes (back) into it. */
  async readOutcomes() {
    await this.changing;
    const { mutations, quarantined } = await this.#untilAnswered(this.lives, () => this.protocol.outcomes());
    const held = new Map(quarantined.map((row) => [row.op, row]));
    const decided = new Set(mutations.map((row) => row.op).filter((op) => !held.has(op)));
    for (const row of await this.database.refused.find().exec()) if (decided.has(row.op)) await row.remove();
    for (const { kind, code, row } of held.values()) await this.#list(kind, row, code);
  }

  async insert(kind, document) {
    return (await this.database[kind].insert(document)).id;
  }

  /** Gives whether there was such a document. */
  async patch(kind, id, fields) {
    const found = await this.database[kind].findOne(id).exec();
    await found?.incrementalPatch(fields);
    return !!found;
  }

  async remove(kind, id) {
    const found = await this.database[kind].findOne(id).exec();
    await found?.incrementalRemove();
    return !!found;
  }

  /**
   * Submit a refused row again, corrected, under its id: a create is inserted anew, an edit is made anew on the document
   * as it is now. Gives whether that was possible.
   */
  async resubmit(op, fields) {
    const { kind, row, base } = await this.database.refused.findOne(op).exec();
    const { op: _op, rev: _rev, _deleted, ...mine } = JSON.parse(row);
    const before = JSON.parse(base);
    const found = await this.database[kind].findOne(mine.id).exec();
    if (!before || before._deleted) {
      if (!found) await this.insert(kind, { ...mine, ...fields, op: '' });
      return !found;
    }
    const edited = Object.entries(mine).filter(([key, value]) => canonical(value) !== canonical(before[key] ?? null));
    await found?.incrementalPatch({ ...Object.fromEntries(edited), ...fields });
    return !!found;
  }

  /** Sync until a whole round moves nothing. Gives how many rows and documents went over the wire. */
  async settle() {
    let total = 0;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      await this.starting;
      await this.changing;
      const current = this.replications;
      const before = moved(current);
      await Promise.all(current.map((replication) => replication.round()));
      if (this.changing || current !== this.replications) continue;
      const now = moved(current) - before;
      total += now;
      if (now === 0) {
        await this.#cleanUp();
        return total;
      }
    }
    throw new Error(`${this.name}: not idle after ${MAX_ROUNDS} rounds`);
  }

  // What was blanked goes altogether. Only where nothing waits: a local delete that was cleaned away unsent is lost.
  async #cleanUp() {
    for (const replication of this.replications.filter(({ lost }) => lost)) {
      await this.database[replication.kind].cleanup(0);
      replication.lost = false;
    }
  }

  /** Living documents in comparable form, by kind and id, and the deleted ones as they are still stored. */
  async dump() {
    const living = {};
    const deleted = [];
    for (const kind of this.options.kinds) {
      const documents = await this.database[kind].find().exec();
      living[kind] = Object.fromEntries(documents.map((one) => [one.id, comparable(one.toJSON())]));
      deleted.push(...(await this.#deleted(kind)));
    }
    return { living, deleted };
  }

  async #deleted(kind) {
    const { documents } = await getChangedDocumentsSince(this.database[kind].storageInstance, 100_000);
    return documents.filter(({ _deleted }) => _deleted).map(({ _meta, _rev, _attachments, ...rest }) => ({ kind, ...rest }));
  }

  async refused() {
    return (await this.database.refused.find().exec()).map(({ op, id, kind, code, row }) => ({
      op, id, kind, code, row: JSON.parse(row),
    }));
  }

  async close() {
    this.network.cut();
    this.lives += 1;
    await this.changing;
    await this.database.close();
  }
}

const moved = (replications) => replications.reduce((sum, replication) => sum + replication.moved, 0);

function describe(error) {
  const { validationErrors, writeRow } = error.parameters?.writeError ?? {};
  return JSON.stringify({ message: error.message.slice(0, 80), validationErrors, writeRow }).slice(0, 2000);
}
