/** The components of docs/react.md. */
import { RoomService } from "hawser/gen/chat/v1/room_pb.js";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { useDuplex, useWatch } from "hawser/react";
import { createClient, createTransport } from "hawser/web";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

const transport = createTransport({ baseUrl: location.origin });
const greeter = createClient(Greeter, transport);
const rooms = createClient(RoomService, transport);

const NONE: readonly string[] = [];

function Chat() {
  const chat = useDuplex(greeter.chat, {
    initial: "",
    reduce: (_, { reply }) => reply,
  });
  return (
    <form action={(fields) => chat.send({ content: `${fields.get("content")}` })}>
      <input name="content" aria-label="Message" />
      <output>{chat.data}</output>
    </form>
  );
}

function Room({ room }: { room: string }) {
  const { data, state, error, restart } = useWatch(
    rooms.watch,
    { room },
    {
      initial: NONE,
      reduce: (all, { event }) => (event.case === "message" ? [...all, event.value.text] : all),
    },
  );
  return (
    <section aria-busy={state !== "open"}>
      <p>{data.join(", ")}</p>
      {error && (
        <button type="button" onClick={restart}>
          {error.rawMessage}: try again
        </button>
      )}
    </section>
  );
}

const element = document.createElement("main");
document.body.append(element);
createRoot(element).render(
  <StrictMode>
    <Chat />
    <Room room="lobby" />
  </StrictMode>,
);

Object.assign(window, { page: {} });
