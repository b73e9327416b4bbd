import type { Msg } from "@nats-io/transport-node";
import type { TopicRecord } from "../log.ts";
import { entryOf, type TopicSubjects, writtenMs } from "./page.ts";
import type { Wire } from "./wire.ts";

/** A record as the server published it again when it was stored. */
export interface Live {
  readonly entry: TopicRecord;
  /** The position of the last record of the topic before it; 0 where none was kept. */
  readonly before: number;
}

type LiveListener = (live: Live) => void;

/** What comes live: heard once for all that read a topic, for as long as somebody does. */
export class LiveTopics {
  readonly #wire: Wire;
  readonly #topics = new Map<string, { ears: Set<LiveListener>; listening: Disposable }>();

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  listen(place: TopicSubjects, ear: LiveListener): Disposable {
    const topic = this.#topics.get(place.live) ?? this.#begin(place);
    topic.ears.add(ear);
    return {
      [Symbol.dispose]: () => {
        if (!topic.ears.delete(ear) || topic.ears.size > 0) return;
        topic.listening[Symbol.dispose]();
        this.#topics.delete(place.live);
      },
    };
  }

  #begin(place: TopicSubjects) {
    const ears = new Set<LiveListener>();
    const listening = this.#wire.listen(place.live, (message) => {
      const live = liveOf(place, message);
      for (const ear of ears) ear(live);
    });
    const topic = { ears, listening };
    this.#topics.set(place.live, topic);
    return topic;
  }
}

function liveOf(place: TopicSubjects, { headers, data }: Msg): Live {
  const header = (name: string) => headers?.get(name) ?? "";
  const timeMs = writtenMs(headers) ?? (Date.parse(header("Nats-Time-Stamp")) || Date.now());
  return {
    entry: entryOf(place, Number(header("Nats-Sequence")), { data, timeMs }),
    before: Number(header("Nats-Last-Sequence")),
  };
}
