import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { element } from "./dom.ts";

const KINDS: Record<DescMethod["methodKind"], string> = {
  unary: "one request, one response",
  server_streaming: "one request, many responses",
  client_streaming: "many requests, one response",
  bidi_streaming: "many requests, many responses, at the same time",
};

/** Shows services with their methods, as their contracts have them. */
export function showServices(place: HTMLElement, services: readonly DescService[]): void {
  place.append(
    ...services.map((service) => {
      const rows = service.methods.map((method) =>
        element(
          "li",
          {},
          element("b", {}, method.name),
          element("span", { class: "types" }, typesOf(method)),
          element("span", { class: "kind" }, KINDS[method.methodKind]),
        ),
      );
      return element(
        "article",
        {},
        element("h3", {}, service.typeName),
        element("ul", {}, ...rows),
      );
    }),
  );
}

/** `stream JoinRequest → stream JoinResponse` */
function typesOf({ methodKind, input, output }: DescMethod): string {
  const isMany = { unary: "", server_streaming: "s", client_streaming: "c", bidi_streaming: "cs" };
  const of = (side: "c" | "s") => (isMany[methodKind].includes(side) ? "stream " : "");
  return `${of("c")}${input.name} → ${of("s")}${output.name}`;
}
