// express-pouchdb over leveldb in the folder given, each write waiting for the disk. Prints `PORT n` once it listens.
'use strict';

const path = require('path');
const express = require('express');

// LevelDB acknowledges a write before it is on the disk unless it is told `sync`, and PouchDB has no setting for it.
const Level = require(require.resolve('leveldown', {paths: [path.dirname(require.resolve('pouchdb-node'))]}));
for (const name of ['_batch', '_put', '_del']) {
  const write = Level.prototype[name];
  Level.prototype[name] = function (...given) {
    const options = given[given.length - 2];
    given[given.length - 2] = {...options, sync: true};
    return write.apply(this, given);
  };
}

const folder = process.argv[2];
const PouchDB = require('pouchdb-node').defaults({prefix: folder + path.sep});
const app = express();
app.use('/', require('express-pouchdb')(PouchDB, {
  mode: 'minimumForPouchDB',
  configPath: path.join(folder, 'config.json'),
  logPath: path.join(folder, 'log.txt'),
}));
const server = app.listen(0, '127.0.0.1', () => console.log('PORT ' + server.address().port));
