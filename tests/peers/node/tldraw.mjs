// A tldraw sync server as its documentation sets one up, with its SQLite storage: PORT FOLDER MODULES.
// `GET /schema` answers the schema that a client names when it connects; every socket is in the one room.
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";

const [port, folder, modules] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { NodeSqliteWrapper, SQLiteSyncStorage, TLSocketRoom } = require("@tldraw/sync-core");
const { createTLSchema } = require("@tldraw/tlschema");
const { WebSocketServer } = require("ws");

const sql = new NodeSqliteWrapper(new DatabaseSync(`${folder}/tldraw.sqlite`));
const schema = createTLSchema();
const room = new TLSocketRoom({ schema, storage: new SQLiteSyncStorage({ sql }) });

const http = createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(JSON.stringify(schema.serialize()));
});
const sockets = new WebSocketServer({ server: http });
let count = 0;
sockets.on("connection", (socket) => {
  count += 1;
  room.handleSocketConnect({ sessionId: `session-${count}`, socket, isReadonly: false });
});
http.listen(Number(port), "127.0.0.1");
