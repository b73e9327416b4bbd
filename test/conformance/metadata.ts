import { create } from "@bufbuild/protobuf";
import { type Any, AnySchema, anyPack } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError } from "../../src/index.ts";
import { type Header, HeaderSchema, type RpcError, RpcErrorSchema } from "./schema.ts";

// Headers and errors as the suite writes them, and as our API has them.

const TYPE_URL_PREFIX = "type.googleapis.com/";

export function appendHeaders(target: Headers, headers: Header[] = []): Headers {
  for (const { name, value } of headers) {
    for (const one of value) target.append(name, one);
  }
  return target;
}

export function toHeaderList(headers: Headers): Header[] {
  return [...headers].map(([name, value]) => create(HeaderSchema, { name, value: [value] }));
}

export function toConnectError(error: RpcError, ...moreDetails: Any[]): ConnectError {
  const converted = new ConnectError(error.message ?? "", error.code as Code);
  converted.details = [...error.details, ...moreDetails].map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return converted;
}

export function toRpcError({ code, rawMessage, details }: ConnectError): RpcError {
  return create(RpcErrorSchema, {
    code,
    message: rawMessage,
    details: details.map((detail) =>
      "desc" in detail
        ? anyPack(detail.desc, create(detail.desc, detail.value))
        : create(AnySchema, { typeUrl: TYPE_URL_PREFIX + detail.type, value: detail.value }),
    ),
  });
}
