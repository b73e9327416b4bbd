import type { TopicLog } from "../../src/topics/log.ts";

/** A log with some methods of its own. The log below stays the caller's, who disposes of it. */
export function logWith(log: TopicLog, own: Partial<TopicLog>): TopicLog {
  return {
    epoch: log.epoch,
    append: (topic, records) => log.append(topic, records),
    page: (topic, after, limits) => log.page(topic, after, limits),
    read: (topic, after, signal) => log.read(topic, after, signal),
    oldest: (topic) => log.oldest(topic),
    end: (topic) => log.end(topic),
    trim: (topic, upTo) => log.trim(topic, upTo),
    topics: (prefix) => log.topics(prefix),
    [Symbol.asyncDispose]: async () => {},
    ...own,
  };
}
