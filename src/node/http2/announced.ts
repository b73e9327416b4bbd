import type { ServerHttp2Stream } from "node:http2";
import { NOT_ANNOUNCED } from "../../grpc/header-limits.ts";

/** The SETTINGS_MAX_HEADER_LIST_SIZE that the client of a stream announced. */
export function announcedHeaderBytes(stream: ServerHttp2Stream): number {
  return stream.session?.remoteSettings.maxHeaderListSize ?? NOT_ANNOUNCED;
}
