import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { type JoinResponse, type RoomService, Start } from "hawser/gen/chat/v1/room_pb.js";
import { type Client, ConnectError } from "hawser/web";
import { Attendance } from "../rooms/client/attendance.ts";
import { lineOf } from "../rooms/client/event-line.ts";
import { Roster } from "../rooms/client/roster.ts";
import { unfit } from "../rooms/client/typed.ts";
import { TYPING_MS, Typists } from "../rooms/client/typists.ts";
import { oneLine } from "../terminal/one-line.ts";
import { checkRoom } from "./check-room.ts";
import { element, find, grouped, onSubmit } from "./dom.ts";
import { MessageList, messageRow } from "./message-list.ts";
import { OwnMessages } from "./own-messages.ts";
import { RoomTally } from "./tally.ts";

/** The room is read a second time when the connection is back for so long. */
const CHECK_AFTER_MS = 1000;

/** The second reading ends after this time: retention may have removed the message with which it would end. */
const CHECK_TIMEOUT_MS = 10_000;

export interface RoomViewOptions {
  readonly client: Client<typeof RoomService>;
  readonly room: string;
  readonly name: string;
  /** The element that becomes the view: a copy of the page's template. */
  readonly panel: HTMLElement;
  /** Called when the counts change. */
  readonly onChange: () => void;
  /** Called when another member has written a message; not for those that were there before. */
  readonly onMessage: () => void;
}

/** Takes part in a room, and shows it. */
export class RoomView {
  readonly tally = new RoomTally();
  readonly #options: RoomViewOptions;
  readonly #attendance: Attendance;
  readonly #list: MessageList;
  readonly #roster = new Roster();
  readonly #written: OwnMessages;
  readonly #signal = new AbortController().signal;
  readonly #openedAt = Date.now();
  /** The own messages that have not come back from the room. */
  readonly #waiting: { readonly text: string; readonly remove: () => void }[] = [];
  #checking: ReturnType<typeof setTimeout> | undefined;

  constructor(options: RoomViewOptions) {
    const { client, room, name, panel } = options;
    this.#options = options;
    this.#written = new OwnMessages(room, sessionStorage);
    this.#list = new MessageList(find(panel, ".log", HTMLElement));
    this.#attendance = new Attendance(
      client,
      { room, name, after: "", start: Start.OLDEST },
      {
        callOptions: { signal: this.#signal },
        notes: { away: () => clearTimeout(this.#checking), back: () => this.#checkLater() },
      },
    );
    find(panel, "h3", HTMLElement).textContent = room;
    // So that the keyboard can scroll it, in every browser.
    find(panel, ".members", HTMLElement).tabIndex = 0;
    this.#listenToForm();
    void this.#listen();
  }

  /** The panel is shown, and was hidden. */
  onShown(): void {
    this.#list.toEnd();
  }

  focus(): void {
    find(this.#options.panel, "input", HTMLInputElement).focus();
  }

  /** Leaves the room when all messages are stored. */
  leave(): void {
    clearTimeout(this.#checking);
    this.#attendance.leave();
  }

  #listenToForm(): void {
    const { panel, name } = this.#options;
    const input = find(panel, "input", HTMLInputElement);
    let typedAt = Number.NEGATIVE_INFINITY;
    input.addEventListener("input", () => {
      if (input.value === "" || performance.now() - typedAt < TYPING_MS) return;
      typedAt = performance.now();
      this.#attendance.type();
    });
    onSubmit(find(panel, "form", HTMLFormElement), () => {
      const text = input.value;
      const fault = unfit(text);
      if (fault !== undefined) this.#list.remark(`Not sent: ${fault}.`, "loud");
      if (text === "" || fault !== undefined) return;
      input.value = "";
      typedAt = Number.NEGATIVE_INFINITY;
      const remove = this.#list.wait(messageRow({ name, text, own: true }));
      this.#waiting.push({ text, remove });
      this.tally.send();
      void this.#attendance.say(text);
      this.#options.onChange();
    });
  }

  async #listen(): Promise<void> {
    const { panel, name } = this.#options;
    const typing = find(panel, ".typing", HTMLElement);
    const typists = new Typists(name, (text) => {
      typing.textContent = text;
    });
    try {
      for await (const { response, own } of this.#attendance) {
        typists.observe(response.event);
        this.#show(response, own);
      }
    } catch (error) {
      this.#list.remark(`You are not in the room: ${ConnectError.from(error).message}`, "loud");
      find(panel, "form", HTMLFormElement).inert = true;
    } finally {
      typists[Symbol.dispose]();
      clearTimeout(this.#checking);
    }
  }

  #show({ cursor, event }: JoinResponse, own: boolean): void {
    const isNews = this.#roster.observe(event);
    if (event.case === "message") {
      const { name, text, time } = event.value;
      if (own) {
        this.#stopWaiting(text);
        this.#written.add(cursor);
      }
      if (this.tally.receive(cursor)) {
        const isOwn = own || this.#written.has(cursor);
        const at = time && { at: timestampDate(time) };
        this.#list.add(messageRow({ name, text, own: isOwn, ...at }));
      }
      if (!own && !this.#isHistory(time)) this.#options.onMessage();
      this.#options.onChange();
      return;
    }
    if (event.case === "opened" || event.case === "membersChanged") this.#showMembers();
    const line = isNews && lineOf(event, { name: oneLine, remark: (text) => text });
    if (line) this.#list.remark(line);
  }

  /** Whether a message is older than this view, as far as the clocks of server and page agree. */
  #isHistory(time: Timestamp | undefined): boolean {
    return time !== undefined && timestampDate(time).getTime() < this.#openedAt;
  }

  /** A message of this member has come back from the room. */
  #stopWaiting(text: string): void {
    const at = this.#waiting.findIndex((one) => one.text === text);
    if (at >= 0) this.#waiting.splice(at, 1)[0]?.remove();
  }

  #showMembers(): void {
    const { panel, name } = this.#options;
    const { names, count } = this.#roster;
    const items = names.map((each) =>
      element("li", { dir: "auto", ...(each === name && { class: "own" }) }, each),
    );
    if (count > names.length) {
      items.push(element("li", {}, `and ${grouped(count - names.length)} more`));
    }
    find(panel, ".members", HTMLElement).replaceChildren(...items);
    find(panel, ".count", HTMLElement).textContent = grouped(count);
  }

  #checkLater(): void {
    clearTimeout(this.#checking);
    this.#options.panel.dataset.check = "due";
    this.#checking = setTimeout(() => this.#check(), CHECK_AFTER_MS);
  }

  async #check(): Promise<void> {
    const { client, room, panel, onChange } = this.#options;
    const options = { signal: this.#signal, timeoutMs: CHECK_TIMEOUT_MS };
    try {
      await checkRoom(client, { room, tally: this.tally }, options);
      panel.dataset.check = "done";
      onChange();
    } catch {
      // The next loss of the connection has the rest read.
    }
  }
}
