/** Scenarios of calls over TLS. */
import assert from "node:assert/strict";
import { Code } from "hawser";
import { pingPong } from "./calls.ts";
import { greeterAt, type Peer, type Scenario } from "./scenario.ts";

async function overTls({ https, ca }: Peer): Promise<void> {
  await using client = greeterAt(https, { tls: { ca } });
  await pingPong(client.greeter, 20);
  const content = "x".repeat(3 * 2 ** 20);
  const { reply } = await client.greeter.sayHello({ content });
  assert.equal(reply.length, content.length + "Hello, ".length);
}

async function untrusted({ https }: Peer): Promise<void> {
  await using client = greeterAt(https);
  await assert.rejects(client.greeter.sayHello({}), { code: Code.Unavailable });
}

async function clientCertificate({ mutual, ca, cert, key }: Peer): Promise<void> {
  await using known = greeterAt(mutual, { tls: { ca, cert, key } });
  await pingPong(known.greeter, 20);
  await using unknown = greeterAt(mutual, { tls: { ca } });
  await assert.rejects(unknown.greeter.sayHello({}), { code: Code.Unavailable });
}

export const tlsScenarios: readonly Scenario[] = [
  { name: "calls over TLS", run: overTls },
  { name: "a server whose certificate is of an unknown authority is refused", run: untrusted },
  {
    name: "a client without the certificate that the server asks for is refused",
    run: clientCertificate,
  },
];
