// npm y-websocket's own client with Yjs, driven by lines as foreign.py is: MODULES BASE-URL ROOM PARAMS HEADERS
'use strict';
const readline = require('node:readline');
const { createRequire } = require('node:module');

const [modules, base, room, params, headers] = process.argv.slice(2);
const load = createRequire(`${modules}/`);
const Y = load('yjs');
const { WebsocketProvider } = load('y-websocket');
const WebSocket = load('ws');

class PersonsWebSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { headers: JSON.parse(headers) });
  }
}

const doc = new Y.Doc();
const cells = doc.getArray('cells');
const provider = new WebsocketProvider(base, room, doc, {
  WebSocketPolyfill: PersonsWebSocket,
  params: JSON.parse(params),
  disableBc: true
});
provider.awareness.setLocalStateField('user', { name: 'yjs' });

let told = '';
function tell() {
  const sources = JSON.stringify(cells.map(cell => cell.get('source').toString()));
  if (provider.synced && sources !== told) {
    told = sources;
    process.stdout.write(`${sources}\n`);
  }
}
provider.on('synced', tell);
doc.on('update', tell);

const commands = readline.createInterface({ input: process.stdin });
commands.on('line', line => {
  const command = JSON.parse(line);
  if ('add' in command) {
    const cell = new Y.Map();
    cell.set('id', `yjs-${Math.random()}`);
    cell.set('cell_type', 'code');
    cell.set('source', new Y.Text(command.add));
    cell.set('metadata', new Y.Map());
    cell.set('outputs', new Y.Array());
    cell.set('execution_count', null);
    cells.push([cell]);
  } else {
    const source = cells.get(command.type[0]).get('source');
    source.insert(source.length, command.type[1]);
  }
});
commands.on('close', () => {
  provider.destroy();
  process.exit(0);
});
