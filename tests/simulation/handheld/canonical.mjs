// RFC 8785 for what documents hold: text, booleans, null, and whole numbers.

export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`);
  return `{${members.join(',')}}`;
}

/** A document as two replicas compare it: without its version's number and name, and without RxDB's own keys. */
export function comparable(document) {
  const kept = Object.entries(document).filter(([key]) => key !== 'rev' && key !== 'op' && !key.startsWith('_'));
  return canonical(Object.fromEntries(kept));
}
