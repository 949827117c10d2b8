/** Live rooms of collabkernel, for browsers. */

export { connect, Room, type ConnectOptions, type Participant } from "./room.ts";
export { EmptyText, LiveList, LiveMap, LiveText, type LiveEvent, type LiveValue, type Writable } from "./live.ts";
export { Connection, SUBPROTOCOL, webSocketDialer, type Channel, type ChannelHandlers, type Dialer, type Status } from "./connection.ts";
export { Replica, type Notification } from "./replica.ts";
export * from "./errors.ts";
export { ROOT, sharedContainerId, type OpId, type Stamp } from "./ids.ts";
export { Kind } from "./wire/messages.ts";
export type { Plain, Scalar } from "./values.ts";
