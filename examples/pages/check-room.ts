import { type RoomService, Start } from "hawser/gen/chat/v1/room_pb.js";
import type { CallOptions, Client } from "hawser/web";
import type { RoomTally } from "./tally.ts";

/**
 * Reads the messages of a room again, by Watch, from those that were checked before up to the newest that the page has, and
 * counts those that have never come to the page.
 */
export async function checkRoom(
  client: Pick<Client<typeof RoomService>, "watch">,
  { room, tally }: { readonly room: string; readonly tally: RoomTally },
  options: CallOptions,
): Promise<void> {
  const { checked, newest } = tally;
  if (checked === newest) return;
  const request = { room, after: checked, start: Start.OLDEST };
  for await (const { cursor, event } of client.watch(request, options)) {
    if (event.case !== "message") continue;
    tally.check(cursor);
    if (cursor === newest) return;
  }
}
