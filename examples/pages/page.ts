/** The page of the example server: chat rooms, a chat, and a connection that can be cut. */
import { RoomService } from "hawser/gen/chat/v1/room_pb.js";
import { Greeter } from "hawser/gen/example/greeter_pb.js";
import { createClient, createTransport } from "hawser/web";
import { showChat } from "./chat-view.ts";
import { byId, grouped } from "./dom.ts";
import { PageConnection, type PageConnectionState, wordsOf } from "./page-connection.ts";
import { PageLink } from "./page-link.ts";
import { RoomsView } from "./rooms-view.ts";
import { showServices } from "./services-view.ts";
import { type Counts, sumOf } from "./tally.ts";

const link = PageLink.install();

let state: PageConnectionState = { name: "connecting" };
const connection = new PageConnection((next) => {
  state = next;
  showConnection();
});

const transport = createTransport({ baseUrl: location.origin, observe: connection.observer });

function showConnection(): void {
  const shown = byId("state", HTMLElement);
  shown.textContent = wordsOf(state, link.isHeld);
  shown.dataset.state = state.name;
  byId("losses", HTMLElement).textContent = grouped(connection.losses);
}

const cut = byId("cut", HTMLButtonElement);
const hold = byId("hold", HTMLButtonElement);
cut.addEventListener("click", () => link.cut());
hold.addEventListener("click", () => {
  if (link.isHeld) link.release();
  else link.hold();
  cut.disabled = link.isHeld;
  hold.textContent = link.isHeld ? "Connect again" : "Keep it cut";
  showConnection();
});

const tallies: Counts[] = [];

function showCounts(): void {
  const sum = sumOf(tallies);
  for (const name of ["sent", "received", "lost", "repeated"] as const) {
    const shown = byId(name, HTMLElement);
    shown.textContent = grouped(sum[name]);
    const isBad = (name === "lost" || name === "repeated") && sum[name] > 0;
    shown.classList.toggle("bad", isBad);
  }
}

new RoomsView(createClient(RoomService, transport), {
  onTally: (tally) => tallies.push(tally),
  onChange: showCounts,
});
tallies.push(showChat(createClient(Greeter, transport), showCounts));
showServices(byId("service-list", HTMLElement), [Greeter, RoomService]);
showConnection();
