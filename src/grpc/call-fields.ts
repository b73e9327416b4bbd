/**
 * The request headers that decide how a gRPC call is served, read in one pass: a server reads them for each call, and an
 * object of all headers would take most of that time.
 */
export class CallFields {
  path: string | undefined;
  method: string | undefined;
  contentType: string | undefined;
  timeout: string | undefined;
  encoding: string | undefined;
  acceptEncoding: string | undefined;
  /** Whether the stream asks for a session. */
  hasSession = false;

  /** @param raw names and values in turn */
  constructor(raw: readonly string[]) {
    for (let at = 0; at < raw.length; at += 2) this.#read(raw[at] as string, raw[at + 1] as string);
  }

  #read(name: string, value: string): void {
    // The length alone excludes most other names.
    switch (name.length) {
      case 5:
        if (name === ":path") this.path ??= value;
        return;
      case 7:
        if (name === ":method") this.method ??= value;
        return;
      case 12:
        // HTTP allows one of each: the first one counts.
        if (name === "content-type") this.contentType ??= value;
        else if (name === "grpc-timeout") this.timeout ??= value;
        return;
      case 13:
        if (name === "grpc-encoding") this.encoding = joined(this.encoding, value);
        return;
      case 14:
        if (name === "hawser-session") this.hasSession = true;
        return;
      case 20:
        if (name === "grpc-accept-encoding") {
          this.acceptEncoding = joined(this.acceptEncoding, value);
        }
        return;
    }
  }
}

/** Joins the values of several fields of one name (RFC 9110, 5.3). */
function joined(before: string | undefined, value: string): string {
  return before === undefined ? value : `${before}, ${value}`;
}
