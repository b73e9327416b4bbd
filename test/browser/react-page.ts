/** Components of hawser/react in StrictMode, and what the tests do with them. */
import { RoomService } from "hawser/gen/chat/v1/room_pb.js";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { type DuplexData, useCallState, useDuplex, useWatch } from "hawser/react";
import { Code, ConnectError, createClient, createTransport, type Duplex } from "hawser/web";
import { Activity, createElement, Fragment, StrictMode } from "react";
import { createRoot } from "react-dom/client";

const transport = createTransport({ baseUrl: location.origin });
const greeter = createClient(Greeter, transport);
const rooms = createClient(RoomService, transport);

const NONE: readonly string[] = [];

/** What a component has rendered most recently. */
interface Seen {
  readonly data: readonly string[];
  readonly state: string;
  readonly error: string | undefined;
}

const seen: Record<string, Seen> = {};
/** How often each component has rendered. */
const renders: Record<string, number> = {};
/** The functions that components were given. */
const given: {
  chat?: Pick<DuplexData<{ content: string }, unknown>, "send" | "closeSend">;
  restart?: () => void;
} = {};

function show(
  name: string,
  {
    data,
    state,
    error,
  }: { data: readonly string[]; state: string; error?: ConnectError | undefined },
) {
  seen[name] = { data, state, error: error && Code[error.code] };
  renders[name] = (renders[name] ?? 0) + 1;
  return createElement("p", { id: name }, `${state}: ${data.join(", ")}`);
}

function Chat() {
  const chat = useDuplex(greeter.chat, {
    initial: NONE,
    reduce: (replies, { reply }) => [...replies, reply],
  });
  given.chat = chat;
  given.restart = chat.restart;
  return show("chat", chat);
}

/** A push with a cursor. */
function Watch({ room }: { room: string }) {
  // The request is another object in each render.
  const watch = useWatch(
    rooms.watch,
    { room },
    {
      initial: NONE,
      reduce: (texts, { event }) =>
        event.case === "message" ? [...texts, event.value.text] : texts,
    },
  );
  return show("watch", watch);
}

/** A push without a cursor. */
function Subscribe({ count }: { count: number }) {
  const notifications = useWatch(
    greeter.subscribe,
    { count, interval: { seconds: 0n } },
    {
      initial: NONE,
      reduce: (all, { sequence }) => [...all, `${sequence}`],
    },
  );
  given.restart = notifications.restart;
  return show("subscribe", notifications);
}

let ownCall: Duplex<{ content?: string }, unknown> | undefined;

function State() {
  ownCall ??= greeter.chat();
  return show("state", { data: NONE, state: useCallState(ownCall) });
}

/** What is mounted. */
interface Props {
  readonly chat?: boolean;
  /** A new key is another component. */
  readonly key?: string;
  readonly watch?: string;
  readonly subscribe?: number;
  readonly state?: boolean;
  readonly hidden?: boolean;
}

function App({
  chat,
  watch,
  subscribe,
  state,
  hidden,
  name,
}: Props & { name?: string | undefined }) {
  const children = createElement(
    Fragment,
    null,
    chat && createElement(Chat, { key: name }),
    watch !== undefined && createElement(Watch, { room: watch }),
    subscribe !== undefined && createElement(Subscribe, { count: subscribe }),
    state && createElement(State),
  );
  return createElement(Activity, { mode: hidden ? "hidden" : "visible", children });
}

const element = document.createElement("main");
document.body.append(element);
const root = createRoot(element);

export const page = {
  render({ key, ...props }: Props) {
    root.render(createElement(StrictMode, null, createElement(App, { ...props, name: key })));
  },
  seen: (name: string) => ({ ...seen[name], renders: renders[name] ?? 0 }),
  text: () => element.textContent,
  /** Resolves with the code of the error, or "sent". */
  async send(content: string) {
    try {
      if (given.chat === undefined) throw new ConnectError("no chat has rendered", Code.NotFound);
      await given.chat.send({ content });
      return "sent";
    } catch (error) {
      return Code[ConnectError.from(error).code] as string;
    }
  },
  closeSend: () => given.chat?.closeSend(),
  restart: () => given.restart?.(),
  endOwnCall: () => ownCall?.cancel(),
};

Object.assign(window, { page });
