// What the handheld stores. Version 1 only adds an index: a change of the local form that the server never hears of.

const text = { type: 'string' };
const location = {
  type: 'object',
  properties: { lat: { type: 'integer' }, lon: { type: 'integer' }, datum: text, accuracy_m: { type: 'integer' } },
};

const FIELDS = {
  house: {
    required: ['address'],
    properties: {
      address: text, name: text, use: text, rental_use: text, tenure: text, remark: text, area_dm2: { type: 'integer' }, location,
      tenants: { type: 'array', items: { type: 'object', properties: { id: text, name: text, relation: text } } },
    },
  },
  person: {
    required: ['name'],
    properties: { name: text, phone: text, employer: text, education: text, remark: text },
  },
  task: {
    required: ['task', 'state', 'source_id', 'asked_at'],
    properties: {
      task: text, state: text, result: text, reason: text, field: text, dataset: text, case_id: text,
      source_type: text, source_id: text, source_kind: text, source_version: { type: 'integer' },
      asked_at: text, done_at: text,
    },
  },
};

export const KINDS = ['house', 'person'];

/** Options of the collections of a database whose replicated collections, `kinds`, have the given schema version. */
export function collections(kinds, version) {
  const replicated = Object.fromEntries(kinds.map((kind) => [kind, replicatedCollection(kind, version)]));
  return { ...replicated, refused: { schema: REFUSED }, device: { schema: DEVICE } };
}

function replicatedCollection(kind, version) {
  const { required, properties } = FIELDS[kind];
  const schema = {
    version,
    primaryKey: 'id',
    type: 'object',
    properties: {
      id: { type: 'string', maxLength: 36 },
      grid_id: { type: 'string', maxLength: 15 },
      op: { type: 'string', maxLength: 36 },
      rev: { type: 'integer' },
      ...properties,
    },
    required: ['id', 'grid_id', 'op', ...required],
    ...(version > 0 ? { indexes: ['grid_id'] } : {}),
  };
  return { schema, ...(version > 0 ? { migrationStrategies: { 1: (document) => document } } : {}) };
}

// Rows that were answered with something else: kept here before the answer is applied, until `outcomes` has decided.
const REFUSED = {
  version: 0,
  primaryKey: 'op',
  type: 'object',
  properties: {
    op: { type: 'string', maxLength: 36 },
    id: { type: 'string', maxLength: 36 },
    kind: { type: 'string', maxLength: 16 },
    code: { type: 'string' },
    row: { type: 'string' },
    base: { type: 'string' },
  },
  required: ['op', 'id', 'kind', 'row', 'base'],
};

// What the device knows of the server: its epoch, and after a restore the versions that unsent edits were made from. And
// the number of its last push of each collection.
const DEVICE = {
  version: 0,
  primaryKey: 'id',
  type: 'object',
  properties: {
    id: { type: 'string', maxLength: 16 },
    epoch: { type: 'string' },
    bases: { type: 'string' },
    number: { type: 'integer' },
  },
  required: ['id'],
};
