/** A text in the channel that begins with this is for End.perform(), or its outcome: the thread that has sent it waits for that. */
export const AT_ONCE = "!";
