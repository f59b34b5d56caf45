// The calls of the sync protocol, as one collection makes them (docs/sync-protocol.md).

const PATIENCE_MS = 30_000;

/** The server was restored: it tells another line of history now. */
export class EpochChanged extends Error {
  constructor(epoch) {
    super(`epoch ${epoch}`);
    this.epoch = epoch;
  }
}

/** A checkpoint is none of this server's: the sync starts anew, in the same epoch. */
export class CheckpointAhead extends Error {}

/** Any other answer than 200: the same call is repeated later, not before `retryAfter` seconds. */
export class Unanswered extends Error {
  constructor(status, text, retryAfter) {
    super(`${status} ${text.slice(0, 200)}`);
    this.retryAfter = Number(retryAfter ?? 0);
  }
}

export class Protocol {
  /** `network` sends; `server` is `{url, token, epoch}`, read anew for each call; `nextNumber(kind)` numbers pushes. */
  constructor(network, server, nextNumber) {
    this.network = network;
    this.server = server;
    this.nextNumber = nextNumber;
  }

  async epoch() {
    return (await this.#call('GET', '/reference/v1/server')).body.server.epoch;
  }

  async pull(kind, checkpoint, limit) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (checkpoint) query.set('checkpoint', JSON.stringify(checkpoint));
    return (await this.#call('GET', `/sync/v1/${kind}/pull?${query}`)).body;
  }

  /**
   * Push rows and give the server's documents. A batch that is too large is halved; a single row that is too large is
   * given to `tooLarge`. A half that fails fails the whole: the other one is then pushed again, without effect.
   */
  async push(kind, rows, tooLarge) {
    const numbered = { 'X-Push-Number': String(await this.nextNumber(kind)) };
    const { status, body, text } = await this.#call('POST', `/sync/v1/${kind}/push`, { rows }, numbered, [200, 413]);
    if (status === 200) return body;
    if (rows.length === 1) {
      await tooLarge(rows[0], text);
      return [];
    }
    const middle = Math.ceil(rows.length / 2);
    const first = await this.push(kind, rows.slice(0, middle), tooLarge);
    return [...first, ...(await this.push(kind, rows.slice(middle), tooLarge))];
  }

  /** Everything that became of this device's rows: `{mutations, quarantined}`. */
  async outcomes() {
    const all = { mutations: [], quarantined: [] };
    const query = { since: 0, limit: 500 };
    for (;;) {
      const { body } = await this.#call('GET', `/sync/v1/outcomes?${new URLSearchParams(query)}`);
      all.mutations.push(...body.mutations);
      all.quarantined.push(...body.quarantined);
      if (body.mutations.length < query.limit && body.held_next === null) return all;
      query.since = body.next;
      if (body.held_next !== null) query.held_since = body.held_next;
    }
  }

  async #call(method, path, body, more = {}, expected = [200]) {
    const { url, token, epoch } = this.server;
    const headers = { ...more, Authorization: `Bearer ${token}`, 'X-Client-Time': new Date().toISOString() };
    if (epoch) headers['X-Sync-Epoch'] = epoch;
    if (body) headers['Content-Type'] = 'application/json';
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const options = { method, headers, signal, body: body && JSON.stringify(body) };
    const answer = await this.network.request(url + path, options);
    const { status, text } = answer;
    if (expected.includes(status)) return { status, text, body: JSON.parse(text) };
    const problem = status === 409 ? JSON.parse(text) : {};
    if (problem.code === 'epoch') throw new EpochChanged(problem.epoch);
    if (problem.code === 'checkpoint_ahead') throw new CheckpointAhead();
    throw new Unanswered(status, text, answer.headers.get('retry-after'));
  }
}
