/** Requests that a client of HTTP/1.1 sends before it has the responses to earlier ones. */
import { once } from "node:events";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { gate, until } from "./support/gate.ts";
import { start } from "./support/world.ts";

const request = (content: string) => {
  const body = JSON.stringify({ content });
  return `POST /example.Greeter/SayHello HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
};

/** A server whose handler waits for the gate, and notes which contents it has got; and a connection to it. */
async function pipelinedWorld() {
  const served: string[] = [];
  const answered = gate();
  const world = await start({
    greeter: {
      async sayHello({ content }) {
        served.push(content);
        await answered.opened;
        return { reply: content };
      },
    },
  });
  const socket = connect(Number(new URL(world.url).port), "127.0.0.1");
  const received: Buffer[] = [];
  socket.on("data", (chunk) => received.push(chunk));
  const closed = once(socket, "close");
  await once(socket, "connect");
  const replies = () =>
    [
      ...Buffer.concat(received)
        .toString()
        .matchAll(/"reply":"(\w+)"/g),
    ].map(([, reply]) => reply);
  return Object.assign(world, { served, answered, socket, closed, replies });
}

test("the requests of a connection are served one after the other, and answered in their order", async () => {
  await using world = await pipelinedWorld();
  const { server, served, answered, socket, closed, replies } = world;
  socket.write(request("one") + request("two") + request("three"));
  await until("all have arrived", () => server.openCalls === 3);
  expect(served).toEqual(["one"]);
  answered.open();
  await until("all are answered", () => replies().length === 3);
  expect(replies()).toEqual(["one", "two", "three"]);
  expect(served).toEqual(["one", "two", "three"]);
  socket.write(request("four"));
  await until("a later one is answered", () => replies()[3] === "four");
  socket.destroy();
  await closed;
});

test("a connection on which hundreds of requests wait is closed, and none of them is served", async () => {
  await using world = await pipelinedWorld();
  const { server, served, socket, closed, replies } = world;
  socket.write(Array.from({ length: 300 }, (_, n) => request(`n${n}`)).join(""));
  await closed;
  await until("no call is open", () => server.openCalls === 0);
  expect(served).toEqual(["n0"]);
  expect(replies()).toEqual([]);
});

test("the requests that wait when a client disconnects are not served", async () => {
  await using world = await pipelinedWorld();
  const { server, served, answered, socket, closed } = world;
  socket.write(request("one") + request("two"));
  await until("both have arrived", () => server.openCalls === 2);
  socket.destroy();
  await closed;
  answered.open();
  await until("no call is open", () => server.openCalls === 0);
  expect(served).toEqual(["one"]);
});

test("requests of many connections that arrive together do not make another client wait for all of them", async () => {
  const order: string[] = [];
  await using world = await start({
    greeter: {
      sayHello({ content }) {
        order.push(content);
        const until = performance.now() + 3;
        while (content === "busy" && performance.now() < until);
        return { reply: content };
      },
    },
  });
  const sockets = Array.from({ length: 60 }, () =>
    connect(Number(new URL(world.url).port), "127.0.0.1"),
  );
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  let answers = 0;
  for (const socket of sockets) socket.on("data", () => answers++);
  await world.greeter.sayHello({ content: "first" });
  for (const socket of sockets) socket.write(request("quick"));
  await until("the connections are known", () => answers === sockets.length);
  order.length = 0;
  for (const socket of sockets) socket.write(request("busy"));
  await world.greeter.sayHello({ content: "honest" });
  expect(order.indexOf("honest")).toBeLessThan(40);
  await until("all are answered", () => answers === 2 * sockets.length);
  for (const socket of sockets) socket.destroy();
});
