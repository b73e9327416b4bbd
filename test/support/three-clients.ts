/** A client of Hawser, of connect-node and of grpc-js, each with its defaults; closeAll() closes it. */
import type { DescService } from "@bufbuild/protobuf";
import {
  type Client as ConnectClient,
  createClient as createConnectClient,
} from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { type Client, createClient, createTransport } from "../../src/index.ts";
import { type GrpcJsClient, grpcJsClient } from "./grpc-js.ts";
import { open } from "./three-servers.ts";

/** A server, or a link to one. */
interface There {
  readonly url: string;
}

/** @param there one server or several: the next is used if the first does not answer */
export function ofHawser<Desc extends DescService>(service: Desc, ...there: There[]): Client<Desc> {
  const transport = createTransport({ baseUrl: there.map(({ url }) => url) });
  open.push(() => transport.close());
  return createClient(service, transport);
}

export function ofConnect<Desc extends DescService>(
  service: Desc,
  { url }: There,
): ConnectClient<Desc> {
  const sessionManager = new Http2SessionManager(url);
  open.push(() => sessionManager.abort());
  return createConnectClient(service, createGrpcTransport({ baseUrl: url, sessionManager }));
}

export function ofGrpcJs<Desc extends DescService>(
  service: Desc,
  { url }: There,
): GrpcJsClient<Desc> {
  const client = grpcJsClient(service, new URL(url).host);
  open.push(() => client.close());
  return client;
}
