import type { JoinRequest, JoinRequest_Say } from "hawser/gen/chat/v1/room_pb.js";
import type { Subscription } from "hawser/topics";
import { checkSequence, checkText, invalid } from "./checks.ts";

/** How many messages of a call are on their way at once; the client waits with more. */
const SAYING = 32;

/** How often others are told that a member is typing, at most. */
const TYPING_MS = 1000;

/** What a member does in a room. */
export interface Doings {
  /** Resolves when it is stored, and the member was told so. */
  say(say: JoinRequest_Say): Promise<void>;
  typing(): void;
}

/**
 * Does what a member asks for, in its order, until the half-close; that, or
 * what goes wrong, ends what the member is told. Never rejects.
 */
export async function takePart(
  requests: AsyncIterator<JoinRequest>,
  doings: Doings,
  told: Pick<Subscription<never>, "close">,
): Promise<void> {
  const saying = new Set<Promise<void>>();
  let typedAt = Number.NEGATIVE_INFINITY;
  let failed = false;
  try {
    for (;;) {
      const { done, value } = await requests.next();
      // Behind one that could not be stored nothing is: the order would be another.
      if (done === true || failed) break;
      const { event } = value as JoinRequest;
      switch (event.case) {
        case "say": {
          checkText("say.text", event.value.text);
          checkSequence("say.sequence", event.value.sequence);
          if (saying.size >= SAYING) await Promise.race(saying);
          if (failed) break;
          const said = doings.say(event.value).then(
            () => void saying.delete(said),
            (error) => {
              failed = true;
              told.close(error);
            },
          );
          saying.add(said);
          break;
        }
        case "typing": {
          const now = performance.now();
          if (now - typedAt < TYPING_MS) break;
          typedAt = now;
          doings.typing();
          break;
        }
        case "open":
          throw invalid("open came again: it is for the first request of a call, and only that");
        default:
          throw invalid("a request is empty: give it say or typing");
      }
    }
    await Promise.all(saying);
    told.close();
  } catch (error) {
    told.close(error);
  }
}
