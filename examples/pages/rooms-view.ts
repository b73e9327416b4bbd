import type { RoomService } from "hawser/gen/chat/v1/room_pb.js";
import type { Client } from "hawser/web";
import { nameOf } from "../rooms/client/typed.ts";
import { byId, element, find, grouped, onSubmit } from "./dom.ts";
import { RoomView } from "./room-view.ts";
import type { RoomTally } from "./tally.ts";

/** Where the page keeps who is in which rooms, and which one is shown, for when it is loaded again in the same tab. */
const STORAGE_KEY = "rooms";
const SHOWN_KEY = "shown room";

interface Place {
  readonly room: string;
  readonly name: string;
}

interface JoinedRoom extends Place {
  readonly tab: HTMLButtonElement;
  readonly panel: HTMLElement;
  readonly view: RoomView;
  unread: number;
}

/** The rooms that this page is in: a tab for each, and a form to join another. */
export class RoomsView {
  readonly #client: Client<typeof RoomService>;
  readonly #onChange: () => void;
  readonly #onTally: (tally: RoomTally) => void;
  readonly #tabs = byId("room-tabs", HTMLElement);
  readonly #panels = byId("room-panels", HTMLElement);
  readonly #empty = byId("room-empty", HTMLElement);
  #rooms: JoinedRoom[] = [];
  #shown: JoinedRoom | undefined;
  #count = 0;

  /**
   * @param onTally gets the counts of each room that is joined
   * @param onChange called when some of them change
   */
  constructor(
    client: Client<typeof RoomService>,
    { onTally, onChange }: { onTally: (tally: RoomTally) => void; onChange: () => void },
  ) {
    this.#client = client;
    this.#onTally = onTally;
    this.#onChange = onChange;
    this.#listenToForm();
    this.#tabs.addEventListener("keydown", (event) => this.#onKey(event));
    const shown = sessionStorage.getItem(SHOWN_KEY);
    for (const place of readPlaces()) this.#join(place);
    const before = this.#rooms.find(({ room }) => room === shown);
    if (before !== undefined) this.#show(before);
  }

  #listenToForm(): void {
    const name = byId("join-name", HTMLInputElement);
    const room = byId("join-room", HTMLInputElement);
    name.value = readPlaces().at(-1)?.name ?? `guest ${100 + Math.floor(Math.random() * 900)}`;
    // setCustomValidity() shows the reason beside the field, and has it read aloud.
    for (const field of [name, room]) {
      field.addEventListener("input", () => field.setCustomValidity(""));
    }
    room.addEventListener("focus", () => void this.#suggest());
    onSubmit(byId("join", HTMLFormElement), () => {
      const [as, into] = [nameOf(name.value), nameOf(room.value)];
      if ("fault" in as) return refuse(name, as.fault);
      if ("fault" in into) return refuse(room, into.fault);
      const there = this.#rooms.find((one) => one.room === into.name);
      if (there === undefined) this.#join({ room: into.name, name: as.name });
      else this.#show(there);
      this.#shown?.view.focus();
    });
  }

  /** Suggests the rooms that the server has. */
  async #suggest(): Promise<void> {
    const { rooms } = await this.#client.listRooms({}).catch(() => ({ rooms: [] }));
    const options = rooms.map(({ name, members }) =>
      element("option", { value: name }, members === 1 ? "1 member" : `${members} members`),
    );
    byId("known-rooms", HTMLDataListElement).replaceChildren(...options);
  }

  #join(place: Place): void {
    const { room, name } = place;
    const id = ++this.#count;
    const template = byId("room", HTMLTemplateElement).content.cloneNode(true) as DocumentFragment;
    const panel = find(template, "[role=tabpanel]", HTMLElement);
    panel.id = `room-${id}`;
    panel.setAttribute("aria-labelledby", `tab-${id}`);
    const tab = element(
      "button",
      { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": panel.id, dir: "auto" },
      room,
    );
    const view = new RoomView({
      ...{ client: this.#client, room, name, panel, onChange: this.#onChange },
      onMessage: () => this.#onMessage(joined),
    });
    const joined: JoinedRoom = { room, name, tab, panel, view, unread: 0 };
    tab.addEventListener("click", () => this.#show(joined));
    find(panel, ".leave", HTMLButtonElement).addEventListener("click", () => this.#leave(joined));
    this.#tabs.append(tab);
    this.#panels.append(panel);
    this.#rooms.push(joined);
    this.#onTally(view.tally);
    this.#keepPlaces();
    this.#show(joined);
  }

  #leave(left: JoinedRoom): void {
    left.view.leave();
    left.tab.remove();
    left.panel.remove();
    this.#rooms = this.#rooms.filter((one) => one !== left);
    this.#keepPlaces();
    this.#show(this.#rooms.at(-1));
    if (this.#shown === undefined) byId("join-room", HTMLInputElement).focus();
    else this.#shown.tab.focus();
  }

  #show(shown: JoinedRoom | undefined): void {
    this.#shown = shown;
    this.#empty.hidden = shown !== undefined;
    this.#tabs.hidden = shown === undefined;
    for (const one of this.#rooms) {
      one.panel.hidden = one !== shown;
      one.tab.setAttribute("aria-selected", `${one === shown}`);
      one.tab.tabIndex = one === shown ? 0 : -1;
    }
    if (shown === undefined) return;
    sessionStorage.setItem(SHOWN_KEY, shown.room);
    this.#setUnread(shown, 0);
    shown.view.onShown();
  }

  #onMessage(room: JoinedRoom): void {
    if (room !== this.#shown) this.#setUnread(room, room.unread + 1);
  }

  #setUnread(room: JoinedRoom, unread: number): void {
    room.unread = unread;
    room.tab.replaceChildren(room.room);
    if (unread === 0) return;
    room.tab.append(
      " ",
      element("span", { class: "unread" }, grouped(unread)),
      element("span", { class: "unseen" }, " unread"),
    );
  }

  /** The keys of a list of tabs (WAI-ARIA, tabs pattern). */
  #onKey(event: KeyboardEvent): void {
    const at = this.#shown === undefined ? -1 : this.#rooms.indexOf(this.#shown);
    const last = this.#rooms.length - 1;
    const to = {
      ArrowRight: at === last ? 0 : at + 1,
      ArrowLeft: at === 0 ? last : at - 1,
      Home: 0,
      End: last,
    }[event.key];
    const next = to === undefined ? undefined : this.#rooms[to];
    if (next === undefined) return;
    event.preventDefault();
    this.#show(next);
    next.tab.focus();
  }

  #keepPlaces(): void {
    const places = this.#rooms.map(({ room, name }) => ({ room, name }));
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(places));
  }
}

/** Reads where this tab was. Only this page writes there. */
function readPlaces(): readonly Place[] {
  return JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "[]");
}

function refuse(field: HTMLInputElement, fault: string): void {
  field.setCustomValidity(`${fault.charAt(0).toUpperCase()}${fault.slice(1)}.`);
  field.reportValidity();
}
