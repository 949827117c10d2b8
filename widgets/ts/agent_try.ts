import { connect, EmptyText } from "./src/index.ts";
const room = await connect({ url: "ws://127.0.0.1:8899/collabkernel/api/rooms/board/ws?token=secret", client: "agent-try" });
const verb = process.argv[2];
if (verb === "seed") {
  room.root.set("title", "Release plan");
  room.root.set("owner", { name: "Ann", active: true, load: 0.75 });
  room.root.set("tasks", [{ name: "Write the notes", done: false, hours: 3 }, { name: "Cut the branch", done: true, hours: 1 }, "a plain line"]);
  room.root.set("note", new EmptyText("Meeting notes\n- first\n- second"));
} else if (verb === "edit") {
  const tasks = room.root.get("tasks") as any;
  tasks.push({ name: "Added by the script", done: false, hours: 8 });
  tasks.move(0, 1);
  (room.root.get("note") as any).insert(0, "From the script: ");
} else if (verb === "show") console.log(JSON.stringify(room.toJSON()));
for (let i = 0; i < 50 && room.status.pendingCount > 0; i++) await new Promise((r) => setTimeout(r, 20));
console.log(room.status, room.presence.map((p) => p.name));
await new Promise((r) => setTimeout(r, Number(process.argv[3] ?? 0)));
process.exit(0);
