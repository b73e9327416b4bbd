import type { JoinRequest, JoinRequest_Say } from "hawser/gen/chat/v1/room_pb.js";
import type { Subscription } from "hawser/topics";
import { checkSequence, checkText, invalid } from "./checks.ts";

/** The largest number of messages of a call that are being stored; with more the client waits. */
const SAYING = 32;

/** The shortest time between two "typing" events of a member, in milliseconds. */
const TYPING_MS = 1000;

/** The actions of a member in a room. */
export interface MemberActions {
  /** Resolves when the message is stored, and the member was told. */
  say(say: JoinRequest_Say): Promise<void>;
  typing(): void;
}

/**
 * Performs the requests of a member, in their order, until the half-close; that, or
 * an error, ends the responses. Never rejects.
 */
export async function takePart(
  requests: AsyncIterator<JoinRequest>,
  actions: MemberActions,
  told: Pick<Subscription<never>, "close">,
): Promise<void> {
  const saying = new Set<Promise<void>>();
  let typedAt = Number.NEGATIVE_INFINITY;
  let failed = false;
  try {
    for (;;) {
      const { done, value } = await requests.next();
      // After a message that could not be stored no other is stored: the order would change.
      if (done === true || failed) break;
      const { event } = value as JoinRequest;
      switch (event.case) {
        case "say": {
          checkText("say.text", event.value.text);
          checkSequence("say.sequence", event.value.sequence);
          if (saying.size >= SAYING) await Promise.race(saying);
          if (failed) break;
          const said = actions.say(event.value).then(
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
          actions.typing();
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
