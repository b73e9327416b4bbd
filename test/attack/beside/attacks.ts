import type { Attack } from "./attack.ts";
import { bombAttack } from "./attacks/bombs.ts";
import { busyAttack } from "./attacks/busy.ts";
import { floodAttacks } from "./attacks/floods.ts";
import {
  connectionAttack,
  holdAttack,
  idleConnectionAttack,
  slowHeadersAttack,
} from "./attacks/holds.ts";
import {
  cancelsAttack,
  guessIdsAttack,
  lyingAcknowledgementsAttack,
  resumeFloodAttack,
  takeoverAttack,
} from "./attacks/resumes.ts";
import { joinsAttack, listRoomsAttack, postsAttack } from "./attacks/rooms.ts";
import { fillBytesAttack, liveBytesAttack, openAndDropAttack } from "./attacks/sessions.ts";
import { busyChatAttack, unreadAttack, zeroWindowAttack } from "./attacks/unread.ts";
import {
  fragmentsAttack,
  tinyMessagesAttack,
  unfinishedMessagesAttack,
  upgradesAttack,
} from "./attacks/web-sockets.ts";

/** All attacks, in the order of the table. */
export const attacks: readonly Attack[] = [
  busyAttack,
  busyChatAttack,
  ...floodAttacks,
  connectionAttack,
  idleConnectionAttack,
  holdAttack,
  slowHeadersAttack,
  zeroWindowAttack,
  unreadAttack,
  bombAttack,
  openAndDropAttack,
  fillBytesAttack,
  liveBytesAttack,
  guessIdsAttack,
  cancelsAttack,
  resumeFloodAttack,
  takeoverAttack,
  lyingAcknowledgementsAttack,
  joinsAttack,
  listRoomsAttack,
  postsAttack,
  tinyMessagesAttack,
  fragmentsAttack,
  unfinishedMessagesAttack,
  upgradesAttack,
];

/** The eight of `--quick`. */
export const quickAttacks: readonly Attack[] = attacks.filter(({ name }) => {
  const quick = ["busy-unary", "rapid-reset", "continuations", "unread", "bombs"];
  return [...quick, "open-and-drop", "resume-flood", "joins"].includes(name);
});
