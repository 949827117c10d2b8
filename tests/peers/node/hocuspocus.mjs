// A Hocuspocus server as its documentation sets one up, with its SQLite extension: PORT FOLDER MODULES.
import { createRequire } from "node:module";

const [port, folder, modules] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { Server } = require("@hocuspocus/server");
const { SQLite } = require("@hocuspocus/extension-sqlite");

const server = new Server({
  port: Number(port),
  address: "127.0.0.1",
  quiet: true,
  extensions: [new SQLite({ database: `${folder}/hocuspocus.sqlite` })],
});
await server.listen();
