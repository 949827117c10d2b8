/** Errors of the SDK; `code` is stable and is the same word that Python's `collabkernel.errors` uses. */

export class CollabKernelError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Bytes that are no message of the protocol. */
export class MalformedFrameError extends CollabKernelError {
  constructor(message: string) {
    super("malformed-frame", message);
  }
}

/** A frame, or what it decompresses to, is over the limit. */
export class FrameTooLargeError extends CollabKernelError {
  constructor(sizeBytes: number, limitBytes: number) {
    super("frame-too-large", `frame of ${sizeBytes} bytes is over the limit of ${limitBytes} bytes`);
  }
}

/** A value or key cannot be stored in a room (type, range, or size). */
export class InvalidValueError extends CollabKernelError {
  constructor(message: string) {
    super("invalid-value", message);
  }
}

/** A value, key or envelope is too large. */
export class TooLargeError extends CollabKernelError {
  constructor(what: string, size: number, limit: number, unit = "bytes", hint = "") {
    super("too-large", `a ${what} of ${size} ${unit} is over the limit of ${limit} ${unit}${hint}`);
  }
}

/** A live value is no longer part of its room. */
export class DetachedError extends CollabKernelError {
  constructor(message: string) {
    super("detached", message);
  }
}

/** The room or connection was used after it was closed. */
export class ClosedError extends CollabKernelError {
  constructor(message: string) {
    super("closed", message);
  }
}

/** An operation that decodes but makes no sense in this room; `code` says in which way. */
export class InvalidOperationError extends CollabKernelError {}

/** An edit of this client that was refused; it was rolled back here. `code` is the server's. */
export class RejectedError extends CollabKernelError {}
