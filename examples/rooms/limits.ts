/** The limits that room.proto states, in code points. */
export const NAME_CHARACTERS = 64;
export const TEXT_CHARACTERS = 4096;
