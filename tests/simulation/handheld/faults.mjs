// A network that loses, doubles and delays, drawn from a seed. `cut` is what the death of the app looks like: what is
// under way may arrive at the server, but no answer comes back.

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Network {
  #random;
  #life = 0;

  constructor(seed) {
    this.#random = seeded(seed);
    this.rates = {};
    this.offline = false;
    this.counts = {};
    this.gates = new Map();
  }

  /** Hold what passes a place (`push request`, `pull answer` …) until it is let through. */
  hold(place) {
    const gate = { met: 0 };
    gate.open = new Promise((resolve) => Object.assign(gate, { release: resolve }));
    this.gates.set(place, gate);
  }

  release(place) {
    this.gates.get(place)?.release();
    this.gates.delete(place);
  }

  async #pass(options, where) {
    const gate = this.gates.get(`${options.method === 'POST' ? 'push' : 'pull'} ${where}`);
    if (!gate) return;
    gate.met += 1;
    await gate.open;
  }

  /** Answers to requests that are under way never arrive. */
  cut() {
    this.#life += 1;
  }

  /**
   * What sends for one life of the app: `request(url, options)` gives `{status, headers, text}`, its body read whole, and
   * throws where no answer arrives. Nothing leaves after the life has ended.
   */
  connect() {
    const life = this.#life;
    return { request: (url, options) => this.#request(life, url, options) };
  }

  async #request(life, url, options) {
    if (life !== this.#life) throw new Error('the app is dead');
    const fate = this.#fate();
    if (this.offline) throw new Error('offline');
    if (fate === 'lost_request') throw this.#fault(fate);
    await this.#pass(options, 'request');
    const answer = await this.#deliver(fate, url, options);
    await this.#pass(options, 'answer');
    if (life !== this.#life) throw this.#fault('cut');
    if (this.offline || fate === 'lost_answer') throw this.#fault(fate ?? 'cut');
    return this.#falsify(options, answer);
  }

  #fate() {
    const drawn = this.#random();
    let edge = 0;
    for (const [kind, rate] of Object.entries(this.rates)) {
      edge += rate;
      if (drawn < edge) return kind;
    }
    return null;
  }

  async #deliver(fate, url, options) {
    const delay = 5 + Math.floor(this.#random() * 120);
    if (fate === 'slow_request') {
      this.#fault(fate);
      await pause(delay);
    }
    const sent = send(url, options);
    if (fate === 'twice') {
      this.#fault(fate);
      const again = await Promise.allSettled([sent, send(url, options)]);
      return again[again[1].status === 'fulfilled' && delay % 2 ? 1 : 0].value ?? sent;
    }
    if (fate === 'repeated_later') {
      this.#fault(fate);
      pause(delay).then(() => send(url, options)).catch(() => {});
    }
    const answer = await sent;
    if (fate === 'slow_answer') {
      this.#fault(fate);
      await pause(delay);
    }
    return answer;
  }

  /** The negative control: with rule 3 broken a client is not told what its push became. */
  #falsify(options, answer) {
    if (!this.emptyAnswers || options.method !== 'POST' || answer.status !== 200) return answer;
    if (answer.text !== '[]') this.#fault('emptied');
    return { ...answer, text: '[]' };
  }

  #fault(kind) {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    return new Error(`fault: ${kind}`);
  }
}

async function send(url, options) {
  const answer = await fetch(url, options);
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}
