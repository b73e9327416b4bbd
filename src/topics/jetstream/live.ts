import type { Msg } from "@nats-io/transport-node";
import type { TopicRecord } from "../log.ts";
import { headerTimeMs, recordOf } from "./record.ts";
import type { TopicSubjects } from "./stream.ts";
import type { Wire } from "./wire.ts";

/** A record that the server republished when it stored it. */
export interface LiveRecord {
  readonly record: TopicRecord;
  /** The position of the previous record of the topic; 0 if none is kept. */
  readonly previousPosition: number;
}

type LiveListener = (live: LiveRecord) => void;

/**
 * The records that the server republishes. All readers of a topic share one NATS subscription,
 * which ends when the topic has no reader.
 */
export class LiveTopics {
  readonly #wire: Wire;
  readonly #topics = new Map<string, { listeners: Set<LiveListener>; subscription: Disposable }>();

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  listen(subjects: TopicSubjects, listener: LiveListener): Disposable {
    const topic = this.#topics.get(subjects.live) ?? this.#subscribe(subjects);
    topic.listeners.add(listener);
    return {
      [Symbol.dispose]: () => {
        if (!topic.listeners.delete(listener) || topic.listeners.size > 0) return;
        topic.subscription[Symbol.dispose]();
        this.#topics.delete(subjects.live);
      },
    };
  }

  #subscribe(subjects: TopicSubjects) {
    const listeners = new Set<LiveListener>();
    const subscription = this.#wire.listen(subjects.live, (message) => {
      const live = liveRecordOf(subjects, message);
      for (const listener of listeners) listener(live);
    });
    const topic = { listeners, subscription };
    this.#topics.set(subjects.live, topic);
    return topic;
  }
}

function liveRecordOf(subjects: TopicSubjects, { headers, data }: Msg): LiveRecord {
  const header = (name: string) => headers?.get(name) ?? "";
  const timeMs = headerTimeMs(headers) ?? (Date.parse(header("Nats-Time-Stamp")) || Date.now());
  return {
    record: recordOf(subjects, Number(header("Nats-Sequence")), { data, timeMs }),
    previousPosition: Number(header("Nats-Last-Sequence")),
  };
}
